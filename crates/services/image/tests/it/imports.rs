//! Imports by every method: what they store, what they refuse, what they leave.

use crate::{
    stores::{directory, stored, two_stores},
    support::{Cloud, each_with, eventually, pattern, times},
    web::{Web, with_length, write},
};
use ferrostack_settings::Settings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::io::AsyncWriteExt;

/// Loopback may be fetched from, at any port, and what cannot be reached is told soon.
pub fn open(settings: &mut Settings) {
    let fetch = &mut settings.image.fetch;
    fetch.allowed_ports.clear();
    fetch.allowed_networks = vec!["127.0.0.1/32".parse().unwrap()];
    fetch.connect_timeout_ms = 200;
    fetch.idle_timeout_ms = 3000;
}

fn open_two(settings: &mut Settings) {
    open(settings);
    two_stores(settings);
}

pub async fn import(cloud: &Cloud, token: &str, id: &str, body: Value) -> (StatusCode, Value) {
    cloud.post(token, &format!("/v2/images/{id}/import"), body).await
}

fn web_download(uri: &str) -> Value {
    json!({"method": {"name": "web-download", "uri": uri}})
}

pub async fn stage(cloud: &Cloud, id: &str, data: &[u8]) {
    let request = cloud
        .call("member", Method::PUT, &format!("/v2/images/{id}/stage"))
        .header("Content-Type", "application/octet-stream")
        .body(data.to_vec());
    assert_eq!(request.send().await.unwrap().status(), 204);
}

async fn download(cloud: &Cloud, id: &str) -> Vec<u8> {
    let answer = cloud.call("member", Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

/// An answer with its quotes as they were before they were escaped.
fn plain(answer: &Value) -> String {
    answer.to_string().replace("&#x27;", "'")
}

/// The newest task of the image, once it has ended.
pub async fn ended(cloud: &Cloud, id: &str) -> Value {
    let task = async || cloud.get("admin", &format!("/v2/images/{id}/tasks")).await.1["tasks"][0].clone();
    eventually("the task ends", async || {
        matches!(task().await["status"].as_str(), Some("success" | "failure"))
    })
    .await;
    task().await
}

pub async fn failed(cloud: &Cloud, id: &str, why: &str) {
    let task = ended(cloud, id).await;
    assert_eq!(task["status"], "failure", "{task}");
    assert!(task["message"].as_str().unwrap().contains(why), "{task}");
    let image = cloud.show(id).await;
    assert_eq!(image["status"], "queued");
    for name in ["size", "checksum", "os_hash_value", "virtual_size"] {
        assert_eq!(image[name], Value::Null, "{name}");
    }
    assert_eq!(image.get("os_glance_import_task"), None);
    assert_eq!(image["os_glance_importing_to_stores"], "");
    eventually("nothing is left", async || !cloud.store.exists() || cloud.stored().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web_download_stores_what_the_server_sent() {
    each_with(open, async |cloud| {
        let data = pattern(3_000_000);
        let web = Web::data(&data).await;
        let moved = Web::redirect(&web.url("/there")).await;
        let id = cloud.create(json!({})).await;
        let (status, body) = import(cloud, "member", &id, web_download(&moved.url("/here"))).await;
        assert_eq!((status, body), (StatusCode::ACCEPTED, json!("")));
        let task = ended(cloud, &id).await;
        assert_eq!((&task["status"], &task["result"]["image_id"]), (&json!("success"), &json!(id)), "{task}");
        assert!(task["expires_at"].is_string());
        let image = cloud.show(&id).await;
        assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(data.len())));
        assert_eq!(image.get("os_glance_import_task"), None);
        assert!(download(cloud, &id).await == data);
        assert_eq!((cloud.stored().len(), web.seen(), moved.seen()), (1, 1, 1));
        // A second one has nothing to do here.
        let (status, text) = import(cloud, "member", &id, web_download(&web.url("/"))).await;
        assert_eq!(status, 409, "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_at_once() {
    each_with(open, async |cloud| {
        let id = cloud.create(json!({})).await;
        for (body, status, text) in [
            (json!({}), 400, "Import request requires a 'method' field."),
            (json!({"method": {}}), 400, "Import request requires a 'name' field."),
            (json!({"method": "web-download"}), 400, "Import request requires a 'name' field."),
            (json!({"method": {"name": "carry"}}), 400, "Unknown import method name 'carry'."),
            (json!({"method": {"name": "web-download"}}), 400, "URI for web-download does not pass filtering: None"),
            (web_download("file:///etc/passwd"), 400, "does not pass filtering: file:///etc/passwd"),
            (web_download("http://10.0.0.1/x"), 400, "does not pass filtering: http://10.0.0.1/x"),
            (json!({"method": {"name": "web-download", "uri": 7}}), 400, "does not pass filtering"),
            (web_download(&format!("http://x.example/{}", "y".repeat(9000))), 400, "does not pass filtering"),
            (json!({"method": {"name": "glance-direct"}}), 409, "Image needs to be staged before 'glance-direct'"),
            (json!({"method": {"name": "copy-image"}}), 409, "Only images with status active can be targeted"),
            (json!({"method": {"name": "glance-download"}}), 400, "'glance_region' needs to be set"),
            (
                json!({"method": {"name": "glance-download", "glance_region": "R", "glance_image_id": "foo"}}),
                400,
                "Remote image id does not look like a UUID: foo",
            ),
            (
                json!({"method": {"name": "web-download", "uri": "http://x.example/"}, "all_stores_must_succeed": 1}),
                400,
                "'all_stores_must_succeed' must be boolean value only",
            ),
            (
                json!({"method": {"name": "web-download", "uri": "http://x.example/"}, "all_stores": "yes"}),
                400,
                "'all_stores' must be boolean value only",
            ),
        ] {
            let (got, answer) = import(cloud, "member", &id, body.clone()).await;
            assert_eq!(got.as_u16(), status, "{body}: {answer}");
            assert!(plain(&answer).contains(text), "{body}: {answer}");
        }
        assert_eq!(import(cloud, "reader", &id, web_download("http://x.example/")).await.0, 403);
        assert_eq!(import(cloud, "other", &id, web_download("http://x.example/")).await.0, 404);
        let bare = cloud.create(json!({"container_format": null})).await;
        let (status, text) = import(cloud, "member", &bare, web_download("http://x.example/")).await;
        assert_eq!(status, 409);
        assert!(plain(&text).contains("'container_format' needs to be set before import"), "{text}");
        let image = cloud.show(&id).await;
        assert_eq!(image["status"], "queued");
        assert!(image.as_object().unwrap().keys().all(|name| !name.starts_with("os_glance")), "{image}");
        for name in ["os_glance_import_task", "os_glance_importing_to_stores", "os_glance_failed_import", "os_glance_x"] {
            let patch = json!([{"op": "add", "path": format!("/{name}"), "value": "mine"}]);
            assert_eq!(cloud.patch("admin", &id, patch).await.0, 403, "{name}");
            let body = json!({"name": "n", name: "mine"});
            assert_eq!(cloud.post("admin", "/v2/images", body).await.0, 403, "{name}");
        }
    })
    .await;
}

/// X12 and S-2026-004 through the API: one text for all that cannot be fetched, and nobody inside was asked.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2026_004_x12_imports_from_inside_fail_alike_and_touch_nobody() {
    each_with(open, async |cloud| {
        let trap =
            Web::start_on("127.0.0.2:0", |_, stream| write(stream, Arc::new(with_length(b"secret")))).await;
        let port = trap.address.port();
        let to_trap = Web::redirect(&format!("http://127.0.0.2:{port}/")).await;
        let to_metadata = Web::redirect("http://169.254.169.254/latest/meta-data/").await;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut messages = std::collections::HashSet::new();
        for uri in [
            to_trap.url("/"),
            to_metadata.url("/"),
            format!("http://{closed}/"),
            "http://unknown.invalid/".into(),
        ] {
            let id = cloud.create(json!({})).await;
            assert_eq!(import(cloud, "member", &id, web_download(&uri)).await.0, 202, "{uri}");
            messages.insert(ended(cloud, &id).await["message"].to_string());
            failed(cloud, &id, "could not be fetched").await;
        }
        assert_eq!((messages.len(), trap.seen()), (1, 0), "{messages:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_download_of_64_mib_leaves_nothing() {
    each_with(open, async |cloud| {
        let web = Web::start(|_, mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n").await;
            let block = vec![7; 1 << 20];
            for _ in 0..63 {
                let _ = stream.write_all(&block).await;
            }
        })
        .await;
        let id = cloud.create(json!({})).await;
        assert_eq!(import(cloud, "member", &id, web_download(&web.url("/"))).await.0, 202);
        failed(cloud, &id, "ended early").await;
        let wrong = Web::fixed("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(import(cloud, "member", &id, web_download(&wrong.url("/"))).await.0, 202);
        failed(cloud, &id, "answered 403").await;
        let qcow2 = Web::data(b"QFI\xfb\0\0\0\x03 and then nothing").await;
        assert_eq!(import(cloud, "member", &id, web_download(&qcow2.url("/"))).await.0, 202);
        failed(cloud, &id, "Image content").await;
        // And the image is still of use.
        let good = Web::data(b"good").await;
        assert_eq!(import(cloud, "member", &id, web_download(&good.url("/"))).await.0, 202);
        assert_eq!(ended(cloud, &id).await["status"], "success");
        assert_eq!(download(cloud, &id).await, b"good");
    })
    .await;
}

/// R64: staged data that is not what was uploaded does not become the image's.
#[tokio::test(flavor = "multi_thread")]
async fn r64_truncated_or_changed_staging_is_refused() {
    each_with(open, async |cloud| {
        for change in ["cut", "longer", "flipped", "gone"] {
            let id = cloud.create(json!({})).await;
            stage(cloud, &id, &pattern(100_000)).await;
            let file = cloud.store.join(cloud.stored().into_iter().find(|n| n.starts_with(&id)).unwrap());
            let mut bytes = std::fs::read(&file).unwrap();
            match change {
                "cut" => bytes.truncate(99_999),
                "longer" => bytes.push(0),
                _ => bytes[77_777] ^= 1,
            }
            std::fs::write(&file, bytes).unwrap();
            if change == "gone" {
                std::fs::remove_file(&file).unwrap();
            }
            assert_eq!(
                import(cloud, "member", &id, json!({"method": {"name": "glance-direct"}})).await.0,
                202
            );
            failed(cloud, &id, "staged data").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_all_stores_and_to_named_ones() {
    each_with(open_two, async |cloud| {
        let data = pattern(2_000_000);
        let direct = json!({"name": "glance-direct"});
        let id = cloud.create(json!({})).await;
        stage(cloud, &id, &data).await;
        let body = json!({"method": direct, "all_stores": true});
        assert_eq!(import(cloud, "member", &id, body).await.0, 202);
        let task = ended(cloud, &id).await;
        assert_eq!(
            (&task["status"], &task["input"]["backend"]),
            (&json!("success"), &json!(["cheap", "fast"])),
            "{task}"
        );
        let image = cloud.show(&id).await;
        assert_eq!(image["stores"], "fast,cheap", "by their weights");
        assert_eq!(
            (&image["os_glance_importing_to_stores"], &image["os_glance_failed_import"]),
            (&json!(""), &json!(""))
        );
        for store in ["cheap", "fast"] {
            let name = stored(cloud, store).into_iter().find(|n| n.starts_with(&id)).unwrap();
            assert!(std::fs::read(directory(cloud, store).join(name)).unwrap() == data, "{store}");
        }
        // Only where it is not staged: nothing stays where it was.
        let id = cloud.create(json!({})).await;
        stage(cloud, &id, &data).await;
        assert_eq!(import(cloud, "member", &id, json!({"method": direct, "stores": ["fast"]})).await.0, 202);
        assert_eq!(ended(cloud, &id).await["status"], "success");
        assert_eq!(cloud.show(&id).await["stores"], "fast");
        eventually("not staged any more", async || {
            !stored(cloud, "cheap").iter().any(|n| n.starts_with(&id))
        })
        .await;
        assert!(download(cloud, &id).await == data);
        let queued = cloud.create(json!({})).await;
        stage(cloud, &queued, &data).await;
        for (body, status, text) in [
            (json!({"method": direct, "stores": ["slow"]}), 409, "Store for identifier slow not found"),
            (
                json!({"method": direct, "stores": ["fast"], "all_stores": true}),
                400,
                "All_stores parameter can't be used",
            ),
            (json!({"method": direct, "stores": []}), 400, "'stores' must be"),
            (json!({"method": direct, "stores": "fast"}), 400, "'stores' must be"),
        ] {
            let (got, answer) = import(cloud, "member", &queued, body.clone()).await;
            assert_eq!(got.as_u16(), status, "{body}: {answer}");
            assert!(plain(&answer).contains(text), "{body}: {answer}");
        }
        assert_eq!(cloud.show(&queued).await["status"], "uploading");
    })
    .await;
}

/// One store of two cannot be written to: with `all_stores_must_succeed` nothing stays, without the other one counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails() {
    each_with(open_two, async |cloud| {
        let fast = directory(cloud, "fast");
        let web = Web::data(&pattern(10_000)).await;
        let body = |must: bool| {
            json!({"method": {"name": "web-download", "uri": web.url("/")}, "stores": ["cheap", "fast"],
                "all_stores_must_succeed": must})
        };
        let (strict, lenient) = (cloud.create(json!({})).await, cloud.create(json!({})).await);
        // A file in its place: not even root can write below it.
        std::fs::remove_dir_all(&fast).unwrap();
        std::fs::write(&fast, "").unwrap();
        assert_eq!(import(cloud, "member", &strict, body(true)).await.0, 202);
        assert_eq!(ended(cloud, &strict).await["status"], "failure");
        let image = cloud.show(&strict).await;
        assert_eq!((&image["status"], &image["os_glance_failed_import"]), (&json!("queued"), &json!("fast")));
        assert_eq!(image["os_glance_importing_to_stores"], "");
        eventually("nothing is left", async || {
            !stored(cloud, "cheap").iter().any(|n| n.starts_with(&strict))
        })
        .await;
        assert_eq!(import(cloud, "member", &lenient, body(false)).await.0, 202);
        assert_eq!(ended(cloud, &lenient).await["status"], "success");
        let image = cloud.show(&lenient).await;
        assert_eq!((&image["status"], &image["stores"]), (&json!("active"), &json!("cheap")));
        assert_eq!(
            (&image["os_glance_failed_import"], &image["os_glance_importing_to_stores"]),
            (&json!("fast"), &json!(""))
        );
        // The store is back: a copy to it is all that is missing.
        std::fs::remove_file(&fast).unwrap();
        std::fs::create_dir(&fast).unwrap();
        let copy = json!({"method": {"name": "copy-image"}, "stores": ["fast"]});
        assert_eq!(import(cloud, "member", &lenient, copy.clone()).await.0, 403, "copying is for admins");
        assert_eq!(import(cloud, "admin", &lenient, copy.clone()).await.0, 202);
        assert_eq!(ended(cloud, &lenient).await["status"], "success");
        let image = cloud.show(&lenient).await;
        assert_eq!((&image["stores"], &image["os_glance_failed_import"]), (&json!("fast,cheap"), &json!("")));
        let (status, text) = import(cloud, "admin", &lenient, copy).await;
        assert_eq!(status, 400);
        assert!(plain(&text).contains("Image is already present at store 'fast'"), "{text}");
        let all = json!({"method": {"name": "copy-image"}, "all_stores": true});
        assert_eq!(import(cloud, "admin", &lenient, all).await.0, 202, "there is nothing to do");
    })
    .await;
}

/// S-2015-004, R63: created, imported and deleted at any moment, again and again; nothing stays anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2015_004_r63_deleted_at_any_moment() {
    each_with(open_two, async |cloud| {
        let data = pattern(600_000);
        let slow = data.clone();
        let web = Web::start(move |_, mut stream| {
            let data = slow.clone();
            async move {
                let _ = stream.write_all(&with_length(&[])[..17]).await;
                let _ = stream.write_all(format!("Content-Length: {}\r\n\r\n", data.len()).as_bytes()).await;
                for chunk in data.chunks(60_000) {
                    let _ = stream.write_all(chunk).await;
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            }
        })
        .await;
        let mut seed = 7_u64;
        for round in 0..times(30, 100) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let id = cloud.create(json!({})).await;
            let body = if round % 2 == 0 {
                stage(cloud, &id, &data).await;
                json!({"method": {"name": "glance-direct"}, "all_stores": true})
            } else {
                json!({"method": {"name": "web-download", "uri": web.url("/")}, "all_stores": true})
            };
            assert_eq!(import(cloud, "member", &id, body).await.0, 202);
            tokio::time::sleep(Duration::from_micros((seed >> 33) % 120_000)).await;
            assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        }
        eventually("both stores are empty", async || {
            stored(cloud, "cheap").is_empty() && stored(cloud, "fast").is_empty()
        })
        .await;
        let (_, tasks) = cloud.get("admin", "/v2/tasks?status=processing").await;
        assert_eq!(tasks["tasks"], json!([]));
    })
    .await;
}

/// A process that ends in the middle of an import (no worker cleans up, its lease runs out): the next one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn r66_an_import_outlives_its_process() {
    each_with(open_two, async |cloud| {
        let (hold, held) = tokio::sync::watch::channel(true);
        let web = Web::start(move |_, mut stream| {
            let mut held = held.clone();
            async move {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
                let _ = held.wait_for(|held| !*held).await;
                let _ = stream.write_all(b"world").await;
            }
        })
        .await;
        let id = cloud.create(json!({})).await;
        assert_eq!(import(cloud, "member", &id, web_download(&web.url("/"))).await.0, 202);
        eventually("it fetches", async || web.seen() == 1).await;
        let (status, _) = import(cloud, "member", &id, web_download(&web.url("/"))).await;
        assert_eq!(status, 409, "one at a time");
        // Another process takes the job over, as if this one had hung: its lease has run out.
        let before = std::time::Instant::now();
        let generation = cloud.sql("UPDATE jobs SET lease_until = 0, generation = generation + 1", &[]).await;
        assert_eq!(generation, 1);
        eventually("the next one fetches", async || web.seen() == 2).await;
        assert!(before.elapsed() < Duration::from_secs(30));
        hold.send(false).unwrap();
        assert_eq!(ended(cloud, &id).await["status"], "success");
        assert_eq!(download(cloud, &id).await, b"helloworld");
        eventually("of the first nothing is left", async || stored(cloud, "cheap").len() == 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_properties_and_expiry() {
    let change = |settings: &mut Settings| {
        open(settings);
        settings.image.import.inject.insert("imported_by".into(), "us".into());
    };
    each_with(change, async |cloud| {
        let web = Web::data(b"x").await;
        for (token, expected) in [("member", json!("us")), ("admin", Value::Null)] {
            let id = cloud.create(json!({})).await;
            assert_eq!(import(cloud, token, &id, web_download(&web.url("/"))).await.0, 202);
            assert_eq!(ended(cloud, &id).await["status"], "success");
            assert_eq!(
                cloud.show(&id).await.get("imported_by").cloned().unwrap_or_default(),
                expected,
                "{token}"
            );
        }
        let (_, page) = cloud.get("admin", "/v2/tasks").await;
        assert_eq!(page["tasks"].as_array().unwrap().len(), 2);
        cloud.sql("UPDATE image_task SET expires_at = 1", &[]).await;
        eventually("forgotten", async || cloud.get("admin", "/v2/tasks").await.1["tasks"] == json!([])).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ossn_0105_tasks_of_the_tasks_api() {
    each_with(open, async |cloud| {
        let web = Web::data(b"data").await;
        let task = |uri: &str| {
            json!({"type": "import", "input": {"import_from": uri, "import_from_format": "raw",
                "image_properties": {"name": "made", "disk_format": "raw", "container_format": "bare"}}})
        };
        let (status, made) = cloud.post("admin", "/v2/tasks", task(&web.url("/"))).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!((&made["status"], &made["type"], &made["result"]), (&json!("pending"), &json!("import"), &Value::Null));
        let path = made["self"].as_str().unwrap().to_owned();
        eventually("done", async || cloud.get("admin", &path).await.1["status"] == "success").await;
        let (_, done) = cloud.get("admin", &path).await;
        let image = cloud.show(done["result"]["image_id"].as_str().unwrap()).await;
        assert_eq!((&image["status"], &image["name"], &image["size"]), (&json!("active"), &json!("made"), &json!(4)));
        // The same filter, and the same fetcher.
        for uri in ["file:///etc/passwd", "http://127.0.0.2/", "http://2130706434/", "swift://x/y", "/etc/passwd"] {
            let (status, text) = cloud.post("admin", "/v2/tasks", task(uri)).await;
            assert_eq!(status, 400, "{uri}");
            assert!(plain(&text).contains("does not pass filtering"), "{text}");
        }
        let (_, gone) = cloud.post("admin", "/v2/tasks", task("http://unknown.invalid/")).await;
        let path = gone["self"].as_str().unwrap().to_owned();
        eventually("failed", async || cloud.get("admin", &path).await.1["status"] == "failure").await;
        let (_, images) = cloud.get("admin", "/v2/images").await;
        assert_eq!(images["images"].as_array().unwrap().len(), 1, "the image of a failed task goes with it");
        for (body, text) in [
            (json!({"input": {}}), "Task 'type' is required"),
            (json!({"type": "import"}), "Task 'input' is required"),
            (json!({"type": "export", "input": {}}), "schema 'task'"),
            (json!({"type": "import", "input": {}}), "Input does not contain 'import_from' field"),
            (json!({"type": "import", "input": {"import_from": 1, "import_from_format": "raw", "image_properties": {}}}), "filtering"),
        ] {
            let (status, answer) = cloud.post("admin", "/v2/tasks", body.clone()).await;
            assert_eq!(status, 400, "{body}");
            assert!(plain(&answer).contains(text), "{body}: {answer}");
        }
        let bad = json!({"type": "import", "input": {"import_from": web.url("/"), "import_from_format": "raw",
            "image_properties": {"disk_format": "raw", "container_format": "bare", "os_glance_x": "y"}}});
        assert_eq!(cloud.post("admin", "/v2/tasks", bad).await.0, 403);
        assert_eq!(cloud.delete("admin", &path).await, 405);
        assert_eq!(cloud.delete("member", &path).await, 403);
        let (_, sorted) = cloud.get("admin", "/v2/tasks?sort_key=status&sort_dir=asc&type=import").await;
        let seen: Vec<_> = sorted["tasks"].as_array().unwrap().iter().map(|t| t["status"].clone()).collect();
        assert_eq!(seen, [json!("failure"), json!("success")]);
        assert!(sorted["tasks"][0].get("input").is_none());
        for bad in ["sort_key=x", "sort_dir=x", "status=x", "type=x", "marker=x", "limit=x", "limit=-1"] {
            assert_eq!(cloud.get("admin", &format!("/v2/tasks?{bad}")).await.0, 400, "{bad}");
        }
    })
    .await;
}

/// Another region's image, found in the catalog, read as the caller.
#[tokio::test(flavor = "multi_thread")]
async fn glance_download_takes_data_and_chosen_properties() {
    const THERE: &str = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c";
    let glance = Web::start(|head, stream| {
        let record = json!({"id": THERE, "status": "active", "size": 5, "disk_format": "raw", "container_format": "bare",
            "hw_cpu_cores": "5", "trait:X": "required", "os_distro": "rhel", "speed": "88mph", "os_glance_x": "y"});
        let ours = head.to_lowercase().contains("x-auth-token: x\r\n");
        let answer = match head.split(' ').nth(1) {
            _ if !ours => b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec(),
            Some(path) if path == format!("/v2/images/{THERE}") => with_length(record.to_string().as_bytes()),
            Some(path) if path == format!("/v2/images/{THERE}/file") => with_length(b"hello"),
            _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        };
        write(stream, Arc::new(answer))
    })
    .await;
    let catalog = json!({"catalog": [{"type": "image", "name": "glance", "endpoints": [
        {"interface": "public", "region": "Two", "region_id": "Two", "url": glance.url("")}]}]});
    let identity = Web::data(catalog.to_string().as_bytes()).await;
    let change = |settings: &mut Settings| {
        // Nothing inside is allowed to users; the catalog is the operator's.
        settings.image.fetch.connect_timeout_ms = 200;
        settings.credentials.auth_url = identity.url("/v3");
    };
    each_with(change, async |cloud| {
        let method = |region: &str, image: &str| {
            json!({"method": {"name": "glance-download", "glance_region": region, "glance_image_id": image}})
        };
        let id = cloud.create(json!({"disk_format": "iso", "container_format": "ovf", "hw_cpu_cores": "1"})).await;
        for (region, image, why) in [
            ("nowhere", THERE, "public glance endpoint not found for region nowhere"),
            ("two", "36d4b546-64a2-4bb9-bdd0-ba676aa48f2d", "answered 404"),
        ] {
            assert_eq!(import(cloud, "member", &id, method(region, image)).await.0, 202);
            failed(cloud, &id, why).await;
            let image = cloud.show(&id).await;
            assert_eq!((&image["disk_format"], &image["hw_cpu_cores"]), (&json!("iso"), &json!("1")));
        }
        assert_eq!(import(cloud, "member", &id, method("two", THERE)).await.0, 202);
        let task = ended(cloud, &id).await;
        assert_eq!(task["status"], "success", "{task}");
        assert!(!task.to_string().contains("x-auth"), "{task}");
        let image = cloud.show(&id).await;
        for (name, value) in [("disk_format", "raw"), ("container_format", "bare"), ("hw_cpu_cores", "5"),
            ("trait:X", "required"), ("os_distro", "rhel"), ("status", "active")] {
            assert_eq!(image[name], value, "{name}");
        }
        assert!(image.get("speed").is_none() && image.get("os_glance_x").is_none());
        assert_eq!(download(cloud, &id).await, b"hello");
        let kept = cloud.sql("UPDATE jobs SET attempt = attempt WHERE data LIKE '%oken%'", &[]).await;
        assert_eq!(kept, 0, "no token is stored");
    })
    .await;
}

/// Packed data is unpacked, disks are converted, and the record says what came out.
#[tokio::test(flavor = "multi_thread")]
async fn converted_on_import() {
    if !crate::convert::has_qemu_img() {
        return;
    }
    let change = |settings: &mut Settings| {
        open(settings);
        settings.image.import.convert_to = Some("raw".into());
        settings.image.import.decompress = true;
    };
    each_with(change, async |cloud| {
        let directory = tempfile::tempdir().unwrap();
        let (raw, qcow2) = (directory.path().join("raw"), directory.path().join("qcow2"));
        let mut data = vec![0; 4 << 20];
        data[1 << 20..2 << 20].copy_from_slice(&pattern(1 << 20));
        std::fs::write(&raw, &data).unwrap();
        let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
            let done = std::process::Command::new(program).args(arguments).output().unwrap();
            assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
        };
        let words = ["convert", "-f", "raw", "-O", "qcow2"].map(std::ffi::OsStr::new);
        run("qemu-img", &[&words[..], &[raw.as_os_str(), qcow2.as_os_str()]].concat());
        run("gzip", &["-k".as_ref(), qcow2.as_os_str()]);
        let plain_web = Web::data(&std::fs::read(&qcow2).unwrap()).await;
        let packed_web = Web::data(&std::fs::read(directory.path().join("qcow2.gz")).unwrap()).await;
        for web in [&plain_web, &packed_web] {
            let id = cloud.create(json!({"disk_format": "qcow2"})).await;
            assert_eq!(import(cloud, "member", &id, web_download(&web.url("/"))).await.0, 202);
            let task = ended(cloud, &id).await;
            assert_eq!(task["status"], "success", "{task}");
            let image = cloud.show(&id).await;
            assert_eq!((&image["disk_format"], &image["size"]), (&json!("raw"), &json!(data.len())));
            assert_eq!(image["virtual_size"], data.len());
            assert!(download(cloud, &id).await == data);
            assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        }
        // S-2015-014: what points at a file of the host is refused before anything is converted.
        let hostile = crate::corpus::hostile().into_iter().find(|c| c.name.starts_with("IMG-01")).unwrap();
        let web = Web::data(&hostile.bytes).await;
        let id = cloud.create(json!({"disk_format": "qcow2"})).await;
        assert_eq!(import(cloud, "member", &id, web_download(&web.url("/"))).await.0, 202);
        failed(cloud, &id, "backing file").await;
        assert_eq!(cloud.show(&id).await["disk_format"], "qcow2");
    })
    .await;
}
