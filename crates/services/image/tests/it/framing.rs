//! Bodies whose framing is wrong: L09, and sizes that do not fit.

use crate::support::{Cloud, each, eventually, pattern, times};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn connect(cloud: &Cloud) -> TcpStream {
    TcpStream::connect(cloud.base.strip_prefix("http://").unwrap()).await.unwrap()
}

fn head(id: &str, framing: &str) -> String {
    format!(
        "PUT /v2/images/{id}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: member\r\nContent-Type: application/octet-stream\r\n{framing}\r\n\r\n"
    )
}

/// Sends `bytes` and closes; what came back (maybe nothing), with the connection closed by the service.
async fn exchange(cloud: &Cloud, bytes: &[u8], half: bool) -> String {
    let mut socket = connect(cloud).await;
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    if half {
        socket.shutdown().await.unwrap();
        let read = socket.read_to_end(&mut answer);
        // An end or a reset: but the connection does not stay.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(20), read).await.expect("closed");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

async fn is_queued_and_empty(cloud: &Cloud, id: &str, what: &str) {
    eventually(what, async || cloud.stored().is_empty() && cloud.show(id).await["status"] == "queued").await;
}

/// L09: a chunked body that is cut at any byte of its framing is no image, holds no worker and leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn l09_chunked_framing_cut_at_every_byte() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let body = "5\r\nhello\r\n0a;x=\"y\"\r\n0123456789\r\n1\r\n.\r\n0\r\n\r\n";
        let start = head(&id, "Transfer-Encoding: chunked");
        for half in [true, false] {
            for at in (0..body.len()).step_by(if half { 1 } else { times(3, 1) }) {
                let answer = exchange(cloud, format!("{start}{}", &body[..at]).as_bytes(), half).await;
                assert!(!answer.contains(" 204 "), "cut at {at}: {answer}");
                is_queued_and_empty(cloud, &id, &format!("queued after a cut at {at}")).await;
            }
        }
        // Who hung up without waiting may be heard only now: then it is 409 for a moment.
        eventually("a whole body is taken", async || {
            let mut socket = connect(cloud).await;
            socket.write_all(format!("{start}{body}").as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            socket.read_exact(&mut answer).await.unwrap();
            &answer == b"HTTP/1.1 204"
        })
        .await;
        assert_eq!(cloud.show(&id).await["size"], 16);
    })
    .await;
}

/// Framing that is malformed rather than cut.
#[tokio::test(flavor = "multi_thread")]
async fn l09_malformed_chunks() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let chunked = head(&id, "Transfer-Encoding: chunked");
        for body in [
            "x\r\nhello\r\n0\r\n\r\n",
            "-1\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello!\r\n0\r\n\r\n",
            "5hello\r\n0\r\n\r\n",
            "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            "5\nhello\n0\n\n",
            "\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\r\n",
            "5\r\nhelloXX0\r\n\r\n",
        ] {
            let answer = exchange(cloud, format!("{chunked}{body}").as_bytes(), true).await;
            assert!(!answer.contains(" 204 "), "{body:?}: {answer}");
            is_queued_and_empty(cloud, &id, &format!("queued after {body:?}")).await;
        }
        for framing in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: -5",
            "Content-Length: 5x",
            "Content-Length: 99999999999999999999999",
            "Transfer-Encoding: chunked, identity",
        ] {
            let answer =
                exchange(cloud, format!("{}5\r\nhello\r\n0\r\n\r\n", head(&id, framing)).as_bytes(), true)
                    .await;
            assert!(!answer.starts_with("HTTP/1.1 2"), "{framing}: {answer}");
            is_queued_and_empty(cloud, &id, &format!("queued after {framing}")).await;
        }
        assert_eq!(cloud.upload("member", &id, pattern(5)).await.0, 204);
    })
    .await;
}

/// A body that is shorter than its Content-Length is no image; what comes after it is not part of it.
#[tokio::test(flavor = "multi_thread")]
async fn i08_wrong_content_length() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        for (length, sent) in [(1, 0_usize), (100, 99), (1_000_000, 999_999), (1_u64 << 40, 5)] {
            let mut bytes = head(&id, &format!("Content-Length: {length}")).into_bytes();
            bytes.extend(pattern(sent));
            let answer = exchange(cloud, &bytes, true).await;
            assert!(!answer.contains(" 204 "), "{length} {sent}: {answer}");
            is_queued_and_empty(cloud, &id, "queued").await;
        }
        let mut socket = connect(cloud).await;
        socket.write_all(format!("{}123456789", head(&id, "Content-Length: 5")).as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 204");
        assert_eq!(cloud.show(&id).await["size"], 5);
    })
    .await;
}

/// `x-openstack-image-size`: as Glance says it since 2.17, for uploads and staged data.
#[tokio::test(flavor = "multi_thread")]
async fn i08_the_declared_size_is_checked() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        for way in ["file", "stage"] {
            let path = format!("/v2/images/{id}/{way}");
            let put = async |size: &str, length: usize, chunked: bool| {
                let body = if chunked {
                    let pieces: Vec<_> =
                        pattern(length).chunks(10_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect();
                    reqwest::Body::wrap_stream(futures_util::stream::iter(pieces))
                } else {
                    pattern(length).into()
                };
                let request = cloud
                    .call("member", Method::PUT, &path)
                    .header("Content-Type", "application/octet-stream")
                    .header("X-OpenStack-Image-Size", size);
                let answer = request.body(body).send().await.unwrap();
                (answer.status().as_u16(), answer.text().await.unwrap())
            };
            for chunked in [false, true] {
                let (status, text) = put("100000", 99_999, chunked).await;
                assert_eq!(status, 400);
                assert!(text.contains("Size mismatch: expected 100000 bytes, got 99999 bytes"), "{text}");
                is_queued_and_empty(cloud, &id, "queued").await;
                let (status, text) = put("100000", 100_001, chunked).await;
                assert_eq!(status, 400);
                assert!(text.contains("Size exceeds: expected 100000 bytes, got 100001 bytes"), "{text}");
                is_queued_and_empty(cloud, &id, "queued").await;
            }
            for bad in ["x", "-1", "1.5", "", "0x10", "99999999999999999999999"] {
                let (status, text) = put(bad, 10, false).await;
                assert_eq!(status, 400, "{bad}");
                assert!(text.contains("Invalid or missing image size in request headers."), "{text}");
            }
        }
        let put = cloud.feed("member", &id, &[("x-openstack-image-size", "0")]);
        put.send(pattern(10)).await;
        assert_eq!(put.end().await.0, 204, "0 says nothing");
        let id = cloud.create(json!({})).await;
        let put = cloud.feed("member", &id, &[("x-openstack-image-size", "10")]);
        put.send(pattern(10)).await;
        assert_eq!(put.end().await.0, 204);
    })
    .await;
}
