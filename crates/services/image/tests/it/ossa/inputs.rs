//! Hostile requests: bodies, ids and texts that went through elsewhere.

use crate::{
    corpus,
    support::{Cloud, each, eventually},
};
use reqwest::Method;
use serde_json::{Value, json};

/// Every row of the route table that takes a body of its own kind, with an id filled in.
fn rows(id: &str) -> Vec<(Method, String)> {
    ferrostack_image::routes::table()
        .into_iter()
        .filter(|row| matches!(row.method.as_str(), "POST" | "PUT" | "PATCH"))
        .map(|row| {
            let mut path = String::new();
            let mut rest = row.path;
            while let Some((before, after)) = rest.split_once('{') {
                path.push_str(before);
                path.push_str(id);
                rest = after.split_once('}').map_or("", |(_, after)| after);
            }
            path.push_str(rest);
            (Method::from_bytes(row.method.as_str().as_bytes()).unwrap(), path)
        })
        .collect()
}

async fn images(cloud: &Cloud) -> Value {
    cloud.get("admin", "/v2/images?limit=1000").await.1["images"].clone()
}

/// XML is no language of this API: no entity is looked at, whatever the route.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2013_004_2013_023_xml_is_refused_on_every_route() {
    let bomb = r#"<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/hostname">]><x>&b;&f;</x>"#;
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_else(|_| "no such file".into());
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let before = images(cloud).await;
        let rows = rows(&id);
        assert!(rows.len() > 15, "{}", rows.len());
        for (method, path) in rows {
            if path.ends_with("/file") || path.ends_with("/stage") {
                continue;
            }
            for kind in ["application/xml", "text/xml"] {
                let request =
                    cloud.call("admin", method.clone(), &path).header("Content-Type", kind).body(bomb);
                let answer = request.send().await.unwrap();
                let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
                // A tag is put and an action done without any body: there is nothing to read.
                let bodiless = path.contains("/tags/") || path.contains("/actions/");
                assert!(
                    matches!(status, 400 | 403 | 404 | 405 | 409 | 415) || bodiless,
                    "{method} {path}: {status} {text}"
                );
                assert!(host.trim().is_empty() || !text.contains(host.trim()), "{method} {path}: {text}");
            }
        }
        assert_eq!(images(cloud).await.as_array().unwrap().len(), before.as_array().unwrap().len());
    })
    .await;
}

/// L06, X02: deep and giant JSON ends before it costs anything.
#[tokio::test(flavor = "multi_thread")]
async fn l06_x02_deep_and_giant_bodies_are_refused() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let before = images(cloud).await;
        for (method, path) in [
            (Method::POST, "/v2/images".to_owned()),
            (Method::PATCH, format!("/v2/images/{id}")),
            (Method::POST, format!("/v2/images/{id}/members")),
            (Method::POST, format!("/v2/images/{id}/import")),
            (Method::POST, "/v2/metadefs/namespaces".to_owned()),
        ] {
            let mut bodies: Vec<String> = Vec::new();
            for depth in [26, 129, 1000, 100_000] {
                bodies.push("[".repeat(depth));
                bodies.push("[".repeat(depth) + &"]".repeat(depth));
                bodies.push("{\"a\":".repeat(depth));
                bodies.push("{\"a\":".repeat(depth) + "1" + &"}".repeat(depth));
            }
            bodies.push(format!("{{\"name\": \"{}\"}}", "x".repeat(10 << 20)));
            bodies.push(format!("[{}1]", "1,".repeat(2 << 20)));
            for body in bodies {
                let length = body.len();
                let kind = if method == Method::PATCH {
                    "application/openstack-images-v2.1-json-patch"
                } else {
                    "application/json"
                };
                let request =
                    cloud.call("admin", method.clone(), &path).header("Content-Type", kind).body(body);
                // A body above the limit may be cut off while it is sent.
                let Ok(answer) = request.send().await else { continue };
                let status = answer.status().as_u16();
                let text = answer.text().await.unwrap_or_default();
                assert!(matches!(status, 400 | 413), "{method} {path} of {length} bytes: {status} {text}");
                assert!(text.len() <= 4096, "{method} {path}: an answer of {} bytes", text.len());
            }
        }
        assert_eq!(images(cloud).await, before);
    })
    .await;
}

/// X38, X39: whatever stands in the place of an id.
#[tokio::test(flavor = "multi_thread")]
async fn x38_x39_no_id_is_more_than_an_id() {
    each(async |cloud| {
        let before = images(cloud).await;
        let long = "x".repeat(7000);
        let ids = [
            "1",
            "-1",
            "0",
            "18446744073709551616",
            "{b1b2}",
            "%00",
            "%252e%252e",
            "..%2f..%2fetc%2fpasswd",
            "%F0%9F%92%A9",
            "'%20OR%201=1--",
            "%0d%0aX-Injected:%201",
            "null",
            "undefined",
            "$(id)",
            "%60id%60",
            ";id",
            long.as_str(),
        ];
        for id in ids {
            for (method, below) in [
                (Method::GET, ""),
                (Method::GET, "/file"),
                (Method::DELETE, ""),
                (Method::GET, "/members"),
                (Method::PUT, "/tags/x"),
                (Method::POST, "/actions/deactivate"),
            ] {
                let path = format!("/v2/images/{id}{below}");
                let answer = cloud.call("admin", method.clone(), &path).send().await.unwrap();
                let status = answer.status().as_u16();
                assert!(answer.headers().get("x-injected").is_none());
                let text = answer.text().await.unwrap();
                assert!(matches!(status, 400 | 404 | 405 | 414), "{method} {path:.80}: {status}");
                assert!(text.len() <= 16_384, "{} bytes", text.len());
            }
        }
        assert_eq!(images(cloud).await, before);
    })
    .await;
}

/// OSSA-2014-012, L11, L17, M15: texts come back as they were, and nothing runs them.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2014_012_m15_texts_are_only_texts() {
    let witness = tempfile::tempdir().unwrap();
    let file = witness.path().join("ran").to_string_lossy().into_owned();
    each(async |cloud| {
        for text in [
            format!("$(touch {file})"),
            format!("`touch {file}`"),
            format!("; touch {file}"),
            format!("| touch {file}"),
            format!("\ntouch {file}\n"),
            "-o/etc/passwd".into(),
            "--help".into(),
            "'; DROP TABLE images; --".into(),
            "]]><x>&amp;\"'".into(),
            "{{7*7}} %(x)s ${x}".into(),
            "\r\nX-Injected: 1".into(),
        ] {
            let id = cloud.create(json!({"name": text, "my_property": text})).await;
            let image = cloud.show(&id).await;
            assert_eq!((&image["name"], &image["my_property"]), (&json!(text), &json!(text)));
            assert_eq!(cloud.upload("admin", &id, b"x".to_vec()).await.0, 204);
            let path = format!("/v2/images/{id}/file");
            let answer = cloud.call("admin", Method::GET, &path).send().await.unwrap();
            assert!(answer.headers().get("x-injected").is_none());
            assert_eq!(cloud.delete("admin", &format!("/v2/images/{id}")).await, 204);
        }
        assert!(!std::path::Path::new(&file).exists(), "something ran");
    })
    .await;
}

/// A tar member whose name leads out.
fn tar(name: &str, kind: u8, link: &str) -> Vec<u8> {
    let mut header = vec![0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000005");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut data = b"owned".to_vec();
    data.resize(512, 0);
    header.extend(data);
    header.resize(header.len() + 1024, 0);
    header
}

/// OSSA-2011-001: an archive is stored and never unpacked.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2011_001_no_archive_is_unpacked() {
    each(async |cloud| {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("owned").to_string_lossy().into_owned();
        for (name, kind, link) in [
            ("../../../../../../../../tmp/owned-by-image", b'0', ""),
            (target.as_str(), b'0', ""),
            ("link", b'2', "/etc/passwd"),
            ("hard", b'1', "../../etc/passwd"),
            ("device", b'3', ""),
        ] {
            for container in ["ova", "docker", "bare"] {
                let id = cloud.create(json!({"container_format": container})).await;
                let bytes = tar(name, kind, link);
                let (status, _) = cloud.upload("admin", &id, bytes.clone()).await;
                let image = cloud.show(&id).await;
                if status == 204 {
                    let path = format!("/v2/images/{id}/file");
                    let answer = cloud.call("admin", Method::GET, &path).send().await.unwrap();
                    assert_eq!(answer.bytes().await.unwrap(), bytes, "{container}: as it was");
                } else {
                    assert!(
                        status.is_client_error() && image["status"] == "queued",
                        "{container}: {status} {image}"
                    );
                }
            }
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(!std::path::Path::new("/tmp/owned-by-image").exists());
        let stray: Vec<_> = cloud.stored().into_iter().filter(|name| name.contains("owned")).collect();
        assert!(stray.is_empty(), "{stray:?}");
    })
    .await;
}

/// OSSA-2015-014: an image that leads to a file of the host never becomes active, on any way in.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2015_014_no_backing_file_is_read() {
    let canary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(canary.path(), "CANARY-2015-014").unwrap();
    let name = canary.path().to_string_lossy().into_owned();
    each(async |cloud| {
        for backing in [
            name.clone(),
            format!("json:{{\"driver\":\"file\",\"filename\":\"{name}\"}}"),
            format!("file:{name}"),
        ] {
            for declared in ["qcow2", "raw"] {
                for staged in [false, true] {
                    let id = cloud.create(json!({"disk_format": declared})).await;
                    let bytes = corpus::qcow2_backed(&backing);
                    if staged {
                        let request = cloud
                            .call("admin", Method::PUT, &format!("/v2/images/{id}/stage"))
                            .header("Content-Type", "application/octet-stream")
                            .body(bytes);
                        let said = request.send().await.unwrap().status();
                        let method = json!({"method": {"name": "glance-direct"}});
                        if said == 204 {
                            cloud.post("admin", &format!("/v2/images/{id}/import"), method).await;
                        }
                        eventually("the import has ended", async || {
                            !matches!(cloud.show(&id).await["status"].as_str(), Some("importing" | "saving"))
                        })
                        .await;
                    } else {
                        let (status, said) = cloud.upload("admin", &id, bytes).await;
                        assert!(status.is_client_error(), "{status} {said}");
                    }
                    assert_ne!(cloud.show(&id).await["status"], "active", "{declared} {backing}");
                    let path = format!("/v2/images/{id}/file");
                    let answer = cloud.call("admin", Method::GET, &path).send().await.unwrap();
                    assert!(!answer.text().await.unwrap().contains("CANARY-2015-014"));
                }
            }
        }
    })
    .await;
}
