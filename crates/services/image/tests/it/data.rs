//! Uploads and downloads: races, disconnects, limits, leftovers.

use crate::{
    corpus,
    support::{Cloud, each, each_with, eventually, pattern},
};
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method};
use serde_json::json;
use std::{convert::Infallible, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream};

async fn is_queued_and_empty(cloud: &Cloud, id: &str) {
    eventually("queued again", async || cloud.show(id).await["status"] == "queued").await;
    eventually("nothing stored", async || cloud.stored().is_empty()).await;
    let image = cloud.show(id).await;
    for field in ["size", "virtual_size", "checksum", "os_hash_value"] {
        assert!(image[field].is_null(), "{image}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_upload_and_any_range() {
    each(async |cloud| {
        let data = pattern(3_300_007);
        let id = cloud.create(json!({})).await;
        let chunks: Vec<_> = data.chunks(70_001).map(|c| Ok::<_, Infallible>(c.to_vec())).collect();
        let response = cloud
            .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
            .header("Content-Type", "application/octet-stream")
            .body(Body::wrap_stream(stream::iter(chunks)))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 204);
        let image = cloud.show(&id).await;
        assert_eq!(image["size"], data.len());
        use aws_lc_rs::digest::{SHA512, digest};
        assert_eq!(image["os_hash_value"], hex::encode(digest(&SHA512, &data)));
        use md5::Digest;
        assert_eq!(image["checksum"], hex::encode(md5::Md5::digest(&data)));

        let file = format!("/v2/images/{id}/file");
        let whole = cloud.call("member", Method::GET, &file).send().await.unwrap();
        assert_eq!(whole.bytes().await.unwrap(), data);
        let mut seed = 7_usize;
        for _ in 0..60 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let from = (seed >> 20) % data.len();
            let to = (from + (seed >> 40) % 600_000).min(data.len() - 1);
            let request =
                cloud.call("member", Method::GET, &file).header("Range", format!("bytes={from}-{to}"));
            let part = request.send().await.unwrap();
            assert_eq!(part.status(), 206);
            assert_eq!(part.headers()["content-range"], format!("bytes {from}-{to}/{}", data.len()));
            assert_eq!(part.bytes().await.unwrap(), data[from..=to]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_parallel_uploads_wins() {
    each(async |cloud| {
        for round in 0..3 {
            let id = cloud.create(json!({})).await;
            let uploads = (0..8_u8).map(|n| {
                let data = vec![n; 300_000];
                let cloud = &*cloud;
                let id = id.clone();
                async move { cloud.upload("member", &id, data).await.0.as_u16() }
            });
            let mut statuses: Vec<u16> = futures_util::future::join_all(uploads).await;
            statuses.sort_unstable();
            assert_eq!(statuses, [204, 409, 409, 409, 409, 409, 409, 409]);
            let file = format!("/v2/images/{id}/file");
            let data = cloud.call("member", Method::GET, &file).send().await.unwrap().bytes().await.unwrap();
            assert!(data.len() == 300_000 && data.iter().all(|b| *b == data[0]), "one upload, whole");
            eventually("one file an image", async || cloud.stored().len() == round + 1).await;
        }
    })
    .await;
}

/// Sends the head of an upload and some of its body by hand, then goes away.
async fn break_off(cloud: &Cloud, id: &str, chunked: bool, sent: usize) {
    let address = cloud.base.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let length = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 5000000" };
    let head = format!(
        "PUT /v2/images/{id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: member\r\nContent-Type: application/octet-stream\r\n{length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    if chunked {
        socket.write_all(format!("{:x}\r\n", sent + 10).as_bytes()).await.unwrap();
    }
    let _ = socket.write_all(&pattern(sent)).await;
    eventually("saving", async || cloud.show(id).await["status"] == "saving").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        for (chunked, sent) in [(false, 0), (false, 1), (false, 1_500_000), (true, 1), (true, 3_000_000)] {
            break_off(cloud, &id, chunked, sent).await;
            is_queued_and_empty(cloud, &id).await;
        }
        assert_eq!(cloud.upload("member", &id, pattern(10)).await.0, 204);
    })
    .await;
}

/// An upload that takes longer than the lease keeps it alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_is_not_taken_for_dead() {
    each_with(
        |settings| settings.image.upload_lease_seconds = 1,
        async |cloud| {
            let id = cloud.create(json!({})).await;
            let chunks = stream::unfold(0, |n| async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                (n < 12).then(|| (Ok::<_, Infallible>(pattern(100_000)), n + 1))
            });
            let response = cloud
                .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
                .header("Content-Type", "application/octet-stream")
                .body(Body::wrap_stream(chunks.boxed()))
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 204);
            assert_eq!(cloud.show(&id).await["size"], 1_200_000);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_during_an_upload() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let (send, receive) = tokio::sync::mpsc::channel::<Result<Vec<u8>, Infallible>>(1);
        let body = stream::unfold(receive, |mut r| async move { r.recv().await.map(|item| (item, r)) });
        let request = cloud
            .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
            .header("Content-Type", "application/octet-stream")
            .body(Body::wrap_stream(body.boxed()));
        let upload = tokio::spawn(request.send());
        send.send(Ok(pattern(2_000_000))).await.unwrap();
        eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        drop(send);
        assert_eq!(upload.await.unwrap().unwrap().status(), 410);
        eventually("nothing stored", async || cloud.stored().is_empty()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_leaves_nothing() {
    each_with(
        |settings| settings.image.max_image_bytes = 1_000_000,
        async |cloud| {
            let id = cloud.create(json!({})).await;
            assert_eq!(cloud.upload("member", &id, vec![0; 1_000_001]).await.0, 413);
            let chunks = (0..12).map(|_| Ok::<_, Infallible>(vec![0_u8; 100_000]));
            let response = cloud
                .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
                .header("Content-Type", "application/octet-stream")
                .body(Body::wrap_stream(stream::iter(chunks)))
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), 413);
            is_queued_and_empty(cloud, &id).await;
            assert_eq!(cloud.upload("member", &id, vec![0; 1_000_000]).await.0, 204);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let done =
            std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(directory.path()).output();
        done.is_ok_and(|d| d.status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs"]) {
        eprintln!("may not mount: skipped");
        return;
    }
    each_with(
        |settings| settings.image.store_directory = directory.path().join("images"),
        async |cloud| {
            let id = cloud.create(json!({})).await;
            let (status, error) = cloud.upload("member", &id, pattern(6_000_000)).await;
            assert_eq!(status, 413, "{error}");
            assert!(error["message"].as_str().unwrap().contains("full"), "{error}");
            let store = &cloud.settings.image.store_directory;
            eventually("nothing stored", async || std::fs::read_dir(store).unwrap().next().is_none()).await;
            assert_eq!(cloud.show(&id).await["status"], "queued");
            assert_eq!(cloud.upload("member", &id, pattern(2_000_000)).await.0, 204);
            assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        },
    )
    .await;
    assert!(mount(&["umount"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upload_asks_for() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let path = format!("/v2/images/{id}/file");
        for kind in ["application/json", "text/plain", ""] {
            let mut request = cloud.call("member", Method::PUT, &path).body("DATA");
            if !kind.is_empty() {
                request = request.header("Content-Type", kind);
            }
            assert_eq!(request.send().await.unwrap().status(), 415, "{kind}");
        }
        let bare = cloud.post("member", "/v2/images", json!({})).await.1["id"].as_str().unwrap().to_owned();
        assert_eq!(cloud.upload("member", &bare, vec![1]).await.0, 400);
        assert_eq!(cloud.upload("reader", &id, vec![1]).await.0, 403);
        assert_eq!(cloud.upload("other", &id, vec![1]).await.0, 404);
        assert_eq!(cloud.show(&id).await["status"], "queued");
        assert_eq!(cloud.upload("member", &id, vec![]).await.0, 204);
        assert_eq!(cloud.show(&id).await["size"], 0);
        let empty = cloud.call("member", Method::GET, &path).send().await.unwrap();
        assert_eq!((empty.status().as_u16(), empty.content_length()), (200, Some(0)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deactivated_data_is_for_admins() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let act = async |name: &str| {
            let path = format!("/v2/images/{id}/actions/{name}");
            cloud.call("member", Method::POST, &path).send().await.unwrap().status().as_u16()
        };
        let get = async |token: &str| {
            let path = format!("/v2/images/{id}/file");
            cloud.call(token, Method::GET, &path).send().await.unwrap().status().as_u16()
        };
        assert_eq!(act("deactivate").await, 403, "queued");
        assert_eq!(cloud.upload("member", &id, vec![1]).await.0, 204);
        assert_eq!(act("deactivate").await, 204);
        assert_eq!(act("deactivate").await, 204);
        assert_eq!(cloud.show(&id).await["status"], "deactivated");
        assert_eq!((get("member").await, get("admin").await), (403, 200));
        assert_eq!(act("reactivate").await, 204);
        assert_eq!(get("member").await, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn import_of_staged_data() {
    each(async |cloud| {
        let id = cloud.create(json!({"disk_format": "qcow2"})).await;
        let stage = async |data: Vec<u8>| {
            let request = cloud
                .call("member", Method::PUT, &format!("/v2/images/{id}/stage"))
                .header("Content-Type", "application/octet-stream")
                .body(data);
            request.send().await.unwrap().status().as_u16()
        };
        let import = async || {
            let body = json!({"method": {"name": "glance-direct"}});
            cloud.post("member", &format!("/v2/images/{id}/import"), body).await.0.as_u16()
        };
        assert_eq!(import().await, 409, "nothing staged");
        let hostile = corpus::hostile().into_iter().find(|c| c.name.starts_with("IMG-01")).unwrap();
        assert_eq!(stage(hostile.bytes).await, 204);
        let staged = cloud.show(&id).await;
        assert_eq!((&staged["status"], &staged["size"]), (&json!("uploading"), &json!(null)));
        assert_eq!(cloud.upload("member", &id, vec![1]).await.0, 409);
        assert_eq!(import().await, 202);
        is_queued_and_empty(cloud, &id).await;
        assert_eq!(stage(corpus::qcow2(3, 1 << 30)).await, 204);
        assert_eq!(import().await, 202);
        eventually("active", async || cloud.show(&id).await["status"] == "active").await;
        assert_eq!(cloud.show(&id).await["virtual_size"], 1 << 30);
        let (_, tasks) = cloud.get("member", &format!("/v2/images/{id}/tasks")).await;
        let seen: Vec<_> = tasks["tasks"].as_array().unwrap().iter().map(|t| t["status"].clone()).collect();
        assert_eq!(seen, [json!("success"), json!("failure")]);
        let failed = &tasks["tasks"][1];
        assert!(failed["message"].as_str().unwrap().contains("backing file"), "{failed}");
        assert_eq!(failed["input"]["import_req"]["method"]["name"], "glance-direct");
        assert_eq!(cloud.get("member", "/v2/tasks").await.0, 403);
        let (_, page) = cloud.get("admin", "/v2/tasks?limit=1").await;
        let (_, rest) = cloud.get("admin", page["next"].as_str().unwrap()).await;
        assert_eq!(rest["tasks"][0]["id"], failed["id"]);
        let (_, none) = cloud.get("admin", "/v2/tasks?status=processing").await;
        assert_eq!(none["tasks"], json!([]));
        let (status, task) = cloud.get("admin", failed["self"].as_str().unwrap_or("/x")).await;
        assert_eq!((status.as_u16(), &task), (200, failed));
        assert_eq!(cloud.get("admin", "/v2/tasks/x").await.0, 404);
        assert_eq!(cloud.get("admin", "/v2/tasks?marker=x").await.0, 400);
        let (status, _) =
            cloud.post("member", &format!("/v2/images/{id}/import"), json!({"method": {"name": "x"}})).await;
        assert_eq!(status, 400);
    })
    .await;
}

/// R69: the record goes at once, the data as soon as the disk lets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_removed_is_removed_later() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, vec![1]).await.0, 204);
        let file = cloud.store.join(&cloud.stored()[0]);
        // A directory in its place cannot be unlinked, not even by root.
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        assert_eq!(cloud.get("member", &format!("/v2/images/{id}")).await.0, 404);
        assert!(file.exists());
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, "the data").unwrap();
        eventually("removed", async || cloud.stored().is_empty()).await;
    })
    .await;
}

/// What a kill leaves: records that say "saving", begun files, finished files nobody wrote down.
#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_swept() {
    each(async |cloud| {
        let kept = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &kept, vec![1]).await.0, 204);
        let kept_file = cloud.stored();
        let id = cloud.create(json!({})).await;
        let staged = cloud.create(json!({})).await;
        break_off_alive(cloud, &id).await;
        cloud.shut().await;
        let token = "c".repeat(32);
        std::fs::write(cloud.store.join(format!("{id}.{}.part", "a".repeat(32))), "half").unwrap();
        std::fs::write(cloud.store.join(format!("{id}.{}", "b".repeat(32))), "not written down").unwrap();
        std::fs::write(cloud.store.join(format!("{staged}.{token}")), "staged").unwrap();
        std::fs::write(cloud.store.join("notes.txt"), "an operator's").unwrap();
        set_importing(cloud, &staged, &token).await;
        cloud.boot().await;
        eventually("queued again", async || cloud.show(&id).await["status"] == "queued").await;
        // An import that has no job (any more) is nobody's: the data is still staged.
        eventually("staged again", async || cloud.show(&staged).await["status"] == "uploading").await;
        let mut expected = kept_file;
        expected.extend([format!("{staged}.{token}"), "notes.txt".into()]);
        expected.sort();
        eventually("only what belongs there is there", async || {
            let mut stored = cloud.stored();
            stored.sort();
            stored == expected
        })
        .await;
        assert_eq!(cloud.upload("member", &id, vec![1]).await.0, 204);
    })
    .await;
}

/// An upload that goes on when the service stops.
async fn break_off_alive(cloud: &Cloud, id: &str) {
    let (send, receive) = tokio::sync::mpsc::channel::<Result<Vec<u8>, Infallible>>(1);
    let body = stream::unfold(receive, |mut r| async move { r.recv().await.map(|item| (item, r)) });
    let request = cloud
        .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
        .header("Content-Type", "application/octet-stream")
        .body(Body::wrap_stream(body.boxed()));
    tokio::spawn(request.send());
    send.send(Ok(pattern(2_000_000))).await.unwrap();
    eventually("saving", async || cloud.show(id).await["status"] == "saving").await;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(send);
    });
}

async fn set_importing(cloud: &Cloud, id: &str, token: &str) {
    cloud
        .sql(
            "UPDATE image SET status = 'importing', file = $1, size = 6, checksum = 'x', os_hash_value = 'y', \
             upload = 'dead', lease_until = 1 WHERE id = $2",
            &[&format!("{id}.{token}"), id],
        )
        .await;
}
