//! Uploads beside everything else that may happen to their image.

use crate::support::{Cloud, Random, each, each_with, eventually, expire, in_memory, pattern, times};
use reqwest::Method;
use serde_json::json;
use std::time::{Duration, Instant};

async fn is_queued_and_empty(cloud: &Cloud, id: &str) {
    eventually("queued again", async || cloud.show(id).await["status"] == "queued").await;
    eventually("nothing stored", async || cloud.stored().is_empty()).await;
    for field in ["size", "virtual_size", "checksum", "os_hash_value"] {
        assert!(cloud.show(id).await[field].is_null());
    }
}

/// R63, I09: whenever an image is deleted during its upload, nothing is left and the id is never used again.
#[tokio::test(flavor = "multi_thread")]
async fn r63_i09_deleted_at_any_moment() {
    in_memory(
        |settings| settings.image.reconcile_ms = 500,
        async |cloud| {
            let (mut random, mut seen) = (Random(63), [0; 3]);
            for round in 0..times(100, 1000) {
                let id = cloud.create(json!({})).await;
                let data = pattern(random.below(1_500_000));
                let path = format!("/v2/images/{id}");
                let upload = cloud.upload("member", &id, data);
                let delete = async {
                    // The moment is random on purpose: it is the fault.
                    tokio::time::sleep(Duration::from_micros(random.below(30_000) as u64)).await;
                    cloud.delete("member", &path).await
                };
                let ((status, _), deleted) = tokio::join!(upload, delete);
                assert_eq!(deleted, 204, "round {round}");
                match status.as_u16() {
                    204 => seen[0] += 1,
                    410 => seen[1] += 1,
                    404 => seen[2] += 1,
                    other => panic!("round {round}: {other}"),
                }
                eventually("nothing is left", async || cloud.stored().is_empty()).await;
                assert_eq!(cloud.get("admin", &path).await.0, 404);
                if round % 10 == 0 {
                    let body = json!({"id": id, "disk_format": "raw", "container_format": "bare"});
                    assert_eq!(cloud.post("admin", "/v2/images", body).await.0, 409, "the id is used");
                }
            }
            eprintln!("deleted after, during, before the upload: {seen:?}");
        },
    )
    .await;
}

/// S-2015-003: whoever still sends to a deleted image is told so and cut off at once, not when they have finished.
#[tokio::test(flavor = "multi_thread")]
async fn s_2015_003_the_sender_to_a_deleted_image_is_cut_off() {
    each(async |cloud| {
        for silent in [true, false] {
            let id = cloud.create(json!({})).await;
            let feed = cloud.feed("member", &id, &[]);
            feed.send(pattern(2_000_000)).await;
            eventually("something is stored", async || !cloud.stored().is_empty()).await;
            assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
            let begun = Instant::now();
            if !silent {
                // Goes on until the connection is gone.
                while feed.sender.send(Ok(pattern(10_000))).await.is_ok() {
                    assert!(begun.elapsed() < Duration::from_secs(15), "still taking bytes");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            // The body has not ended, and yet there is an answer; or the connection is broken.
            let answer = tokio::time::timeout(Duration::from_secs(15), feed.answer).await.unwrap().unwrap();
            eprintln!("cut off after {:?}", begun.elapsed());
            if let Ok(answer) = answer {
                assert_eq!(answer.status(), 410);
                let text = answer.text().await.unwrap();
                assert!(text.contains("could not be found after upload"), "{text}");
            }
            eventually("nothing is left", async || cloud.stored().is_empty()).await;
        }
    })
    .await;
}

/// S-2015-020: a token that expires during an upload changes nothing about the upload, and the image can be deleted.
#[tokio::test(flavor = "multi_thread")]
async fn s_2015_020_a_token_expires_during_an_upload() {
    each(async |cloud| {
        let token = format!("brief{}", cloud.base);
        let id = cloud.create(json!({})).await;
        let feed = cloud.feed(&token, &id, &[]);
        feed.send(pattern(1_000_000)).await;
        eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
        expire(&token);
        assert_eq!(cloud.get(&token, "/v2/images").await.0, 401);
        feed.send(pattern(1_000_000)).await;
        assert_eq!(feed.end().await.0, 204);
        assert_eq!(cloud.show(&id).await["size"], 2_000_000);
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        // And one that is deleted while the expired token still sends.
        let token = format!("brief2{}", cloud.base);
        let id = cloud.create(json!({})).await;
        let feed = cloud.feed(&token, &id, &[]);
        feed.send(pattern(1_000_000)).await;
        eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
        expire(&token);
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        eventually("nothing is left", async || cloud.stored().is_empty()).await;
        let answer = tokio::time::timeout(Duration::from_secs(15), feed.answer).await.unwrap().unwrap();
        assert!(answer.is_err() || answer.unwrap().status() == 410);
    })
    .await;
}

/// S-2014-028: one byte too many, without saying before how many come.
#[tokio::test(flavor = "multi_thread")]
async fn s_2014_028_one_byte_over_the_cap() {
    each_with(
        |settings| settings.image.max_image_bytes = 700_000,
        async |cloud| {
            let id = cloud.create(json!({})).await;
            for stage in [false, true] {
                for pieces in [vec![700_001], vec![700_000, 1], vec![1, 699_999, 1], vec![3_000_000]] {
                    let path = format!("/v2/images/{id}/{}", if stage { "stage" } else { "file" });
                    let chunks = pieces.into_iter().map(|n| Ok::<_, std::io::Error>(pattern(n)));
                    let chunks: Vec<_> = chunks.collect();
                    let answer = cloud
                        .call("member", Method::PUT, &path)
                        .header("Content-Type", "application/octet-stream")
                        .body(reqwest::Body::wrap_stream(futures_util::stream::iter(chunks)))
                        .send()
                        .await
                        .unwrap();
                    assert_eq!(answer.status(), 413);
                    let text = answer.text().await.unwrap();
                    assert!(
                        text.contains("The incoming image is too large: The provided image is too large.")
                    );
                    is_queued_and_empty(cloud, &id).await;
                }
            }
            assert_eq!(cloud.upload("member", &id, pattern(700_000)).await.0, 204);
        },
    )
    .await;
}

/// What others may do to an image while its data comes, and what they may not.
#[tokio::test(flavor = "multi_thread")]
async fn i08_changes_during_an_upload() {
    each(async |cloud| {
        let id = cloud.create(json!({"visibility": "private"})).await;
        let path = format!("/v2/images/{id}");
        let feed = cloud.feed("member", &id, &[]);
        feed.send(pattern(500_000)).await;
        eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
        let act = async |name: &str| {
            let path = format!("{path}/actions/{name}");
            cloud.call("admin", Method::POST, &path).send().await.unwrap().status().as_u16()
        };
        assert_eq!((act("deactivate").await, act("reactivate").await), (403, 403));
        for format in ["disk_format", "container_format"] {
            let patch = json!([{"op": "replace", "path": format!("/{format}"), "value": "aki"}]);
            assert_eq!(cloud.patch("member", &id, patch).await.0, 403, "{format}");
        }
        for (name, value) in [("visibility", "shared"), ("name", "renamed"), ("colour", "blue")] {
            let patch = json!([{"op": "add", "path": format!("/{name}"), "value": value}]);
            let (status, image) = cloud.patch("member", &id, patch).await;
            assert_eq!((status.as_u16(), &image[name]), (200, &json!(value)));
        }
        let file = format!("{path}/file");
        assert_eq!(
            cloud.call("member", Method::GET, &file).send().await.unwrap().status(),
            204,
            "no data yet"
        );
        let (status, _) = cloud
            .post("member", &format!("{path}/import"), json!({"method": {"name": "glance-direct"}}))
            .await;
        assert_eq!(status, 409);
        assert_eq!(feed.end().await.0, 204);
        let image = cloud.show(&id).await;
        assert_eq!(
            (&image["status"], &image["size"], &image["name"]),
            (&json!("active"), &json!(500_000), &json!("renamed"))
        );
        assert_eq!(act("deactivate").await, 204);
        assert_eq!(cloud.upload("member", &id, pattern(5)).await.0, 409, "deactivated data stays");
    })
    .await;
}

/// A format that changes just before the upload begins is the one that the data is checked against.
#[tokio::test(flavor = "multi_thread")]
async fn i08_formats_race_with_the_upload() {
    each(async |cloud| {
        let data = crate::corpus::qcow2(3, 1 << 30);
        for _ in 0..times(20, 200) {
            let id = cloud.create(json!({"disk_format": "qcow2"})).await;
            let patch = cloud.patch(
                "member",
                &id,
                json!([{"op": "replace", "path": "/disk_format", "value": "raw"}]),
            );
            let ((patched, _), (uploaded, _)) =
                tokio::join!(patch, cloud.upload("member", &id, data.clone()));
            let image = cloud.show(&id).await;
            match (patched.as_u16(), uploaded.as_u16()) {
                (200, 415) => {
                    assert_eq!((&image["disk_format"], &image["status"]), (&json!("raw"), &json!("queued")))
                }
                (403 | 409, 204) => {
                    assert_eq!((&image["disk_format"], &image["status"]), (&json!("qcow2"), &json!("active")))
                }
                other => panic!("{other:?} {image}"),
            }
        }
    })
    .await;
}

/// More uploads at once than are allowed are told to come again; their images stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_bounded() {
    each_with(
        |settings| settings.image.transfers.uploads = 2,
        async |cloud| {
            let mut feeds = Vec::new();
            for _ in 0..2 {
                let id = cloud.create(json!({})).await;
                let feed = cloud.feed("member", &id, &[]);
                feed.send(pattern(10)).await;
                eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
                feeds.push(feed);
            }
            let id = cloud.create(json!({})).await;
            let request = cloud
                .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
                .header("Content-Type", "application/octet-stream");
            let answer = request.body("DATA").send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["retry-after"]),
                (503, &"5".parse().unwrap())
            );
            assert_eq!(cloud.show(&id).await["status"], "queued");
            assert_eq!(feeds.pop().unwrap().end().await.0, 204);
            eventually("there is a place again", async || {
                cloud.upload("member", &id, vec![1]).await.0 == 204
            })
            .await;
            assert_eq!(feeds.pop().unwrap().end().await.0, 204);
        },
    )
    .await;
}

/// A client that sends nothing for too long loses its place.
#[tokio::test(flavor = "multi_thread")]
async fn l_a_silent_client_is_given_up() {
    each_with(
        |settings| settings.image.transfers.silence_seconds = 2,
        async |cloud| {
            let id = cloud.create(json!({})).await;
            let feed = cloud.feed("member", &id, &[]);
            feed.send(pattern(400_000)).await;
            let answer = feed.answer.await.unwrap();
            assert!(answer.is_err() || answer.unwrap().status() == 400);
            is_queued_and_empty(cloud, &id).await;
            drop(feed.sender);
        },
    )
    .await;
}
