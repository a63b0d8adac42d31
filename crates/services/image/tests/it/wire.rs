//! What Glance answered when the requests of `wire/glance.txt` were recorded, and what we do: the same, byte for byte
//! but for times, hosts, ids and the versions and import methods, of which ours are our own.

use crate::support::{Cloud, PROJECT_A, each};
use reqwest::Method;

const CAPTURE: &str = include_str!("wire/glance.txt");

struct Exchange {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
    status: u16,
    answer: Vec<(String, String)>,
    text: String,
}

/// The arguments of a curl call as they were written: values begin at a flag and end before the next.
fn request(line: &str) -> (Method, String, Vec<(String, String)>, Option<String>) {
    let (mut method, mut path, mut headers, mut body) = (None, String::new(), Vec::new(), None);
    let mut rest = line;
    while !rest.is_empty() {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "-X" => {
                let (value, after) = after.split_once(' ').unwrap();
                method = Some(value.parse().unwrap());
                rest = after;
            }
            "-I" => {
                method = Some(Method::HEAD);
                rest = after;
            }
            "-H" => {
                let end = [after.find(" -H "), after.find(" -d ")].into_iter().flatten().min();
                let (value, after) = after.split_at(end.unwrap_or(after.len()));
                let (name, value) = value.split_once(": ").unwrap();
                headers.push((name.to_owned(), value.to_owned()));
                rest = after.trim_start();
            }
            "-d" => {
                body = Some(after.to_owned());
                rest = "";
            }
            url => {
                path = url.strip_prefix("http://glance.example").unwrap().to_owned();
                rest = after;
            }
        }
    }
    let method = method.unwrap_or(if body.is_some() { Method::POST } else { Method::GET });
    (method, path, headers, body)
}

fn exchanges() -> Vec<Exchange> {
    let read = |block: &str| {
        let (line, answer) = block.split_once('\n').unwrap();
        let (head, text) = answer.split_once("\n\n").unwrap_or((answer, ""));
        let (method, path, headers, body) = request(line);
        let mut head = head.lines();
        let status = head.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let answer = head.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned()));
        let text = text.trim_end_matches('\n').to_owned();
        Exchange { method, path, headers, body, status, answer: answer.collect(), text }
    };
    CAPTURE.split("\n### ").skip(1).map(read).collect()
}

/// Without what differs from one run to the next.
fn plain(text: &str, cloud: &Cloud) -> String {
    let mut out = text.replace("8e9c46975de74928b03ec33c8bd82c68", PROJECT_A);
    out = out.replace("http://keystone.example/v3", "http://identity.example:5000/v3");
    out = out.replace(&cloud.base, "http://glance.example");
    while let Some(at) = out.find("\": \"20").or_else(|| out.find("\":\"20")) {
        let begin = at + out[at..].find("20").unwrap();
        out.replace_range(begin..begin + 20, "TIME");
    }
    out
}

/// Python writes JSON with blanks after colons and commas. The order of the standard attributes is Glance's too.
fn same_json(ours: &str, theirs: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text);
    let keys = |value: &serde_json::Value| {
        let custom = ["foo", "hw_disk_bus"];
        let keys: Option<Vec<String>> =
            value.as_object().map(|o| o.keys().filter(|k| !custom.contains(&k.as_str())).cloned().collect());
        keys.unwrap_or_default()
    };
    match (read(ours), read(theirs)) {
        (Ok(a), Ok(b)) => a == b && keys(&a) == keys(&b),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_that_were_recorded() {
    each(async |cloud| {
        let mut wrong = Vec::new();
        for e in exchanges() {
            let token = e.headers.iter().any(|(n, _)| n == "X-Auth-Token");
            let mut call = cloud.call(if token { "admin" } else { "" }, e.method.clone(), &e.path);
            for (name, value) in e.headers.iter().filter(|(n, _)| n != "X-Auth-Token") {
                call = call.header(name, value);
            }
            // The recorder's.
            if !e.headers.iter().any(|(n, _)| n == "Accept") {
                call = call.header("Accept", "*/*");
            }
            if let Some(body) = &e.body {
                call = call.body(body.clone());
            }
            let name = format!("{} {} {:?}", e.method, e.path, e.body);
            let answer = call.send().await.unwrap();
            let status = answer.status().as_u16();
            let headers = answer.headers().clone();
            let text = answer.text().await.unwrap();
            if status != e.status {
                wrong.push(format!("{name}: {status}, not {}: {text}", e.status));
                continue;
            }
            for (header, value) in &e.answer {
                let ours = headers.get(header).map_or("none", |v| v.to_str().unwrap());
                let known =
                    header == "openstack-image-import-methods" || (status == 204 && header == "content-type");
                if plain(ours, cloud) != plain(value, cloud) && !known {
                    wrong.push(format!("{name}: {header} is {ours}, not {value}"));
                }
            }
            let own = e.text.starts_with("{\"versions\"")
                || ["/info/import", "/schemas/"].iter().any(|p| e.path.contains(p));
            let (ours, theirs) = (plain(&text, cloud), plain(&e.text, cloud));
            if ours.trim_end_matches('\n') != theirs && !own && !same_json(&ours, &theirs) {
                wrong.push(format!("{name}:\n{ours}\nnot\n{theirs}"));
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n---\n"));
    })
    .await;
}
