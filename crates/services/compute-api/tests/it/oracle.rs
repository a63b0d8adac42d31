//! Nova's description of itself against our service: what it accepts, what it refuses, what it answers, and which
//! microversions have a route at all. Rows that we do not serve yet are printed, not failed.

use crate::{
    oracle_data::{Row, at, fault, rows, schema},
    servers::{becomes, each, up},
    support::{Answer, Client, Cloud, PROJECT_A, answer},
    world::{IMAGE, NETWORK},
};
use ferrostack_compute_api::routes;
use ferrostack_http::query_pairs;
use ferrostack_model::Microversion;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const NOBODY: &str = "deadbeef-dead-4ead-8ead-deadbeefdead";

/// Services that this cloud does not have answer 501 and 503.
const ABSENT: &[&str] = &["/os-volumes", "/os-snapshots", "/os-baremetal-nodes"];

/// Fails with every line at once.
#[track_caller]
fn no_faults(faults: &[String]) {
    let short: Vec<String> = faults.iter().map(|f| f.chars().take(900).collect()).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), short.join("\n"));
}

/// The microversions of `row` where something changes, and its ends; all of them are ours to serve.
fn edges(row: &Row) -> Vec<u16> {
    let max = Microversion::MAX.0;
    let mut all: BTreeSet<u16> = [row.first, row.last, 1, max].into();
    for windows in [&row.body, &row.query, &row.answer] {
        all.extend(windows.iter().flat_map(|w| [w.0, w.1]));
    }
    all.into_iter().filter(|v| *v >= 1 && *v <= max && row.has(*v)).collect()
}

/// The path with something in the place of every name.
fn path(row: &Row, version: u16, value: impl Fn(&str, &str) -> String) -> String {
    let mut before = "";
    let mut parts: Vec<String> = Vec::new();
    for part in row.path.split('/') {
        parts.push(match part {
            // Below 2.53 it is a verb.
            "{id}" if before == "os-services" && row.method == "PUT" && version < 53 => "enable".into(),
            p if p.starts_with('{') => value(before, p),
            p => p.to_owned(),
        });
        before = part;
    }
    parts.join("/")
}

/// Whether our table has a route for the row at a microversion.
fn served(row: &Row, version: u16) -> bool {
    let wanted = path(row, version, |_, _| "x".to_owned());
    routes::table().iter().any(|route| {
        let ours = route.path.strip_prefix("/v2.1").unwrap_or(route.path);
        route.method.as_str() == row.method
            && route.window.is_none_or(|w| Microversion(version).has(w))
            && ours.split('/').count() == wanted.split('/').count()
            && ours.split('/').zip(wanted.split('/')).all(|(o, w)| o.starts_with('{') || o == w)
    })
}

fn unknown_action(answer: &Answer) -> bool {
    answer.text.contains("There is no such action")
}

/// Whether an answer is the refusal of a schema.
fn refused(answer: &Answer) -> bool {
    let words = [
        "Invalid input for field",
        "Invalid input for query",
        "Additional properties are not allowed",
        "is a required property",
        "is not of type",
        "does not match any of the regexes",
        "does not have enough properties",
        "has too many properties",
    ];
    answer.status == 400 && words.iter().any(|w| answer.text.contains(w))
}

async fn send(client: Client<'_>, row: &Row, path: &str, body: Option<&Value>) -> Answer {
    client.call(row.method.parse::<Method>().unwrap(), path, body).await
}

/// Bodies that differ from a good one in one place.
fn mutations(good: &Value) -> Vec<Value> {
    fn places(value: &Value, at: &mut Vec<String>, all: &mut Vec<String>) {
        all.push(at.iter().map(|p| format!("/{}", p.replace('~', "~0").replace('/', "~1"))).collect());
        let inner: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), v)).collect(),
            Value::Array(list) => list.iter().take(1).map(|v| ("0".to_owned(), v)).collect(),
            _ => Vec::new(),
        };
        for (name, value) in inner {
            at.push(name);
            places(value, at, all);
            at.pop();
        }
    }
    let mut all = Vec::new();
    places(good, &mut Vec::new(), &mut all);
    let mut made = Vec::new();
    let odd = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(2.5),
        json!(""),
        json!("x".repeat(70_000)),
        json!("a\u{0}b"),
        json!(" padded "),
        json!([]),
        json!({}),
        json!([[]]),
    ];
    for place in &all {
        let set = |value: Value| {
            let mut body = good.clone();
            *body.pointer_mut(place).unwrap() = value;
            body
        };
        if !place.is_empty() {
            made.extend(odd.iter().cloned().map(set));
        }
        if let Some(Value::Object(map)) = good.pointer(place) {
            for name in map.keys() {
                let mut less = map.clone();
                less.shift_remove(name);
                made.push(set(Value::Object(less)));
            }
            let mut more: Map<String, Value> = map.clone();
            more.insert("unexpected_member".into(), json!(1));
            made.push(set(Value::Object(more)));
        }
    }
    made
}

/// Requests that a row may be asked with: those of the documentation, and the least that its schema lets through.
fn good_bodies(row: &Row, version: u16) -> Vec<Value> {
    let Some(name) = at(&row.body, version) else { return Vec::new() };
    let schema = schema(name);
    let mut good: Vec<Value> = row.samples.iter().map(|s| s.2.clone()).collect();
    if let Some(action) = &row.action {
        good.extend([Value::Null, json!({}), json!("x")].map(|v| json!({action: v})));
    }
    good.retain(|body| schema.complaints(body).is_empty());
    good.dedup();
    good
}

#[actix_web::test]
async fn requests_are_accepted_and_refused_as_by_nova() {
    let cloud = Cloud::start(None, std::sync::Arc::default(), &|_| {}).await;
    let (mut samples, mut bad, mut unserved, mut faults) = (0, 0, Vec::new(), Vec::new());
    for row in rows().iter().filter(|r| !r.body.is_empty()) {
        if !served(row, row.first.max(1)) {
            unserved.push(row.name());
            continue;
        }
        let at_version = |v: u16| path(row, v, |_, _| NOBODY.to_owned());
        for (version, file, body) in &row.samples {
            let version = (*version).max(row.first);
            if version > Microversion::MAX.0 || !row.has(version) {
                continue;
            }
            let Some(name) = at(&row.body, version) else { continue };
            if !schema(name).complaints(body).is_empty() {
                // An older sample in a newer directory, or one of another action.
                continue;
            }
            let answer = send(cloud.at("admin", version), row, &at_version(version), Some(body)).await;
            if unknown_action(&answer) {
                continue;
            }
            if refused(&answer) {
                faults.push(format!("{} at 2.{version}: {file}: {}", row.name(), answer.text));
            }
            samples += 1;
        }
        let firsts: BTreeSet<u16> = row.body.iter().map(|w| w.0.max(row.first).max(1)).collect();
        for version in firsts.into_iter().filter(|v| *v <= Microversion::MAX.0 && row.has(*v)) {
            let Some(name) = at(&row.body, version) else { continue };
            let schema = schema(name);
            let client = cloud.at("admin", version);
            let mut wrong: Vec<Value> = Vec::new();
            for body in good_bodies(row, version) {
                wrong.extend(mutations(&body).into_iter().filter(|b| !schema.complaints(b).is_empty()));
            }
            // Enough of each, spread over all.
            let step = wrong.len().div_ceil(60).max(1);
            for body in wrong.iter().step_by(step) {
                let answer = send(client, row, &at_version(version), Some(body)).await;
                if unknown_action(&answer) {
                    unserved.push(row.name());
                    break;
                }
                let short: String = body.to_string().chars().take(500).collect();
                if answer.status != 400 {
                    let (name, status) = (row.name(), answer.status);
                    faults.push(format!("{name} at 2.{version}: {short}\n{status} {}", answer.text));
                }
                bad += 1;
            }
        }
    }
    unserved.dedup();
    eprintln!(
        "{samples} samples accepted, {bad} bad bodies refused; not served:\n  {}",
        unserved.join("\n  ")
    );
    no_faults(&faults);
    assert!(samples > 50 && bad > 1000, "{samples} {bad}");
    cloud.end().await;
}

#[actix_web::test]
async fn queries_are_accepted_and_refused_as_by_nova() {
    let cloud = Cloud::start(None, std::sync::Arc::default(), &|_| {}).await;
    let queries = [
        "nonsense=1",
        "limit=-1",
        "limit=x",
        "limit=1&limit=2",
        "marker=a&marker=b",
        "marker=",
        "sort_key=nope",
        "sort_key=uuid&sort_dir=up",
        "changes-since=x",
        "changes-before=x",
        "all_tenants=1",
        "deleted=x",
        "detailed=5",
        "is_public=x",
        "minRam=x",
        "start=x",
        "user_id=x",
        "hypervisor_hostname_pattern=",
        "with_servers=maybe",
        "with_servers=true",
        "ip=(((",
        "limit=1&offset=3",
        "name=x&name=y",
    ];
    let (mut tried, mut faults) = (0, Vec::new());
    for row in rows().iter().filter(|r| !r.query.is_empty() && r.method == "GET") {
        let firsts: BTreeSet<u16> = row.query.iter().map(|w| w.0.max(row.first).max(1)).collect();
        for version in firsts.into_iter().filter(|v| *v <= Microversion::MAX.0 && row.has(*v)) {
            let Some(name) = at(&row.query, version) else { continue };
            if !served(row, version) {
                continue;
            }
            let schema = schema(name);
            for query in queries {
                let mut object = Map::new();
                for (name, value) in query_pairs(query) {
                    let values = object.entry(name).or_insert_with(|| json!([]));
                    values.as_array_mut().unwrap().push(json!(value));
                }
                let complaints = schema.complaints(&Value::Object(object));
                let path = path(row, version, |_, _| NOBODY.to_owned());
                let answer = send(cloud.at("admin", version), row, &format!("{path}?{query}"), None).await;
                let case = format!(
                    "{} ?{query} at 2.{version}: {complaints:?} {} {}",
                    row.name(),
                    answer.status,
                    answer.text
                );
                if refused(&answer) == complaints.is_empty() {
                    faults.push(case);
                }
                tried += 1;
            }
        }
    }
    eprintln!("{tried} queries");
    no_faults(&faults);
    assert!(tried > 300, "{tried}");
    cloud.end().await;
}

#[actix_web::test]
async fn routes_exist_in_their_window_only() {
    let cloud = Cloud::start(None, std::sync::Arc::default(), &|_| {}).await;
    for row in rows() {
        let outside = [row.first.saturating_sub(1), row.last.saturating_add(1)];
        for version in outside.into_iter().filter(|v| (1..=Microversion::MAX.0).contains(v)) {
            let elsewhere = rows().iter().any(|r| {
                r.path == row.path && r.method == row.method && r.action == row.action && r.has(version)
            });
            if elsewhere {
                continue;
            }
            let body = row.action.as_ref().map(|a| json!({a: null}));
            let path = path(row, version, |_, _| NOBODY.to_owned());
            let answer = send(cloud.at("admin", version), row, &path, body.as_ref()).await;
            if unknown_action(&answer) {
                continue;
            }
            assert_eq!(answer.status, 404, "{} at 2.{version}: {}", row.name(), answer.text);
        }
    }
    cloud.end().await;
}

/// What there is, by the segment before its name.
struct There {
    server: String,
    request: String,
    hypervisor_id: String,
    hypervisor_uuid: String,
    alias: String,
    aggregate: String,
    port: String,
}

impl There {
    fn name(&self, before: &str, version: u16, path: &str) -> String {
        match before {
            "servers" => self.server.clone(),
            "flavors" => "f1".into(),
            "os-extra_specs" => "hw:watchdog_action".into(),
            "os-keypairs" => "oracle".into(),
            "metadata" => "k".into(),
            "tags" => "red".into(),
            "ips" => "private".into(),
            "os-interface" => self.port.clone(),
            "os-instance-actions" => self.request.clone(),
            "os-hypervisors" if path.ends_with("search") || path.ends_with("servers") => "host1".into(),
            "os-hypervisors" if version < 53 => self.hypervisor_id.clone(),
            "os-hypervisors" => self.hypervisor_uuid.clone(),
            "os-hosts" => "host1".into(),
            "os-aggregates" => self.aggregate.clone(),
            "extensions" => self.alias.clone(),
            "os-quota-sets" | "os-simple-tenant-usage" | "os-quota-class-sets" => PROJECT_A.into(),
            "images" | "os-images" => IMAGE.into(),
            "os-networks" | "os-tenant-networks" => NETWORK.into(),
            _ => NOBODY.into(),
        }
    }
}

async fn first(client: Client<'_>, path: &str, list: &str, member: &str) -> String {
    let body = client.get(path).await;
    let value = body.body[list][0][member].clone();
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[actix_web::test]
async fn answers_have_the_shapes_of_nova() {
    each(async |cloud, _| {
        let admin = cloud.at("admin", 73);
        let more = json!({"networks": [{"uuid": NETWORK}], "metadata": {"k": "v"}, "tags": ["red"],
            "description": "d", "user_data": "aGk=", "availability_zone": "nova"});
        let server = up(admin, more).await;
        let broken = up(admin, json!({"name": "broken"})).await;
        admin
            .post(&format!("/servers/{broken}/action"), json!({"os-resetState": {"state": "error"}}))
            .await
            .expect(202);
        becomes(admin, &broken, "ERROR").await;
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x";
        for who in ["admin", "reader"] {
            let keypair = json!({"keypair": {"name": "oracle", "public_key": key}});
            cloud.at(who, 2).post("/os-keypairs", keypair).await.expect(201);
        }
        let actions = admin.get(&format!("/servers/{server}/os-instance-actions")).await.expect(200);
        let there = There {
            request: actions["instanceActions"][0]["request_id"].as_str().unwrap().to_owned(),
            hypervisor_id: first(cloud.at("admin", 1), "/os-hypervisors", "hypervisors", "id").await,
            hypervisor_uuid: first(cloud.at("admin", 53), "/os-hypervisors", "hypervisors", "id").await,
            alias: first(admin, "/extensions", "extensions", "alias").await,
            aggregate: first(admin, "/os-aggregates", "aggregates", "id").await,
            port: first(admin, &format!("/servers/{server}/os-interface"), "interfaceAttachments", "port_id")
                .await,
            server,
        };
        let (mut good, mut other, mut unserved) = (0, BTreeSet::new(), BTreeSet::new());
        let mut faults = Vec::new();
        for row in rows().iter().filter(|r| r.method == "GET" && !r.answer.is_empty()) {
            for version in edges(row) {
                if !served(row, version) {
                    unserved.insert(row.name());
                    continue;
                }
                let path = path(row, version, |before, _| there.name(before, version, &row.path));
                for who in ["admin", "reader"] {
                    let request = cloud
                        .request(who, Method::GET, &format!("/v2.1{path}"))
                        .header("OpenStack-API-Version", format!("compute 2.{version}"));
                    let answer = answer(request).await;
                    faults.extend(fault(&Method::GET, &path, None, version, &answer));
                    if answer.status.is_success() {
                        good += 1;
                    } else {
                        let absent = ABSENT.iter().any(|a| path.starts_with(a))
                            || (path.starts_with("/os-hosts/") && answer.status == 501);
                        if answer.status.is_server_error() && !absent {
                            faults.push(format!("{path} at 2.{version}: {}", answer.text));
                        }
                        other.insert(format!("{} {}", row.name(), answer.status));
                    }
                }
            }
        }
        // Those of the two that change a server and answer with it.
        for version in [1, 2, 9, 19, 26, 47, 54, 63, 71, 73, 75, 90, 94, 96, 98, 100, 104] {
            if version > Microversion::MAX.0 {
                continue;
            }
            for who in ["admin", "member"] {
                let name = json!({"server": {"name": format!("v{version}")}});
                cloud.at(who, version).put(&format!("/servers/{}", there.server), name).await.expect(200);
                good += 1;
            }
        }
        eprintln!("{good} answers judged; refused:");
        for line in other {
            eprintln!("  {line}");
        }
        eprintln!("not served:");
        for line in unserved {
            eprintln!("  {line}");
        }
        no_faults(&faults);
        assert!(good > 400, "{good}");
    })
    .await;
}
