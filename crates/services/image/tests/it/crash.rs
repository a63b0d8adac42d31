//! kill -9 at any byte of an upload, with the service as a process of its own.

use crate::support::{Cloud, each_with, eventually, serve_forever};
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method};
use serde_json::json;
use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Not a test: what [`killed_at_any_byte`] starts and kills. Also `cargo test -- --ignored` to try things by hand.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by killed_at_any_byte"]
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

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_byte() {
    each_with(
        |settings| settings.image.upload_lease_seconds = 1,
        async |cloud| {
            cloud.shut().await;
            let data: Vec<u8> =
                (0..4_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let mut seed = 42_u64;
            let mut random = |below: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) % below
            };
            let mut child = spawn(cloud);
            let mut id = cloud.create(json!({})).await;
            let (mut finished, mut broken) = (0, 0);
            for round in 0..14 {
                // Half of the kills while bytes come, half around the end: sync, rename, commit, answer.
                let sent = if round % 2 == 0 { random(data.len() as u64) as usize } else { data.len() };
                let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, Infallible>>(1);
                let body =
                    stream::unfold(receiver, |mut r| async move { r.recv().await.map(|item| (item, r)) });
                let request = cloud
                    .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
                    .header("Content-Type", "application/octet-stream")
                    .body(Body::wrap_stream(body.boxed()));
                let upload = tokio::spawn(request.send());
                for chunk in data[..sent].chunks(60_000) {
                    sender.send(Ok(chunk.to_vec())).await.unwrap();
                }
                if sent == data.len() {
                    drop(sender);
                    tokio::time::sleep(Duration::from_micros(random(150_000))).await;
                }
                child.kill();
                let answered = upload.await.unwrap().is_ok_and(|r| r.status() == 204);
                child = spawn(cloud);
                eventually("settled", async || cloud.show(&id).await["status"] != "saving").await;
                let image = cloud.show(&id).await;
                if image["status"] == "active" {
                    finished += 1;
                    let file = format!("/v2/images/{id}/file");
                    let got =
                        cloud.call("member", Method::GET, &file).send().await.unwrap().bytes().await.unwrap();
                    assert!(got == data, "round {round}: active means whole");
                    assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
                    id = cloud.create(json!({})).await;
                } else {
                    broken += 1;
                    assert!(!answered, "round {round}: an answered upload is lost");
                    assert_eq!(image["status"], "queued");
                    assert!(image["checksum"].is_null() && image["size"].is_null());
                }
                eventually("nothing is left", async || cloud.stored().is_empty()).await;
            }
            assert_eq!(cloud.upload("member", &id, data.clone()).await.0, 204);
            child.kill();
            eprintln!("{broken} uploads broken, {finished} finished before the kill");
            assert!(broken >= 7);
        },
    )
    .await;
}
