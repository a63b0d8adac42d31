//! Downloads: every range, conditions, resuming, slow readers.

use crate::support::{Cloud, Random, each, each_with, in_memory, pattern, times};
use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::{Method, Response};
use serde_json::json;

async fn get(cloud: &Cloud, id: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = cloud.call("member", Method::GET, &format!("/v2/images/{id}/file"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn active(cloud: &Cloud, data: &[u8]) -> String {
    let id = cloud.create(json!({})).await;
    assert_eq!(cloud.upload("member", &id, data.to_vec()).await.0, 204);
    id
}

/// R67: random ranges, at the level of the handler's parts, against the slice they mean.
#[tokio::test(flavor = "multi_thread")]
async fn r67_random_ranges_are_slices() {
    in_memory(
        |settings| settings.image.reconcile_ms = 60_000,
        async |cloud| {
            let app = cloud.app().await;
            let data = Bytes::from(pattern(900_001));
            let id = active(cloud, &data).await;
            let image = ferrostack_image::store::image::get(&app.db, &id).await.unwrap().unwrap();
            let size = data.len();
            let mut random = Random(67);
            for round in 0..times(20_000, 1_000_000) {
                // Mostly short ones; some long, some at the ends, some beyond.
                let span = [1, 10, 4096, 70_000, size][random.below(5)];
                let from = match random.below(8) {
                    0 => size - 1 - random.below(span.min(size)),
                    1 => size + random.below(100),
                    _ => random.below(size),
                };
                let to = from + random.below(span);
                let (text, expected) = match random.below(4) {
                    0 => (format!("bytes={from}-"), from..size),
                    1 if to > from => (format!("bytes=-{}", to - from), size.saturating_sub(to - from)..size),
                    _ => (format!("bytes={from}-{to}"), from..size.min(to + 1)),
                };
                // Whole tails are long: most of them are only read at their beginning.
                let part = ferrostack_image::range::range(Some(&text), size as u64);
                if expected.start >= size {
                    assert!(part.is_err(), "round {round}: {text}");
                    continue;
                }
                let part = part.unwrap().unwrap();
                assert_eq!(part, expected.start as u64..expected.end as u64, "round {round}: {text}");
                let wanted = &data[expected];
                let body =
                    ferrostack_image::download::body(&app, &image, size as u64, part).await.unwrap().unwrap();
                let mut body = std::pin::pin!(body);
                let most = if random.below(20) == 0 { usize::MAX } else { 1 };
                let mut at = 0;
                for _ in 0..most {
                    let next = futures_util::future::poll_fn(|cx| {
                        ferrostack_http::actix_web::body::MessageBody::poll_next(body.as_mut(), cx)
                    });
                    let Some(block) = next.await else { break };
                    let block = block.unwrap();
                    assert!(wanted[at..at + block.len()] == block, "round {round}: {text} at {at}");
                    at += block.len();
                }
                assert!(at == wanted.len() || most == 1, "round {round}: {text}: {at} bytes");
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r67_ranges_over_http() {
    each(async |cloud| {
        let data = pattern(300_000);
        let id = active(cloud, &data).await;
        let is = async |headers: &[(&str, &str)], status: u16, range: &str, wanted: &[u8]| {
            let answer = get(cloud, &id, headers).await;
            assert_eq!(answer.status(), status, "{headers:?}");
            let shown = answer.headers().get("content-range").map_or("", |v| v.to_str().unwrap()).to_owned();
            assert_eq!(shown, range, "{headers:?}");
            assert_eq!(answer.headers()["content-length"], wanted.len().to_string());
            assert_eq!(answer.headers()["content-type"], "application/octet-stream");
            assert_eq!(answer.headers()["content-md5"], cloud.show(&id).await["checksum"].as_str().unwrap());
            assert!(answer.bytes().await.unwrap() == wanted, "{headers:?}");
        };
        is(&[], 200, "", &data).await;
        is(&[("Range", "bytes=0-0")], 206, "bytes 0-0/300000", &data[..1]).await;
        is(&[("Range", "bytes=-5")], 206, "bytes 299995-299999/300000", &data[299_995..]).await;
        is(&[("Range", "bytes=-400000")], 206, "bytes 0-299999/300000", &data).await;
        is(&[("Range", "bytes=299999-")], 206, "bytes 299999-299999/300000", &data[299_999..]).await;
        is(&[("Range", "bytes=7-999999")], 206, "bytes 7-299999/300000", &data[7..]).await;
        is(&[("Content-Range", "bytes 3-9/300000")], 206, "bytes 3-9/300000", &data[3..10]).await;
        is(&[("Content-Range", "bytes 3-9/*")], 206, "bytes 3-9/300000", &data[3..10]).await;
        for (header, value, status, text) in [
            ("Range", "bytes=300000-", 416, "Invalid start position in Range header. Start position MUST be in the inclusive range [0, 299999]."),
            ("Range", "bytes=9-3", 416, "Invalid Range header."),
            ("Range", "lines=1-2", 416, "Invalid Range header."),
            ("Range", "bytes=0-1,5-6", 400, "Requests with multiple ranges are not supported in Glance."),
            ("Content-Range", "bytes 0-300000/*", 416, "Invalid stop position in Content-Range header."),
            ("Content-Range", "nonsense", 416, "Invalid Content-Range header."),
        ] {
            let answer = get(cloud, &id, &[(header, value), ("Accept", "application/json")]).await;
            assert_eq!(answer.status(), status, "{value}");
            let shown = answer.text().await.unwrap();
            assert!(shown.contains(text), "{value}: {shown}");
        }
        let head = cloud.call("member", Method::HEAD, &format!("/v2/images/{id}/file")).send().await.unwrap();
        assert_eq!(head.status(), 405);
        let queued = cloud.create(json!({})).await;
        assert_eq!(get(cloud, &queued, &[("Range", "bytes=0-1")]).await.status(), 204);
        let empty = active(cloud, &[]).await;
        assert_eq!(get(cloud, &empty, &[]).await.status(), 200);
        assert_eq!(get(cloud, &empty, &[("Range", "bytes=0-0")]).await.status(), 416);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i09_conditional_requests() {
    each(async |cloud| {
        let data = pattern(5000);
        let id = active(cloud, &data).await;
        let tag = format!("\"{}\"", cloud.show(&id).await["checksum"].as_str().unwrap());
        let answer = get(cloud, &id, &[]).await;
        assert_eq!(answer.headers()["etag"], tag.as_str());
        let answer = get(cloud, &id, &[("If-None-Match", &tag)]).await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["etag"].to_str().unwrap()),
            (304, tag.as_str())
        );
        assert!(answer.bytes().await.unwrap().is_empty());
        assert_eq!(get(cloud, &id, &[("If-None-Match", "\"other\"")]).await.status(), 200);
        assert_eq!(get(cloud, &id, &[("If-Match", "\"other\"")]).await.status(), 412);
        assert_eq!(get(cloud, &id, &[("If-Match", &tag)]).await.status(), 200);
        let part = get(cloud, &id, &[("If-Range", &tag), ("Range", "bytes=4000-")]).await;
        assert_eq!((part.status().as_u16(), part.bytes().await.unwrap().len()), (206, 1000));
        let whole = get(cloud, &id, &[("If-Range", "\"other\""), ("Range", "bytes=4000-")]).await;
        assert_eq!((whole.status().as_u16(), whole.bytes().await.unwrap().len()), (200, 5000));
        // Changing the record changes neither bytes nor tag; a condition lets nobody see more.
        let patch = json!([{"op": "add", "path": "/colour", "value": "blue"}]);
        assert_eq!(cloud.patch("member", &id, patch).await.0, 200);
        assert_eq!(get(cloud, &id, &[("If-None-Match", &tag)]).await.status(), 304);
        let path = format!("/v2/images/{id}/file");
        let other =
            cloud.call("other", Method::GET, &path).header("If-None-Match", "*").send().await.unwrap();
        assert_eq!(other.status(), 404);
    })
    .await;
}

/// A download that breaks off goes on where it was: byte for byte the image.
#[tokio::test(flavor = "multi_thread")]
async fn r67_cut_and_resumed_downloads() {
    each(async |cloud| {
        let data = pattern(2_500_000);
        let id = active(cloud, &data).await;
        let (mut random, mut got) = (Random(7), Vec::new());
        while got.len() < data.len() {
            let from = format!("bytes={}-", got.len());
            let answer = get(cloud, &id, &[("Range", &from)]).await;
            assert_eq!(answer.status(), 206);
            let (mut stream, goal) = (answer.bytes_stream(), got.len() + 1 + random.below(400_000));
            while got.len() < goal {
                match stream.next().await {
                    Some(block) => got.extend_from_slice(&block.unwrap()),
                    None => break,
                }
            }
        }
        assert!(got == data);
        assert_eq!(
            get(cloud, &id, &[("Range", "bytes=2500000-")]).await.status(),
            416,
            "nothing is left to fetch"
        );
    })
    .await;
}

/// `curl -C -` on a part of a file.
#[tokio::test(flavor = "multi_thread")]
async fn r67_curl_resumes() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: no curl");
        return;
    }
    each(async |cloud| {
        let data = pattern(3_000_000);
        let id = active(cloud, &data).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("image");
        for have in [0, 1, 1_234_567, 2_999_999] {
            std::fs::write(&file, &data[..have]).unwrap();
            let done = tokio::process::Command::new("curl")
                .args([
                    "--silent",
                    "--show-error",
                    "--fail",
                    "--noproxy",
                    "*",
                    "-C",
                    "-",
                    "-H",
                    "X-Auth-Token: member",
                    "-o",
                ])
                .arg(&file)
                .arg(format!("{}/v2/images/{id}/file", cloud.base))
                .output()
                .await
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            assert!(std::fs::read(&file).unwrap() == data, "from {have}");
        }
    })
    .await;
}

/// Slow readers do not keep others from reading, nor a deletion from happening: they still get their bytes.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_disturb_nobody() {
    each_with(
        |settings| settings.image.workers = 1,
        async |cloud| {
            let data = pattern(6_000_000);
            let id = active(cloud, &data).await;
            let mut slow = Vec::new();
            for _ in 0..100 {
                let answer = get(cloud, &id, &[]).await;
                assert_eq!(answer.status(), 200);
                slow.push(answer);
            }
            assert!(get(cloud, &id, &[]).await.bytes().await.unwrap() == data);
            assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
            assert_eq!(cloud.stored(), [""; 0]);
            for answer in slow {
                assert!(answer.bytes().await.unwrap() == data);
            }
        },
    )
    .await;
}
