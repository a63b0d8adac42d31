//! Locations: by patches, by their own API, and read from a web server.

use crate::{
    stores::two_stores,
    support::{Cloud, each, each_with, eventually, pattern},
    web::{Web, with_length, write},
};
use ferrostack_settings::{ImageStore, ImageStoreKind, Settings};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// Two directories and the web, locations shown and changed, `web` reachable.
fn open_to(web: &Web) -> impl Fn(&mut Settings) + use<> {
    let port = url::Url::parse(&web.url("/")).unwrap().port().unwrap();
    move |settings| {
        two_stores(settings);
        let storage = &mut settings.image.storage;
        let http = ImageStore { kind: ImageStoreKind::Http, ..Default::default() };
        storage.stores.insert("web".into(), http);
        storage.show_multiple_locations = true;
        storage.show_image_direct_url = true;
        settings.image.fetch.allowed_networks = vec!["127.0.0.1/32".parse().unwrap()];
        settings.image.fetch.allowed_ports = vec![port];
        settings.image.fetch.connect_timeout_ms = 200;
    }
}

pub fn sha512(data: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, data))
}

async fn get(cloud: &Cloud, id: &str) -> (u16, Option<Vec<u8>>) {
    let got = cloud.call("member", Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
    let status = got.status().as_u16();
    (status, got.bytes().await.ok().map(|b| b.to_vec()))
}

async fn patch(cloud: &Cloud, token: &str, id: &str, change: Value) -> (StatusCode, Value) {
    cloud.patch(token, id, json!([change])).await
}

fn add(url: &str) -> Value {
    json!({"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_elsewhere_is_served_from_there() {
    let data = pattern(1_300_000);
    let web = Web::data(&data).await;
    each_with(open_to(&web), async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.show(&id).await["locations"], json!([]));
        let url = web.url("/image");
        let (status, image) = patch(cloud, "member", &id, add(&url)).await;
        assert_eq!(status, 200, "{image}");
        assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(data.len())));
        assert_eq!(image["locations"], json!([{"url": url, "metadata": {"store": "web"}}]));
        assert_eq!((&image["direct_url"], &image["stores"]), (&json!(url), &json!("web")));
        assert_eq!(get(cloud, &id).await, (200, Some(data.clone())));
        let range = cloud.call("member", Method::GET, &format!("/v2/images/{id}/file"));
        let part = range.header("Range", "bytes=700000-1200000").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert!(part.bytes().await.unwrap() == data[700_000..=1_200_000], "of a server without ranges");
        assert_eq!(cloud.upload("member", &id, b"DATA".to_vec()).await.0, 409);
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        let id = cloud.create(json!({})).await;
        let put = cloud.call("member", Method::PUT, &format!("/v2/images/{id}/file"));
        let put = put.header("Content-Type", "application/octet-stream").header("x-image-meta-store", "web");
        assert_eq!(put.body("DATA").send().await.unwrap().status(), 410);
        let (_, stores) = cloud.get("member", "/v2/info/stores").await;
        assert_eq!(stores["stores"][2], json!({"id": "web", "read-only": "true"}));
    })
    .await;
}

/// As tempest's ImageLocationsTest.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_may_change_and_urls_may_not() {
    let web = Web::data(b"some data").await;
    each_with(open_to(&web), async |cloud| {
        let id = cloud.create(json!({})).await;
        let [first, second] = [web.url("/a"), web.url("/a#new2")];
        for url in [&first, &second] {
            assert_eq!(patch(cloud, "member", &id, add(url)).await.0, 200);
        }
        let (status, error) = patch(cloud, "member", &id, add(&first)).await;
        assert_eq!(status, 400, "{error}");
        let mut all = cloud.show(&id).await["locations"].clone();
        let replace = async |value: &Value| {
            patch(cloud, "member", &id, json!({"op": "replace", "path": "/locations", "value": value}))
                .await
                .0
        };
        assert_eq!(replace(&all).await, 200);
        all[0]["metadata"]["date"] = json!("2015-10-15");
        assert_eq!(replace(&all).await, 200);
        assert_eq!(cloud.show(&id).await["locations"], all);
        assert_eq!(replace(&json!([all[0]])).await, 400);
        let other = json!({"url": web.url("/a#new3"), "metadata": {}});
        assert_eq!(replace(&json!([all[0], other])).await, 400);
        assert_eq!(replace(&json!([])).await, 403);
        assert_eq!(cloud.show(&id).await["locations"], all);

        let remove = async |token: &str, place: &str| {
            let change = json!({"op": "remove", "path": format!("/locations/{place}")});
            patch(cloud, token, &id, change).await.0.as_u16()
        };
        assert_eq!(remove("member", "0").await, 403, "the rule is for admins");
        assert_eq!((remove("admin", "2").await, remove("admin", "x").await), (400, 400));
        assert_eq!(remove("admin", "0").await, 200);
        assert_eq!(cloud.show(&id).await["locations"], json!([all[1]]));
        assert_eq!(remove("admin", "0").await, 403);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_data_is_set_once() {
    let web = Web::data(b"some data").await;
    each_with(open_to(&web), async |cloud| {
        let id = cloud.create(json!({})).await;
        let good = json!({"checksum": "1".repeat(32), "os_hash_algo": "sha512", "os_hash_value": "deadbeef".repeat(16)});
        let with = |data: &Value, url: &str| {
            let value = json!({"url": web.url(url), "metadata": {}, "validation_data": data});
            json!({"op": "add", "path": "/locations/-", "value": value})
        };
        for (name, bad) in [
            ("os_hash_algo", "sha256"),
            ("os_hash_value", "beef"),
            ("os_hash_value", &"x".repeat(128)),
            ("checksum", &"x".repeat(32)),
        ] {
            let mut data = good.clone();
            data[name] = json!(bad);
            assert_eq!(patch(cloud, "member", &id, with(&data, "/")).await.0, 409, "{name} {bad}");
        }
        assert_eq!(patch(cloud, "member", &id, with(&json!({"os_hash_algo": "sha512"}), "/")).await.0, 400);
        assert_eq!(cloud.show(&id).await["status"], "queued");
        let (status, image) = patch(cloud, "member", &id, with(&good, "/")).await;
        assert_eq!(status, 200, "{image}");
        for name in ["checksum", "os_hash_algo", "os_hash_value"] {
            assert_eq!(image[name], good[name]);
        }
        assert!(image["locations"][0].get("validation_data").is_none());
        assert_eq!(patch(cloud, "member", &id, with(&good, "/#new")).await.0, 200);
        for (name, bad) in [("checksum", "2".repeat(32)), ("os_hash_value", "beefdead".repeat(16))] {
            let mut data = good.clone();
            data[name] = json!(bad);
            assert_eq!(patch(cloud, "member", &id, with(&data, "/#other")).await.0, 409);
        }
        assert_eq!(cloud.show(&id).await["locations"].as_array().unwrap().len(), 2);
        assert_eq!(get(cloud, &id).await.0, 500, "what is not what it was said to be is not served");
    })
    .await;
}

/// S-2014-041: a location never names what is ours or the host's.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2014_041_no_location_names_a_file() {
    let web = Web::data(b"some data").await;
    each_with(open_to(&web), async |cloud| {
        let canary = cloud.store.with_file_name("canary");
        std::fs::write(&canary, "CANARY").unwrap();
        let victim = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &victim, b"DATA".to_vec()).await.0, 204);
        let stored = cloud.show(&victim).await["direct_url"].as_str().unwrap().to_owned();
        assert!(stored.starts_with("file:///"), "{stored}");
        let urls = [
            format!("file://{}", canary.display()),
            format!("FILE://{}", canary.display()),
            stored,
            "filesystem:///etc/passwd".into(),
            "/etc/passwd".into(),
            "s3://images/x".into(),
            "swift+config:///x".into(),
            "gopher://info.cern.ch".into(),
            "http://169.254.169.254/latest".into(),
            "http://127.0.0.1:22/".into(),
            "http://user:pw@127.0.0.1/".into(),
            String::new(),
        ];
        for url in &urls {
            for token in ["member", "admin"] {
                let id = cloud.create(json!({})).await;
                let value = json!({"url": url, "metadata": {}});
                for change in [
                    add(url),
                    json!({"op": "add", "path": "/locations/0", "value": value}),
                    json!({"op": "replace", "path": "/locations", "value": [value]}),
                ] {
                    let (status, error) = patch(cloud, token, &id, change).await;
                    assert_eq!(status, 400, "{url}: {error}");
                }
                let path = format!("/v2/images/{id}/locations");
                assert_eq!(cloud.post(token, &path, json!({"url": url})).await.0, 400, "{url}");
                assert_eq!(cloud.show(&id).await["status"], "queued");
                assert_eq!(cloud.delete(token, &format!("/v2/images/{id}")).await, 204);
            }
        }
        assert_eq!(std::fs::read(&canary).unwrap(), b"CANARY");
        assert_eq!(get(cloud, &victim).await, (200, Some(b"DATA".to_vec())));
    })
    .await;
}

/// S-2016-006: the last location stays, and with it the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2016_006_the_last_location_stays() {
    let web = Web::data(b"some data").await;
    each_with(open_to(&web), async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, b"DATA".to_vec()).await.0, 204);
        let before = cloud.show(&id).await;
        for change in [
            json!({"op": "remove", "path": "/locations/0"}),
            json!({"op": "remove", "path": "/locations/-"}),
            json!({"op": "replace", "path": "/locations", "value": []}),
        ] {
            for token in ["member", "admin"] {
                assert_eq!(patch(cloud, token, &id, change.clone()).await.0, 403);
            }
        }
        // Nor does another location change what the image is.
        assert_eq!(patch(cloud, "member", &id, add(&web.url("/"))).await.0, 400);
        assert_eq!(cloud.upload("member", &id, b"EVIL".to_vec()).await.0, 409);
        assert_eq!(cloud.show(&id).await, before);
        assert_eq!(get(cloud, &id).await, (200, Some(b"DATA".to_vec())));
    })
    .await;
}

/// S-2013-007: where data lies is told to who may know it, and never with a secret.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2013_007_locations_are_not_shown() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, b"DATA".to_vec()).await.0, 204);
        for token in ["member", "reader", "admin"] {
            let (_, image) = cloud.get(token, &format!("/v2/images/{id}")).await;
            let (_, list) = cloud.get(token, "/v2/images").await;
            for name in ["locations", "direct_url", "file://"] {
                let text = format!("{image}{list}");
                assert!(!text.contains(&format!("\"{name}\"")) && !text.contains("file://"), "{text}");
            }
        }
        let (status, error) = patch(cloud, "admin", &id, add("http://example.org/")).await;
        assert_eq!(status, 403);
        assert!(error["message"].as_str().unwrap().contains("locations are invisible"), "{error}");
        let path = format!("/v2/images/{id}/locations");
        for token in ["member", "reader", "admin"] {
            let status = cloud.get(token, &path).await.0;
            assert_eq!(status == 200, token == "admin", "{token} {status}");
        }
    })
    .await;
    let web = Web::data(b"some data").await;
    each_with(open_to(&web), async |cloud| {
        let id = cloud.create(json!({"visibility": "community"})).await;
        assert_eq!(cloud.upload("member", &id, b"DATA".to_vec()).await.0, 204);
        let (_, image) = cloud.get("other", &format!("/v2/images/{id}")).await;
        assert_eq!(image["locations"], json!([]));
        assert!(image.get("direct_url").is_none() && image.get("stores").is_none(), "{image}");
    })
    .await;
}

async fn task(cloud: &Cloud, id: &str) -> Value {
    let tasks = cloud.get("member", &format!("/v2/images/{id}/tasks")).await.1;
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1, "{tasks}");
    tasks["tasks"][0].clone()
}

/// As tempest's LocationImportTest.
#[tokio::test(flavor = "multi_thread")]
async fn a_location_is_hashed_in_a_job() {
    let data = pattern(1_100_000);
    let web = Web::data(&data).await;
    each_with(open_to(&web), async |cloud| {
        let url = web.url("/image");
        let post = async |token: &str, id: &str, data: Value| {
            let body = if data.is_null() {
                json!({"url": url})
            } else {
                json!({"url": url, "validation_data": data})
            };
            cloud.post(token, &format!("/v2/images/{id}/locations"), body).await.0.as_u16()
        };
        let id = cloud.create(json!({})).await;
        let hash = sha512(&data);
        for bad in [
            json!({"os_hash_algo": "sha512", "os_hash_value": "dbc9e0f80d131e64b94913a7b40bb5"}),
            json!({"os_hash_value": hash}),
            json!({"os_hash_algo": "sha123", "os_hash_value": hash}),
            json!({"os_hash_algo": "sha256", "os_hash_value": hash}),
            json!(7),
        ] {
            assert_eq!(post("member", &id, bad).await, 400);
        }
        assert_eq!(post("other", &id, json!(null)).await, 404);
        assert_eq!(post("reader", &id, json!(null)).await, 403);
        let sha256 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data));
        assert_eq!(
            post("member", &id, json!({"os_hash_algo": "sha256", "os_hash_value": sha256})).await,
            202
        );
        eventually("hashed", async || task(cloud, &id).await["status"] == "success").await;
        let image = cloud.show(&id).await;
        assert_eq!((&image["status"], &image["os_hash_algo"]), (&json!("active"), &json!("sha256")));
        assert_eq!((&image["os_hash_value"], &image["stores"]), (&json!(sha256), &json!("web")));
        assert_eq!(get(cloud, &id).await, (200, Some(data.clone())));
        assert_eq!(post("member", &id, json!(null)).await, 409);
        let (_, places) = cloud.get("admin", &format!("/v2/images/{id}/locations")).await;
        assert_eq!(places, json!([{"url": url, "metadata": {"store": "web"}}]));

        let wrong = cloud.create(json!({})).await;
        let beef = "beefdead".repeat(16);
        assert_eq!(
            post("member", &wrong, json!({"os_hash_algo": "sha512", "os_hash_value": beef})).await,
            202
        );
        eventually("refused", async || task(cloud, &wrong).await["status"] == "failure").await;
        let image = cloud.show(&wrong).await;
        assert_eq!((&image["status"], &image["os_hash_algo"]), (&json!("queued"), &json!(null)));
        assert_eq!(cloud.upload("member", &wrong, b"DATA".to_vec()).await.0, 204, "it can be used again");

        let plain = cloud.create(json!({})).await;
        assert_eq!(post("member", &plain, json!({})).await, 202);
        assert_eq!(cloud.show(&plain).await["status"], "active", "at once");
        assert_eq!(cloud.show(&plain).await["os_hash_algo"], "sha512");
        eventually("hashed", async || cloud.show(&plain).await["os_hash_value"] == hash).await;
    })
    .await;
}

/// As tempest's HashCalculationRemoteDeletionTest.
#[tokio::test(flavor = "multi_thread")]
async fn a_hash_under_way_ends_with_its_image() {
    let slow = Web::start(|_, mut stream| async move {
        use tokio::io::AsyncWriteExt;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
        let mut open = stream.write_all(head.as_bytes()).await.is_ok();
        while open {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            open = stream.write_all(&[7; 1000]).await.is_ok();
        }
    })
    .await;
    each_with(open_to(&slow), async |cloud| {
        let id = cloud.create(json!({})).await;
        let path = format!("/v2/images/{id}/locations");
        assert_eq!(cloud.post("member", &path, json!({"url": slow.url("/")})).await.0, 202);
        assert_eq!(cloud.show(&id).await["status"], "active");
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        assert_eq!(cloud.get("member", &format!("/v2/images/{id}")).await.0, 404);
        eventually("the job has ended", async || {
            cloud.sql("UPDATE jobs SET run_after = run_after WHERE state IN ('active', 'undoing')", &[]).await
                == 0
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hashing_what_is_said_is_taken() {
    let web = Web::data(b"some data").await;
    let settings = open_to(&web);
    each_with(
        move |s| {
            settings(s);
            s.image.storage.do_secure_hash = false;
        },
        async |cloud| {
            let id = cloud.create(json!({})).await;
            let data = json!({"os_hash_algo": "sha512", "os_hash_value": sha512(b"some data")});
            let body = json!({"url": web.url("/"), "validation_data": data});
            assert_eq!(cloud.post("member", &format!("/v2/images/{id}/locations"), body).await.0, 202);
            assert_eq!(task(cloud, &id).await["status"], "success");
            assert_eq!(cloud.show(&id).await["os_hash_value"], sha512(b"some data"));
            assert_eq!(get(cloud, &id).await, (200, Some(b"some data".to_vec())));
            let none = cloud.create(json!({})).await;
            let path = format!("/v2/images/{none}/locations");
            assert_eq!(cloud.post("member", &path, json!({"url": web.url("/")})).await.0, 202);
            let image = cloud.show(&none).await;
            assert_eq!((&image["status"], &image["os_hash_value"]), (&json!("active"), &json!(null)));
        },
    )
    .await;
}

/// A server whose data changes is found out.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_elsewhere_is_not_served() {
    let now = Arc::new(parking_lot::Mutex::new(Arc::new(with_length(b"some data"))));
    let answer = now.clone();
    let web = Web::start(move |_, stream| write(stream, answer.lock().clone())).await;
    each_with(open_to(&web), async |cloud| {
        *now.lock() = Arc::new(with_length(b"some data"));
        let id = cloud.create(json!({})).await;
        let path = format!("/v2/images/{id}/locations");
        assert_eq!(cloud.post("member", &path, json!({"url": web.url("/")})).await.0, 202);
        eventually("hashed", async || !cloud.show(&id).await["os_hash_value"].is_null()).await;
        for other in ["other dat", "some data and more", ""] {
            *now.lock() = Arc::new(with_length(other.as_bytes()));
            assert_eq!(get(cloud, &id).await.0, 500, "{other}");
        }
        *now.lock() = Arc::new(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
        assert_eq!(get(cloud, &id).await.0, 500);
    })
    .await;
}

/// As the server of tempest's HashCalculationRemoteDeletionTest.
#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_only_head_tells_is_asked_for() {
    let web = Web::start(|head, stream| async move {
        let answer = if head.starts_with("HEAD") {
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdef"
        };
        write(stream, Arc::new(answer.as_bytes().to_vec())).await;
    })
    .await;
    each_with(open_to(&web), async |cloud| {
        let id = cloud.create(json!({})).await;
        let (status, image) = patch(cloud, "member", &id, add(&web.url("/image"))).await;
        assert_eq!((status, &image["size"]), (StatusCode::OK, &json!(6)), "{image}");
        assert_eq!(get(cloud, &id).await, (200, Some(b"abcdef".to_vec())));
    })
    .await;
}
