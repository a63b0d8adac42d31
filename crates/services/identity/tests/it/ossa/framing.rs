//! HTTP as it must not be spoken (M16), by raw TCP: refused or closed, and nobody else waits.

use super::*;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn connect(c: &Cloud) -> TcpStream {
    TcpStream::connect(c.base.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends `bytes`, then reads until the other side closes or `wait` is over. What came, and whether it was closed.
async fn exchange(c: &Cloud, bytes: &[u8], wait: Duration) -> (String, bool) {
    let mut stream = connect(c).await;
    // It may close before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let closed = tokio::time::timeout(wait, stream.read_to_end(&mut heard)).await.is_ok();
    (String::from_utf8_lossy(&heard).into_owned(), closed)
}

/// The statuses of the answers in a stream.
fn statuses(text: &str) -> Vec<u16> {
    text.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)?.parse().ok()).collect()
}

const HELLO: &str = "GET /v3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const SHORT: Duration = Duration::from_millis(700);

/// What two servers in a row could read as different requests.
#[tokio::test]
async fn m16_two_readings_are_none() {
    once(async |c| {
        let start = "POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        // A second request hides in the body of the first: it must never be answered.
        let hidden = "GET /v3/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
        let length = hidden.len();
        for (what, bytes) in [
            (
                "length and chunks",
                format!(
                    "{start}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
                    5 + length
                ),
            ),
            (
                "chunks and length",
                format!("{start}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{hidden}"),
            ),
            ("two lengths", format!("{start}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}")),
            ("two lengths in one", format!("{start}Content-Length: 0, {length}\r\n\r\n{hidden}")),
            ("a signed length", format!("{start}Content-Length: +{length}\r\n\r\n{hidden}")),
            ("a negative length", format!("{start}Content-Length: -1\r\n\r\n{hidden}")),
            ("a length in hex", format!("{start}Content-Length: 0x10\r\n\r\n{hidden}")),
            ("an endless length", format!("{start}Content-Length: 99999999999999999999999\r\n\r\n{hidden}")),
            ("an unknown coding", format!("{start}Transfer-Encoding: xchunked\r\n\r\n{hidden}")),
            ("two codings", format!("{start}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}")),
            ("a folded header", format!("{start}X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n{hidden}")),
            ("a blank before the colon", format!("{start}Content-Length : {length}\r\n\r\n{hidden}")),
            ("a header without a name", format!("{start}: x\r\n\r\n{hidden}")),
            ("a NUL in a header", format!("{start}X-A: a\0b\r\n\r\n{hidden}")),
            ("a bare CR", format!("{start}X-A: a\rX-B: b\r\n\r\n{hidden}")),
            ("a chunk of no number", format!("{start}Transfer-Encoding: chunked\r\n\r\nzz\r\n{hidden}")),
            ("a negative chunk", format!("{start}Transfer-Encoding: chunked\r\n\r\n-1\r\n{hidden}")),
            (
                "an endless chunk",
                format!("{start}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}"),
            ),
            (
                "a chunk that is longer",
                format!("{start}Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n{hidden}"),
            ),
            ("no version", "GET /v3\r\n\r\n".to_owned() + hidden),
            ("HTTP/0.9", "GET /v3 HTTP/0.9\r\n\r\n".to_owned() + hidden),
            ("HTTP/3", "GET /v3 HTTP/3.0\r\nHost: x\r\n\r\n".to_owned() + hidden),
            ("no request line", format!("\r\n\r\n \r\n{hidden}")),
            ("rubbish", "\u{1}\u{2}\u{3}\r\n\r\n".to_owned() + hidden),
            ("a method with a blank", "GE T /v3 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned() + hidden),
            ("TLS", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned() + hidden),
        ] {
            let (text, closed) = exchange(c, bytes.as_bytes(), SHORT).await;
            let found = statuses(&text);
            assert!(found.iter().all(|s| (400..500).contains(s)), "{what}: {found:?}");
            assert!(!text.contains("smuggled"), "{what}: {text}");
            // The hidden request would be the one that gets Keystone's page.
            assert!(!text.contains("<!doctype"), "{what}: {text}");
            assert!(closed || found.len() <= 1, "{what}: {text}");
            // The next one is served.
            let (text, _) = exchange(c, HELLO.as_bytes(), Duration::from_secs(10)).await;
            assert_eq!(statuses(&text), [200], "{what}: {text}");
        }
    })
    .await;
}

/// One connection, many requests in a row, cut anywhere: each is answered in its turn or not at all.
#[tokio::test]
async fn m16_pipelines_keep_their_order() {
    once(async |c| {
        let mut bytes = String::new();
        for n in 0..50 {
            bytes += &format!(
                "GET /v3/users?n={n} HTTP/1.1\r\nHost: x\r\n\r\nGET /v3 HTTP/1.1\r\nHost: x\r\n\r\n"
            );
        }
        let (text, _) = exchange(c, bytes.as_bytes(), Duration::from_secs(2)).await;
        let found = statuses(&text);
        assert_eq!(found.len(), 100);
        assert!(found.chunks(2).all(|pair| pair == [401, 200]), "{found:?}");
        // The absolute form is a path like any other.
        let (text, _) =
            exchange(c, b"GET http://elsewhere/v3/users HTTP/1.1\r\nHost: x\r\n\r\n", SHORT).await;
        assert_eq!(statuses(&text), [401]);
        assert!(!text.contains("elsewhere"));
    })
    .await;
}

/// More headers, or longer ones, than anybody needs.
#[tokio::test]
async fn m16_ten_thousand_headers() {
    once(async |c| {
        let admin = c.admin().await;
        for (what, headers) in [
            ("many", (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect::<String>()),
            ("long", format!("X-A: {}\r\n", "a".repeat(1 << 20))),
            ("a long name", format!("{}: x\r\n", "X".repeat(200_000))),
            ("many cookies", "Cookie: a=b\r\n".repeat(9_000)),
            ("nested commas", format!("Accept: {}\r\n", "a/b;q=0.1,".repeat(100_000))),
        ] {
            let since = Instant::now();
            let bytes = format!("GET /v3 HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
            let (text, closed) = exchange(c, bytes.as_bytes(), Duration::from_secs(3)).await;
            assert!(closed, "{what}: not closed after {:?}: {text}", since.elapsed());
            assert!(statuses(&text).iter().all(|s| (400..500).contains(s)), "{what}: {text}");
            c.get(&admin, "/v3/auth/projects").await.is(200);
        }
    })
    .await;
}

/// A chunked body, cut after each of its bytes: no answer of success, no worker that waits for the rest.
#[tokio::test]
async fn l09_a_cut_body_holds_nobody() {
    once(async |c| {
        let admin = c.admin().await;
        let body = format!("{}\r\n", json!({"user": {"name": "cut", "password": "pw"}}));
        let whole = format!(
            "POST /v3/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Auth-Token: {admin}\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        let head = whole.find("\r\n\r\n").unwrap() + 4;
        let cuts: Vec<usize> = (head..whole.len()).collect();
        let since = Instant::now();
        let tries = cuts.iter().map(|cut| async {
            let mut stream = connect(c).await;
            stream.write_all(&whole.as_bytes()[..*cut]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = Vec::new();
            let done = tokio::time::timeout(Duration::from_secs(4), stream.read_to_end(&mut heard)).await;
            (*cut, done.is_ok(), String::from_utf8_lossy(&heard).into_owned())
        });
        for (cut, closed, text) in futures_util::future::join_all(tries).await {
            assert!(closed, "cut at {cut}: open after {:?}", since.elapsed());
            assert!(statuses(&text).iter().all(|s| (400..500).contains(s)), "cut at {cut}: {text}");
        }
        let found = c.get(&admin, "/v3/users?name=cut").await.is(200).json();
        assert_eq!(found["users"], json!([]));
        let (text, _) = exchange(c, whole.as_bytes(), SHORT).await;
        assert_eq!(statuses(&text), [201]);
    })
    .await;
}

/// Hundreds who send slowly or nothing: the others are served, and a head that does not come is given up.
#[tokio::test]
async fn m16_slow_senders_do_not_stop_the_others() {
    once(async |c| {
        let admin = c.admin().await;
        let mut slow = Vec::new();
        for n in 0..200 {
            let mut stream = connect(c).await;
            let begin = match n % 3 {
                0 => "GET /v3 HTTP/1.1\r\nHost: x\r\nX-Slow: ".to_owned(),
                1 => "POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{".to_owned(),
                _ => "POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n{".to_owned(),
            };
            stream.write_all(begin.as_bytes()).await.unwrap();
            slow.push(stream);
        }
        let since = Instant::now();
        let mut served = 0;
        while since.elapsed() < Duration::from_millis(2500) {
            for stream in &mut slow {
                let _ = stream.write_all(b" ").await;
            }
            let begin = Instant::now();
            c.get(&admin, "/v3/auth/projects").await.is(200);
            c.login("admin", "secret", json!("unscoped")).await.is(201);
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
            served += 1;
        }
        assert!(served > 3, "{served}");
        // Heads are waited for some seconds, whatever trickles in.
        let mut head = slow.swap_remove(0);
        let mut heard = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(8), head.read_to_end(&mut heard)).await;
        assert!(closed.is_ok(), "a head may take for ever");
        assert!(!statuses(&String::from_utf8_lossy(&heard)).contains(&200));
    })
    .await;
}

/// A hundred at once, each with a body of megabytes: cut at the limit, memory stays, others log in.
#[tokio::test]
async fn cve_2013_2014_many_large_bodies() {
    let service = process::Service::start("secret", |_| {}).await;
    service.login(by_name("admin", "secret"), process::admin_project()).await.is(201);
    let before = service.memory();
    let host = service.base.strip_prefix("http://").unwrap().to_owned();
    let senders = (0..100).map(|n| {
        let host = host.clone();
        async move {
            let mut stream = TcpStream::connect(&host).await.unwrap();
            let framing = if n % 2 == 0 { "Content-Length: 104857600" } else { "Transfer-Encoding: chunked" };
            let head = format!("POST /v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut piece = Vec::new();
            if n % 2 == 1 {
                piece.extend_from_slice(b"10000\r\n");
            }
            piece.resize(piece.len() + 65_536, b' ');
            if n % 2 == 1 {
                piece.extend_from_slice(b"\r\n");
            }
            // A hundred megabytes, as fast as they are taken.
            for _ in 0..1600 {
                if !tokio::time::timeout(Duration::from_secs(2), stream.write_all(&piece)).await.is_ok_and(|w| w.is_ok()) {
                    break;
                }
            }
            // The answer, unless it was lost with the connection, and the end of it.
            let mut answer = Vec::new();
            let end = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
            assert!(end.is_ok(), "the connection stays open");
            String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
        }
    });
    let good = async {
        for _ in 0..10 {
            let since = Instant::now();
            service.login(by_name("admin", "secret"), process::admin_project()).await.is(201);
            assert!(since.elapsed() < Duration::from_secs(5), "a login took {:?}", since.elapsed());
        }
        service.memory()
    };
    let (answers, during) = tokio::join!(futures_util::future::join_all(senders), good);
    let after = service.memory();
    for answer in &answers {
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    assert!(answers.iter().any(|answer| !answer.is_empty()), "none was told why");
    assert!(during.max(after) < before + 128 * 1024, "{before} KiB, then {during}, then {after}");
    service.login(by_name("admin", "secret"), process::admin_project()).await.is(201);
}

/// Addresses that nobody ever asked for leave nothing in memory.
#[tokio::test]
async fn l05_unknown_addresses_are_not_remembered() {
    let service =
        process::Service::start("secret", |s| s.log.level = "error,ferrostack_client=info".into()).await;
    let host = service.base.strip_prefix("http://").unwrap().to_owned();
    let walk = |from: usize, to: usize| {
        let host = host.clone();
        async move {
            let mut stream = TcpStream::connect(&host).await.unwrap();
            let mut buffer = vec![0u8; 1 << 16];
            for n in (from..to).step_by(20) {
                let mut bytes = String::new();
                for k in n..n + 20 {
                    let method = ["GET", "POST", "PUT", "DELETE"][k % 4];
                    bytes += &format!(
                        "{method} /v3/u{k}/x?y={k} HTTP/1.1\r\nHost: h{k}\r\nX-Auth-Token: t{k}\r\nContent-Length: 0\r\n\r\n"
                    );
                }
                stream.write_all(bytes.as_bytes()).await.unwrap();
                let (mut heard, mut ends) = (Vec::new(), 0);
                while ends < 20 {
                    let count = stream.read(&mut buffer).await.unwrap();
                    assert!(count > 0, "closed");
                    heard.extend_from_slice(&buffer[..count]);
                    ends = heard.windows(9).filter(|w| w.eq_ignore_ascii_case(b"HTTP/1.1 ")).count();
                }
            }
        }
    };
    walk(0, 2000).await;
    let before = service.memory();
    walk(2000, 6000).await;
    let after = service.memory();
    assert!(after < before + 8 * 1024, "{before} KiB, then {after}");
    let metrics = service.send("GET", "/metrics", &[], None).await.is(200).text;
    assert!(metrics.lines().count() < 500, "{} lines of metrics", metrics.lines().count());
    assert!(!metrics.contains("/v3/u"));
}
