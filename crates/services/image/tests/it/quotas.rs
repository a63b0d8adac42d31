//! Quotas: what is refused, what counts, and that nothing gets past them.

use crate::{
    limits::Limits,
    support::{Cloud, PROJECT_A, PROJECT_B, each, each_with, eventually, pattern},
};
use futures_util::{StreamExt, future::join_all, stream};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};
use tokio::sync::mpsc;

const MIB: usize = 1 << 20;

/// Sends a body in pieces, so that nobody knows how long it is.
fn pieces(data: Vec<u8>) -> Body {
    let pieces: Vec<_> = data.chunks(65_536).map(|c| Ok::<_, Infallible>(c.to_vec())).collect();
    Body::wrap_stream(stream::iter(pieces))
}

/// A body that is sent as the test says.
fn slow() -> (mpsc::Sender<Vec<u8>>, Body) {
    let (sender, receiver) = mpsc::channel::<Vec<u8>>(1);
    let body =
        stream::unfold(receiver, async |mut r| r.recv().await.map(|data| (Ok::<_, Infallible>(data), r)));
    (sender, Body::wrap_stream(body.boxed()))
}

async fn put(cloud: &Cloud, id: &str, what: &str, body: Body) -> (StatusCode, String) {
    let request = cloud
        .call("admin", Method::PUT, &format!("/v2/images/{id}/{what}"))
        .header("Content-Type", "application/octet-stream")
        .header("Accept", "application/json");
    match request.body(body).send().await {
        Ok(response) => (response.status(), response.text().await.unwrap_or_default()),
        // The connection was cut off.
        Err(_) => (StatusCode::GONE, String::new()),
    }
}

#[track_caller]
fn over(answer: &(StatusCode, String), resource: &str) {
    assert_eq!(answer.0, 413, "{}", answer.1);
    for text in [
        "The request returned a 413 Request Entity Too Large. This generally means that rate limiting or a quota threshold was breached.",
        &format!("Project {PROJECT_A} is over a limit for [Resource {resource} is over limit of "),
    ] {
        assert!(answer.1.contains(text), "{}", answer.1);
    }
}

async fn usage(cloud: &Cloud, resource: &str) -> i64 {
    let (status, body) = cloud.get("member", "/v2/info/usage").await;
    assert_eq!(status, 200, "{body}");
    body["usage"][resource]["usage"].as_i64().unwrap()
}

async fn holds(cloud: &Cloud) -> i64 {
    use ferrostack_db::sqlx::{self, Row};
    let db = cloud.db().await;
    sqlx::query("SELECT COUNT(*) FROM image_hold").fetch_one(db.reader()).await.unwrap().get(0)
}

/// Runs `test` with a limits server that knows no limit but what the test sets.
async fn limited(
    change: impl Fn(&mut ferrostack_settings::Settings),
    test: impl AsyncFn(&mut Cloud, &Limits),
) {
    let limits = Limits::start().await;
    each_with(
        |settings| {
            limits.used_by(settings);
            change(settings);
        },
        async |cloud| {
            limits.unlimited();
            test(cloud, &limits).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_limits_there_is_nothing_to_show() {
    each(async |cloud| {
        for token in ["reader", "admin", "other"] {
            assert_eq!(cloud.get(token, "/v2/info/usage").await.1, json!({"usage": {}}));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_use_are_shown() {
    limited(
        |_| {},
        async |cloud, limits| {
            limits.register("image_size_total", 20);
            limits.set(PROJECT_A, "image_size_total", 10);
            limits.register("image_count_total", 5);
            limits.unset("", "image_stage_total");
            let id = cloud.create(json!({})).await;
            assert_eq!(put(cloud, &id, "file", pattern(2 * MIB + 5).into()).await.0, 204);
            let staged = cloud.create(json!({})).await;
            cloud.create(json!({})).await;
            let shown = cloud.get("reader", "/v2/info/usage").await.1;
            let one = |limit: i64, usage: i64| json!({"limit": limit, "usage": usage});
            assert_eq!(
                shown,
                json!({"usage": {"image_size_total": one(10, 2), "image_count_total": one(5, 3),
                    "image_count_uploading": one(-1, 0), "image_stage_total": one(0, 0)}})
            );
            assert_eq!(
                cloud.get("other", "/v2/info/usage").await.1["usage"]["image_size_total"],
                one(20, 0),
                "a project without a limit of its own has the registered one"
            );
            // What is not registered is not to be had.
            over(&put(cloud, &staged, "stage", pattern(MIB).into()).await, "image_stage_total");
            limits.register("image_stage_total", 3);
            assert_eq!(put(cloud, &staged, "stage", pattern(MIB).into()).await.0, 204);
            assert_eq!(
                (usage(cloud, "image_stage_total").await, usage(cloud, "image_count_uploading").await),
                (1, 1)
            );
            assert_eq!(usage(cloud, "image_size_total").await, 2);
            assert_eq!(cloud.delete("admin", &format!("/v2/images/{staged}")).await, 204);
            assert_eq!(cloud.delete("admin", &format!("/v2/images/{id}")).await, 204);
            eventually("all is free", async || {
                let used = cloud.get("reader", "/v2/info/usage").await.1;
                used["usage"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .all(|(name, u)| u["usage"] == if name == "image_count_total" { 1 } else { 0 })
            })
            .await;
            assert_eq!(holds(cloud).await, 0);
        },
    )
    .await;
}

/// X11: queued images count, and any number of requests at once make no more than allowed.
#[tokio::test(flavor = "multi_thread")]
async fn x11_records_of_a_project_are_limited_by_its_quota() {
    limited(
        |_| {},
        async |cloud, limits| {
            limits.set(PROJECT_A, "image_count_total", 7);
            let all = (0..30).map(|i| cloud.post("admin", "/v2/images", json!({"name": i.to_string()})));
            let answers = join_all(all).await;
            let made: Vec<&Value> = answers.iter().filter(|a| a.0 == 201).map(|a| &a.1).collect();
            assert_eq!(made.len(), 7);
            for (status, body) in answers.iter().filter(|a| a.0 != 201) {
                over(&(*status, body.to_string()), "image_count_total");
                assert!(body.to_string().contains("limit of 7 due to current usage 7 and delta 1"));
            }
            assert_eq!(usage(cloud, "image_count_total").await, 7);
            // Another project's limit is its own.
            assert_eq!(cloud.post("other", "/v2/images", json!({})).await.0, 201);
            assert_eq!(
                cloud.delete("admin", &format!("/v2/images/{}", made[0]["id"].as_str().unwrap())).await,
                204
            );
            assert_eq!(cloud.post("member", "/v2/images", json!({})).await.0, 201);
            assert_eq!(cloud.post("member", "/v2/images", json!({})).await.0, 413);
        },
    )
    .await;
}

/// X11 without unified limits: the bound of the settings, exactly, whoever asks.
#[tokio::test(flavor = "multi_thread")]
async fn x11_records_of_a_project_are_limited_by_the_settings() {
    each_with(
        |settings| settings.image.quota.images_per_project = 40,
        async |cloud| {
            let all = (0..70).map(|i| {
                let token = ["admin", "member"][i % 2];
                cloud.post(token, "/v2/images", json!({}))
            });
            let made = join_all(all).await.into_iter().filter(|a| a.0 == 201).count();
            assert_eq!(made, 40);
            let (status, body) = cloud.post("member", "/v2/images", json!({})).await;
            assert_eq!(status, 413, "{body}");
            assert_eq!(cloud.post("other", "/v2/images", json!({})).await.0, 201);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_limited_before_and_while_they_come() {
    limited(
        |_| {},
        async |cloud, limits| {
            limits.set(PROJECT_A, "image_size_total", 2);
            let id = cloud.create(json!({})).await;
            // Said beforehand, in either header.
            over(&put(cloud, &id, "file", pattern(2 * MIB + 1).into()).await, "image_size_total");
            let said = cloud
                .call("admin", Method::PUT, &format!("/v2/images/{id}/file"))
                .header("Content-Type", "application/octet-stream")
                .header("X-Openstack-Image-Size", 3 * MIB)
                .body(pieces(pattern(MIB)))
                .send()
                .await
                .unwrap();
            assert_eq!(said.status(), 413);
            // Not said.
            over(&put(cloud, &id, "file", pieces(pattern(2 * MIB + 1))).await, "image_size_total");
            eventually("queued again", async || cloud.show(&id).await["status"] == "queued").await;
            eventually("nothing is stored", async || cloud.stored().is_empty()).await;
            eventually("nothing is held", async || holds(cloud).await == 0).await;
            // The last byte is to be had.
            assert_eq!(put(cloud, &id, "file", pieces(pattern(2 * MIB - 1))).await.0, 204);
            let second = cloud.create(json!({})).await;
            over(&put(cloud, &second, "file", pieces(pattern(2))).await, "image_size_total");
            assert_eq!(put(cloud, &second, "file", pieces(pattern(1))).await.0, 204);
            assert_eq!(usage(cloud, "image_size_total").await, 2);
            let third = cloud.create(json!({})).await;
            over(&put(cloud, &third, "file", vec![1].into()).await, "image_size_total");
            assert_eq!(cloud.delete("admin", &format!("/v2/images/{id}")).await, 204);
            assert_eq!(put(cloud, &third, "file", pattern(2 * MIB - 1).into()).await.0, 204);
            // Staged data is no image yet, but has a limit as well.
            limits.set(PROJECT_A, "image_stage_total", 1);
            let staged = cloud.create(json!({})).await;
            over(&put(cloud, &staged, "stage", pieces(pattern(MIB + 1))).await, "image_stage_total");
            assert_eq!(put(cloud, &staged, "stage", pieces(pattern(MIB))).await.0, 204);
            let more = cloud.create(json!({})).await;
            over(&put(cloud, &more, "stage", vec![1].into()).await, "image_stage_total");
        },
    )
    .await;
}

/// As Glance counts: asked once, in whole MiB, so that what nobody announced may exceed the limit once.
#[tokio::test(flavor = "multi_thread")]
async fn if_wanted_sizes_are_counted_as_glance_does() {
    limited(
        |settings| settings.image.quota.strict = false,
        async |cloud, limits| {
            limits.set(PROJECT_A, "image_size_total", 1);
            let mut ids = Vec::new();
            for _ in 0..4 {
                ids.push(cloud.create(json!({})).await);
            }
            assert_eq!(put(cloud, &ids[0], "file", pieces(pattern(MIB))).await.0, 204);
            assert_eq!(put(cloud, &ids[1], "file", pieces(pattern(MIB))).await.0, 204);
            over(&put(cloud, &ids[2], "file", pieces(pattern(MIB))).await, "image_size_total");
            limits.set(PROJECT_A, "image_size_total", 2);
            over(&put(cloud, &ids[2], "file", pattern(MIB).into()).await, "image_size_total");
            assert_eq!(put(cloud, &ids[2], "file", pieces(pattern(MIB))).await.0, 204);
            assert_eq!(cloud.delete("admin", &format!("/v2/images/{}", ids[0])).await, 204);
            assert_eq!(put(cloud, &ids[3], "file", pieces(pattern(MIB))).await.0, 204);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_get_data_at_a_time_are_limited() {
    limited(
        |_| {},
        async |cloud, limits| {
            limits.set(PROJECT_A, "image_count_uploading", 1);
            let (first, second) = (cloud.create(json!({})).await, cloud.create(json!({})).await);
            let (sender, body) = slow();
            let (uploaded, ()) = tokio::join!(put(cloud, &first, "file", body), async {
                sender.send(vec![1; 100]).await.unwrap();
                eventually("it is saving", async || cloud.show(&first).await["status"] == "saving").await;
                assert_eq!(usage(cloud, "image_count_uploading").await, 1);
                over(&put(cloud, &second, "file", vec![1].into()).await, "image_count_uploading");
                over(&put(cloud, &second, "stage", vec![1].into()).await, "image_count_uploading");
                assert_eq!(cloud.show(&second).await["status"], "queued");
                drop(sender);
            });
            assert_eq!(uploaded.0, 204, "{}", uploaded.1);
            assert_eq!(put(cloud, &second, "stage", vec![1].into()).await.0, 204);
            // Staged data waits for its import, and its image with it.
            let third = cloud.create(json!({})).await;
            over(&put(cloud, &third, "file", vec![1].into()).await, "image_count_uploading");
            limits.set(PROJECT_A, "image_count_uploading", 8);
            let mut ids = Vec::new();
            for _ in 0..20 {
                ids.push(cloud.create(json!({})).await);
            }
            let staged = join_all(ids.iter().map(|id| put(cloud, id, "stage", vec![1].into()))).await;
            assert_eq!(staged.iter().filter(|a| a.0 == 204).count(), 7);
        },
    )
    .await;
}

/// S-2015-003: bytes count until they are removed, whatever becomes of the image they were for.
#[tokio::test(flavor = "multi_thread")]
async fn s_2015_003_a_deleted_image_counts_until_its_bytes_are_gone() {
    limited(
        |_| {},
        async |cloud, limits| {
            limits.set(PROJECT_A, "image_size_total", 3);
            let id = cloud.create(json!({})).await;
            let (sender, body) = slow();
            let (uploaded, ()) = tokio::join!(put(cloud, &id, "file", body), async {
                for _ in 0..32 {
                    sender.send(pattern(65_536)).await.unwrap();
                }
                eventually("its bytes count", async || usage(cloud, "image_size_total").await >= 1).await;
                assert_eq!(cloud.delete("admin", &format!("/v2/images/{id}")).await, 204);
                // The sender is cut off, and what it sent goes; until then it counts.
                let start = tokio::time::Instant::now();
                while sender.send(pattern(1000)).await.is_ok() {
                    assert!(start.elapsed() < Duration::from_secs(10), "never cut off");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                eventually("nothing counts when nothing is stored", async || {
                    let used = usage(cloud, "image_size_total").await + holds(cloud).await;
                    if !cloud.stored().is_empty() {
                        return false;
                    }
                    used == 0
                })
                .await;
            });
            assert!(matches!(uploaded.0.as_u16(), 404 | 410), "{uploaded:?}");
            assert!(cloud.stored().is_empty());
        },
    )
    .await;
}

/// S-2015-003: 50 uploads at once, a third of them deleted meanwhile, never hold more than the quota.
#[tokio::test(flavor = "multi_thread")]
async fn s_2015_003_fifty_uploads_at_once_never_exceed_the_quota() {
    limited(
        |_| {},
        async |cloud, limits| {
            const LIMIT: usize = 4;
            limits.set(PROJECT_A, "image_size_total", LIMIT as i64);
            let mut ids = Vec::new();
            for _ in 0..50 {
                ids.push(cloud.create(json!({})).await);
            }
            let cloud = &*cloud;
            let uploads = ids.iter().enumerate().map(|(i, id)| async move {
                let size = 200_000 + i * 10_007;
                let body = if i % 2 == 0 { pieces(pattern(size)) } else { pattern(size).into() };
                let upload = put(cloud, id, "file", body);
                if i % 3 == 0 {
                    let delete = async {
                        tokio::time::sleep(Duration::from_millis(5 * i as u64)).await;
                        cloud.delete("admin", &format!("/v2/images/{id}")).await
                    };
                    (tokio::join!(upload, delete).0.0, size)
                } else {
                    (upload.await.0, size)
                }
            });
            let done = tokio::sync::Notify::new();
            let watch = async {
                let mut most = (0, 0);
                loop {
                    let stored = bytes_in(&cloud.store);
                    assert!(stored <= LIMIT * MIB, "{stored} bytes are stored");
                    let used = usage(cloud, "image_size_total").await;
                    assert!(used <= LIMIT as i64, "{used} MiB are used");
                    most = (most.0.max(stored), most.1.max(used));
                    tokio::select! {
                        () = done.notified() => return most,
                        () = tokio::time::sleep(Duration::from_millis(10)) => {}
                    }
                }
            };
            let all = async {
                let answers = join_all(uploads).await;
                done.notify_one();
                answers
            };
            let (answers, _) = tokio::join!(all, watch);
            let stored: usize = answers.iter().filter(|a| a.0 == 204).map(|a| a.1).sum();
            assert!(answers.iter().any(|a| a.0 == 413) && stored > 0, "{answers:?}");
            // What is there at the end is what the live images have, and all that counts.
            eventually("the rest is free", async || holds(cloud).await == 0).await;
            let (_, list) = cloud.get("admin", "/v2/images?limit=100&status=active").await;
            let live: i64 =
                list["images"].as_array().unwrap().iter().map(|i| i["size"].as_i64().unwrap()).sum();
            assert_eq!(usage(cloud, "image_size_total").await, live >> 20);
            eventually("the store has nothing else", async || bytes_in(&cloud.store) as i64 == live).await;
        },
    )
    .await;
}

fn bytes_in(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    // One may go while it is looked at.
    entries.filter_map(|e| e.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len() as usize).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_out_is_refused() {
    limited(
        |_| {},
        async |cloud, limits| {
            let id = cloud.create(json!({})).await;
            // A server of its own, so that it can go.
            let gone = Limits::start().await;
            gone.unlimited();
            gone.used_by(&mut cloud.settings);
            cloud.shut().await;
            cloud.boot().await;
            assert_eq!(cloud.post("member", "/v2/images", json!({})).await.0, 201);
            gone.stop().await;
            let before = cloud.get("member", "/v2/images").await.1["images"].as_array().unwrap().len();
            let (status, body) = cloud.post("member", "/v2/images", json!({})).await;
            assert_eq!(status, 503, "{body}");
            assert!(!body.to_string().contains("127.0.0.1"), "{body}");
            assert_eq!(put(cloud, &id, "file", vec![1].into()).await.0, 503);
            assert_eq!(put(cloud, &id, "stage", vec![1].into()).await.0, 503);
            assert_eq!(cloud.get("member", "/v2/info/usage").await.0, 503);
            let (_, list) = cloud.get("member", "/v2/images").await;
            assert_eq!(list["images"].as_array().unwrap().len(), before);
            assert_eq!(cloud.show(&id).await["status"], "queued");
            // Reading and deleting go on.
            assert_eq!(cloud.delete("admin", &format!("/v2/images/{id}")).await, 204);
            limits.used_by(&mut cloud.settings);
            cloud.shut().await;
            cloud.boot().await;
            assert_eq!(cloud.post("member", "/v2/images", json!({})).await.0, 201);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_remembered_for_as_long_as_wanted() {
    limited(
        |settings| settings.image.quota.limits_cache_ms = 3_600_000,
        async |cloud, limits| {
            for _ in 0..5 {
                cloud.create(json!({})).await;
            }
            let asked = limits.asked();
            for _ in 0..5 {
                cloud.create(json!({})).await;
            }
            assert_eq!(limits.asked(), asked, "once is enough");
            assert_eq!(cloud.post("other", "/v2/images", json!({})).await.0, 201);
            assert_eq!(limits.asked(), asked + 2, "another project has its own");
            limits.set(PROJECT_B, "image_count_total", 0);
            assert_eq!(cloud.post("other", "/v2/images", json!({})).await.0, 201);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_quota_of_the_settings() {
    each_with(
        |settings| settings.image.user_storage_quota = "1MB".into(),
        async |cloud| {
            let first = cloud.create(json!({})).await;
            let (status, text) = put(cloud, &first, "file", pattern(MIB + 1).into()).await;
            assert_eq!(status, 413);
            assert!(
                text.contains("Image exceeds the storage quota: The size of the data 1048577 will exceed the limit. 1048576 bytes remaining."),
                "{text}"
            );
            assert_eq!(put(cloud, &first, "file", pieces(pattern(MIB + 1))).await.0, 413);
            assert_eq!(put(cloud, &first, "file", pieces(pattern(MIB))).await.0, 204);
            let second = cloud.create(json!({})).await;
            assert_eq!(put(cloud, &second, "file", pieces(pattern(1))).await.0, 413);
            assert_eq!(cloud.delete("admin", &format!("/v2/images/{first}")).await, 204);
            assert_eq!(put(cloud, &second, "file", pieces(pattern(MIB))).await.0, 204);
            assert_eq!(cloud.get("member", "/v2/info/usage").await.1, json!({"usage": {}}));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_quota_that_is_none_is_named() {
    let mut settings = ferrostack_settings::Settings::default();
    settings.image.user_storage_quota = "1 GiB".into();
    let error = ferrostack_image::quota::Quota::new(&settings).err().unwrap();
    assert!(error.for_log().contains("image.user_storage_quota"), "{}", error.for_log());
}

/// What a process held that was killed before its first byte is free again after the next start.
#[tokio::test(flavor = "multi_thread")]
async fn holds_of_the_dead_end() {
    limited(
        |_| {},
        async |cloud, _| {
            let id = cloud.create(json!({})).await;
            let db = cloud.db().await;
            for object in ["never-written", "its-object-is-there"] {
                ferrostack_db::sqlx::query(
                    "INSERT INTO image_hold (object, image_id, kind, bytes, created_at) VALUES ($1, $2, 'size', $3, 1)",
                )
                .bind(format!("{id}.{object}"))
                .bind(&id)
                .bind(5 << 20_i64)
                .execute(db.writer())
                .await
                .unwrap();
            }
            assert_eq!(usage(cloud, "image_size_total").await, 10);
            cloud.shut().await;
            cloud.boot().await;
            eventually("nothing is held", async || holds(cloud).await == 0).await;
            assert_eq!(usage(cloud, "image_size_total").await, 0);
        },
    )
    .await;
}

async fn import(cloud: &Cloud, id: &str, method: Value) -> (StatusCode, Value) {
    cloud.post("admin", &format!("/v2/images/{id}/import"), json!({"method": method})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_takes_no_more_than_is_left() {
    limited(
        |_| {},
        async |cloud, limits| {
            limits.set(PROJECT_A, "image_size_total", 1);
            let (first, second) = (cloud.create(json!({})).await, cloud.create(json!({})).await);
            for id in [&first, &second] {
                assert_eq!(put(cloud, id, "stage", pattern(MIB).into()).await.0, 204);
            }
            assert_eq!(usage(cloud, "image_stage_total").await, 2);
            let direct = json!({"name": "glance-direct"});
            let (status, body) = import(cloud, &first, direct.clone()).await;
            assert_eq!(status, 202, "{body}");
            // It counts from the beginning of its import.
            let (status, body) = import(cloud, &second, direct.clone()).await;
            over(&(status, body.to_string()), "image_size_total");
            assert_eq!(cloud.show(&second).await["status"], "uploading");
            eventually("it is active", async || cloud.show(&first).await["status"] == "active").await;
            assert_eq!(
                (usage(cloud, "image_size_total").await, usage(cloud, "image_stage_total").await),
                (1, 1)
            );
            assert_eq!(import(cloud, &second, direct.clone()).await.0, 413);
            limits.set(PROJECT_A, "image_size_total", 2);
            assert_eq!(import(cloud, &second, direct).await.0, 202);
            eventually("it is active", async || cloud.show(&second).await["status"] == "active").await;
            assert_eq!(
                (usage(cloud, "image_size_total").await, usage(cloud, "image_stage_total").await),
                (2, 0)
            );
            assert_eq!(usage(cloud, "image_count_uploading").await, 0);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_takes_no_more_than_is_left() {
    let web = crate::web::Web::data(&pattern(2 * MIB)).await;
    let port = web.address.port();
    limited(
        |settings| {
            settings.image.fetch.allowed_ports = vec![port];
            settings.image.fetch.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
        },
        async |cloud, limits| {
            let download = json!({"name": "web-download", "uri": web.url("/image")});
            for (resource, limit) in [("image_stage_total", 1), ("image_size_total", 1)] {
                limits.unlimited();
                limits.set(PROJECT_A, resource, limit);
                let id = cloud.create(json!({})).await;
                assert_eq!(import(cloud, &id, download.clone()).await.0, 202);
                eventually("it failed", async || {
                    let (_, tasks) = cloud.get("admin", &format!("/v2/images/{id}/tasks")).await;
                    let task = &tasks["tasks"][0];
                    task["status"] == "failure" && task["message"].as_str().unwrap().contains(resource)
                })
                .await;
                eventually("queued again", async || cloud.show(&id).await["status"] == "queued").await;
                eventually("nothing is stored or held", async || {
                    cloud.stored().is_empty() && holds(cloud).await == 0
                })
                .await;
                limits.set(PROJECT_A, resource, -1);
                assert_eq!(
                    (usage(cloud, "image_size_total").await, usage(cloud, "image_stage_total").await),
                    (0, 0)
                );
                limits.set(PROJECT_A, resource, 2);
                assert_eq!(import(cloud, &id, download.clone()).await.0, 202);
                eventually("it is active", async || cloud.show(&id).await["status"] == "active").await;
                assert_eq!(
                    (usage(cloud, "image_size_total").await, usage(cloud, "image_stage_total").await),
                    (2, 0)
                );
                assert_eq!(cloud.delete("admin", &format!("/v2/images/{id}")).await, 204);
                eventually("it is gone", async || cloud.stored().is_empty()).await;
            }
            limits.unlimited();
            limits.set(PROJECT_A, "image_count_uploading", 0);
            let id = cloud.create(json!({})).await;
            let (status, body) = import(cloud, &id, download.clone()).await;
            over(&(status, body.to_string()), "image_count_uploading");
            assert_eq!(cloud.show(&id).await["status"], "queued");
        },
    )
    .await;
}
