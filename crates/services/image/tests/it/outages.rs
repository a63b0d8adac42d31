//! R62: the database goes away at each point of an upload. Its connections come through a proxy that can be cut.

use crate::support::{Cloud, each_with, eventually, pattern};
use ferrostack_settings::Settings;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Stands before a server. Cut, it ends all connections and takes no more.
struct Proxy {
    port: u16,
    cut: watch::Sender<bool>,
    /// The next COMMIT still reaches the server, but its answer reaches nobody.
    lose_commit: Arc<AtomicBool>,
}

impl Proxy {
    async fn before(host: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, seen) = watch::channel(false);
        let lose_commit = Arc::new(AtomicBool::new(false));
        let lose = lose_commit.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !*seen.borrow() {
                    let mut seen = seen.clone();
                    let (host, lose) = (host.clone(), lose.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = forward(client, host, lose) => {}
                            _ = seen.wait_for(|cut| *cut) => {}
                        }
                    });
                }
            }
        });
        Self { port, cut, lose_commit }
    }

    fn cut(&self) {
        self.cut.send_replace(true);
    }

    fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn forward(client: TcpStream, host: String, lose: Arc<AtomicBool>) {
    let Ok(server) = TcpStream::connect(host).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let muted = AtomicBool::new(false);
    let up = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let commits = buffer[..read].windows(6).any(|w| w == b"COMMIT");
            let last = commits && lose.swap(false, Ordering::SeqCst);
            muted.fetch_or(last, Ordering::SeqCst);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            if last {
                // The server has it and does it; nobody hears what it says.
                tokio::time::sleep(Duration::from_millis(300)).await;
                return;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if !muted.load(Ordering::SeqCst) && to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Runs `test` on PostgreSQL behind a proxy.
async fn behind_a_proxy(test: impl AsyncFn(&mut Cloud, &Proxy)) {
    let Ok(admin) = std::env::var("FERROSTACK_TEST_POSTGRES") else {
        eprintln!("skipped: FERROSTACK_TEST_POSTGRES is not set (./test sets it)");
        return;
    };
    let admin = url::Url::parse(&admin).unwrap();
    let host = format!("{}:{}", admin.host_str().unwrap(), admin.port().unwrap_or(5432));
    let proxy = Proxy::before(host).await;
    let change = |settings: &mut Settings| {
        if let Ok(mut url) = url::Url::parse(&settings.database.url)
            && url.scheme() == "postgres"
        {
            url.set_host(Some("127.0.0.1")).unwrap();
            url.set_port(Some(proxy.port)).unwrap();
            // The proxy looks for COMMIT.
            url.query_pairs_mut().append_pair("sslmode", "disable");
            settings.database.url = url.to_string();
        }
    };
    each_with(change, async |cloud| {
        if cloud.settings.database.url.starts_with("postgres") {
            test(cloud, &proxy).await;
        }
    })
    .await;
}

async fn is_queued_and_empty(cloud: &Cloud, id: &str) {
    eventually("queued and empty", async || {
        let (status, image) = cloud.get("admin", &format!("/v2/images/{id}")).await;
        status == 200
            && image["status"] == "queued"
            && image["checksum"].is_null()
            && cloud.stored().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r62_the_database_is_away_before_an_upload() {
    behind_a_proxy(async |cloud, proxy| {
        let id = cloud.create(json!({})).await;
        proxy.cut();
        let (status, _) = cloud.upload("member", &id, pattern(100_000)).await;
        assert!(status.is_server_error(), "{status}");
        assert_eq!(cloud.stored(), [""; 0]);
        proxy.mend();
        is_queued_and_empty(cloud, &id).await;
        assert_eq!(cloud.upload("member", &id, pattern(100_000)).await.0, 204);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r62_the_database_is_away_for_a_while_during_an_upload() {
    behind_a_proxy(async |cloud, proxy| {
        // While bytes come, and when all have come: when it is back in time, nobody notices.
        for at_the_end in [false, true] {
            let id = cloud.create(json!({})).await;
            let feed = cloud.feed("member", &id, &[]);
            feed.send(pattern(600_000)).await;
            eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
            proxy.cut();
            feed.send(pattern(600_000)).await;
            if at_the_end {
                let back = async {
                    tokio::time::sleep(Duration::from_millis(1200)).await;
                    proxy.mend();
                };
                let ((status, text), ()) = tokio::join!(feed.end(), back);
                assert_eq!(status, 204, "{text}");
            } else {
                tokio::time::sleep(Duration::from_millis(500)).await;
                proxy.mend();
                feed.send(pattern(600_000)).await;
                assert_eq!(feed.end().await.0, 204);
            }
            let image = cloud.show(&id).await;
            assert_eq!(image["status"], "active");
            let file = format!("/v2/images/{id}/file");
            let got = cloud.call("member", reqwest::Method::GET, &file).send().await.unwrap();
            let got = got.bytes().await.unwrap();
            use aws_lc_rs::digest::{SHA512, digest};
            assert_eq!(image["os_hash_value"], hex::encode(digest(&SHA512, &got)));
            assert_eq!(image["size"], got.len());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r62_the_database_stays_away_when_an_upload_ends() {
    behind_a_proxy(async |cloud, proxy| {
        for way in ["whole", "broken off"] {
            let id = cloud.create(json!({})).await;
            let feed = cloud.feed("member", &id, &[]);
            feed.send(pattern(600_000)).await;
            eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
            proxy.cut();
            if way == "whole" {
                let (status, text) = feed.end().await;
                assert!(status >= 500, "{status} {text}");
            } else {
                let _ = feed.sender.send(Err(std::io::Error::other("gone"))).await;
                let _ = feed.answer.await;
            }
            proxy.mend();
            is_queued_and_empty(cloud, &id).await;
            assert_eq!(cloud.upload("member", &id, pattern(100_000)).await.0, 204);
            assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
            eventually("removed", async || cloud.stored().is_empty()).await;
        }
    })
    .await;
}

/// The answer to the last COMMIT is lost: the upload has been done all the same, and is not undone.
#[tokio::test(flavor = "multi_thread")]
async fn r62_the_answer_to_the_commit_is_lost() {
    behind_a_proxy(async |cloud, proxy| {
        for _ in 0..5 {
            let id = cloud.create(json!({})).await;
            let data = pattern(300_000);
            let feed = cloud.feed("member", &id, &[]);
            feed.send(data.clone()).await;
            eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
            // The next COMMIT is the one that makes the image active.
            proxy.lose_commit.store(true, Ordering::SeqCst);
            let (status, text) = feed.end().await;
            assert!(!proxy.lose_commit.load(Ordering::SeqCst), "a COMMIT was seen");
            assert_eq!(status, 204, "{text}");
            let file = format!("/v2/images/{id}/file");
            let got = cloud.call("member", reqwest::Method::GET, &file).send().await.unwrap();
            assert!(got.bytes().await.unwrap() == data);
        }
    })
    .await;
}
