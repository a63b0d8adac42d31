//! kill -9 at any byte of an upload, with the service as a process of its own.

use crate::support::{Cloud, Feed, Random, each_with, eventually, pattern, serve_forever, times};
use ferrostack_db::sqlx::{self, Connection, Executor};
use reqwest::Method;
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Not a test: what [`r58_g14_killed_at_any_byte`] starts and kills. Also `cargo test -- --ignored` to try things by hand.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the tests of kills"]
async fn child_serves() {
    serve_forever().await;
}

/// A service process that does not outlive the test.
struct Service(Child);

impl Service {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(cloud: &mut Cloud) -> Service {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child_serves", "--exact", "--ignored", "--nocapture"])
        .env("IT_IMAGE_SETTINGS", serde_json::to_string(&cloud.settings).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let base = loop {
        let line = lines.next().expect("the child says where it listens").unwrap();
        if let Some((_, address)) = line.split_once("LISTENS ") {
            break address.to_owned();
        }
    };
    // Keep the pipe drained and open.
    std::thread::spawn(move || lines.for_each(drop));
    cloud.base = base;
    Service(child)
}

/// What must hold after a kill and a restart: whole or nothing, and nothing left over. True if it was whole.
async fn settles(cloud: &Cloud, id: &str, data: &[u8], answered: bool, what: &str) -> bool {
    eventually("settled", async || cloud.show(id).await["status"] != "saving").await;
    let image = cloud.show(id).await;
    let whole = image["status"] == "active";
    if whole {
        let file = format!("/v2/images/{id}/file");
        let got = cloud.call("member", Method::GET, &file).send().await.unwrap().bytes().await.unwrap();
        assert!(got == data, "{what}: active means whole");
        use aws_lc_rs::digest::{SHA512, digest};
        assert_eq!(image["os_hash_value"], hex::encode(digest(&SHA512, data)), "{what}");
    } else {
        assert!(!answered, "{what}: an answered upload is lost");
        assert_eq!(image["status"], "queued", "{what}");
        assert!(image["checksum"].is_null() && image["size"].is_null(), "{what}");
    }
    eventually("nothing is left", async || cloud.stored().len() == usize::from(whole)).await;
    whole
}

/// R58, I08: at random bytes of an upload, and around its end: sync, rename, commit, answer.
#[tokio::test(flavor = "multi_thread")]
async fn r58_g14_killed_at_any_byte() {
    each_with(
        |settings| settings.image.upload_lease_seconds = 1,
        async |cloud| {
            cloud.shut().await;
            let data = pattern(times(4_000_000, 64_000_000));
            let mut random = Random(42);
            let mut child = spawn(cloud);
            let mut id = cloud.create(json!({})).await;
            let (mut finished, mut broken, mut longest) = (0, 0, Duration::ZERO);
            for round in 0..times(20, 200) {
                let sent = if round % 2 == 0 { random.below(data.len()) } else { data.len() };
                let feed = cloud.feed("member", &id, &[]);
                for chunk in data[..sent].chunks(60_000) {
                    feed.send(chunk.to_vec()).await;
                }
                let answer = if sent == data.len() {
                    let Feed { sender, answer } = feed;
                    drop(sender);
                    // The moment is random on purpose: it is the fault.
                    tokio::time::sleep(Duration::from_micros(random.below(150_000) as u64)).await;
                    child.kill();
                    answer.await
                } else {
                    child.kill();
                    feed.answer.await
                };
                let answered = answer.unwrap().is_ok_and(|r| r.status() == 204);
                child = spawn(cloud);
                let begun = Instant::now();
                if settles(cloud, &id, &data, answered, &format!("round {round}")).await {
                    finished += 1;
                    assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
                    eventually("deleted", async || cloud.stored().is_empty()).await;
                    id = cloud.create(json!({})).await;
                } else {
                    broken += 1;
                    longest = longest.max(begun.elapsed());
                }
            }
            assert_eq!(cloud.upload("member", &id, data.clone()).await.0, 204);
            child.kill();
            eprintln!("{broken} uploads broken (settled after {longest:?} at most), {finished} finished");
            assert!(broken >= times(20, 200) / 2);
        },
    )
    .await;
}

/// Keeps everybody from writing to the tables until it is dropped.
async fn lock(cloud: &Cloud) -> sqlx::AnyConnection {
    sqlx::any::install_default_drivers();
    let (url, statements) = match cloud.settings.database.url.strip_prefix("sqlite:") {
        Some(directory) => (
            format!("sqlite://{directory}/image.sqlite"),
            vec!["PRAGMA busy_timeout = 20000", "BEGIN IMMEDIATE"],
        ),
        None => (
            cloud.settings.database.url.clone(),
            vec!["SET search_path TO image", "BEGIN", "LOCK TABLE image IN EXCLUSIVE MODE"],
        ),
    };
    let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
    for statement in statements {
        connection.execute(statement).await.unwrap();
    }
    connection
}

/// R58: killed with the data published and the record not written; with the record written and the answer maybe not
/// sent; with all bytes there and nothing published.
#[tokio::test(flavor = "multi_thread")]
async fn r58_killed_at_the_boundaries() {
    each_with(
        |settings| settings.image.upload_lease_seconds = 1,
        async |cloud| {
            cloud.shut().await;
            let data = pattern(3_000_000);
            let mut child = spawn(cloud);
            for round in 0..times(2, 20) {
                for boundary in ["before publishing", "before the commit", "after the commit"] {
                    let id = cloud.create(json!({})).await;
                    let feed = cloud.feed("member", &id, &[]);
                    for chunk in data.chunks(60_000) {
                        feed.send(chunk.to_vec()).await;
                    }
                    eventually("saving", async || cloud.show(&id).await["status"] == "saving").await;
                    let held = if boundary == "before the commit" { Some(lock(cloud).await) } else { None };
                    let Feed { sender, answer } = feed;
                    drop(sender);
                    match boundary {
                        "before publishing" => {}
                        "before the commit" => {
                            eventually("published", async || {
                                cloud.stored().iter().any(|name| !name.ends_with(".part"))
                            })
                            .await;
                        }
                        _ => eventually("active", async || cloud.show(&id).await["status"] == "active").await,
                    }
                    child.kill();
                    let answered = answer.await.unwrap().is_ok_and(|r| r.status() == 204);
                    if let Some(held) = held {
                        held.close().await.unwrap();
                    }
                    child = spawn(cloud);
                    let whole =
                        settles(cloud, &id, &data, answered, &format!("{boundary}, round {round}")).await;
                    match boundary {
                        "before the commit" => assert!(!whole, "nobody could commit"),
                        "after the commit" => assert!(whole, "a committed upload is lost"),
                        _ => {}
                    }
                    if !whole {
                        assert_eq!(cloud.upload("member", &id, data.clone()).await.0, 204);
                    }
                    assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
                    eventually("deleted", async || cloud.stored().is_empty()).await;
                }
            }
            child.kill();
        },
    )
    .await;
}
