//! L13: every way that the bytes of images take compares their hash; the list in the code is the list here.

use crate::{
    imports::{self, ended, failed, import, stage},
    locations::sha512,
    stores::{directory, stored, two_stores},
    support::{Cloud, each_with, eventually, pattern},
    web::{Web, with_length, write},
};
use ferrostack_image::verify::WAYS;
use ferrostack_settings::{ImageStore, ImageStoreKind, Settings};
use reqwest::Method;
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What reads stored data, or fetches data from elsewhere.
const READS: [&str; 7] = [
    "store.open(",
    "default.open(",
    "default().open(",
    "backend.open(",
    "locations::open(",
    "fetcher.get(",
    "fetcher.get_from_catalog(",
];

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// A place that reads image data and stands in no way was forgotten when the ways were told.
#[test]
fn l13_every_place_that_reads_belongs_to_a_way() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&top, &mut files);
    let found: BTreeSet<String> = files
        .iter()
        // How a store reads is no way; which data it reads says the caller.
        .filter(|path| !path.starts_with(top.join("stores")) && !path.starts_with(top.join("fetch")))
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            READS.iter().any(|read| text.contains(read))
        })
        .map(|path| path.strip_prefix(&top).unwrap().display().to_string())
        .collect();
    let listed: BTreeSet<String> =
        WAYS.iter().flat_map(|way| way.sources).map(|source| (*source).to_owned()).collect();
    assert_eq!(found, listed);
}

const THERE: &str = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c";

fn data() -> Vec<u8> {
    pattern(40_000)
}

/// The image's object in the default store, with one bit changed.
fn flip(cloud: &Cloud, id: &str) {
    let name = stored(cloud, "cheap").into_iter().find(|name| name.starts_with(id)).unwrap();
    let path = directory(cloud, "cheap").join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    std::fs::write(&path, data).unwrap();
    std::process::Command::new("gzip").arg("-c").arg(&path).output().unwrap().stdout
}

async fn download(cloud: &Cloud, id: &str) -> (u16, Vec<u8>) {
    let answer = cloud.call("member", Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
    (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
}

/// Another cloud whose record and data are of different hashes, if it lies; its identity service.
async fn other_cloud(lies: bool) -> Web {
    let says = if lies { sha512(b"other data") } else { sha512(&data()) };
    let glance = Web::start(move |head, stream| {
        let record = json!({"id": THERE, "status": "active", "size": data().len(), "disk_format": "raw",
            "container_format": "bare", "os_hash_algo": "sha512", "os_hash_value": says});
        let answer = match head.split(' ').nth(1) {
            Some(path) if path.ends_with("/file") => with_length(&data()),
            _ => with_length(record.to_string().as_bytes()),
        };
        write(stream, Arc::new(answer))
    })
    .await;
    let catalog = json!({"catalog": [{"type": "image", "name": "glance", "endpoints": [
        {"interface": "public", "region": "Two", "region_id": "Two", "url": glance.url("")}]}]});
    Web::data(catalog.to_string().as_bytes()).await
}

async fn with(change: impl Fn(&mut Settings), test: impl AsyncFn(&Cloud, &str)) {
    let change = |settings: &mut Settings| {
        imports::open(settings);
        two_stores(settings);
        change(settings);
    };
    each_with(change, async |cloud| {
        let id = cloud.create(json!({})).await;
        test(cloud, &id).await;
    })
    .await;
}

/// Data that was staged, and changed in its store since then, is refused.
async fn staged(change: impl Fn(&mut Settings), bytes: &[u8]) {
    with(change, async |cloud, id| {
        stage(cloud, id, bytes).await;
        flip(cloud, id);
        let body = json!({"method": {"name": "glance-direct"}, "stores": ["cheap", "fast"]});
        assert_eq!(import(cloud, "member", id, body).await.0, 202);
        failed(cloud, id, "The staged data is not what was uploaded.").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l13_every_way_compares_the_hash() {
    for way in WAYS {
        match way.name {
            "download" => {
                with(
                    |_| {},
                    async |cloud, id| {
                        assert_eq!(cloud.upload("member", id, data()).await.0, 204);
                        assert_eq!(download(cloud, id).await, (200, data()));
                        flip(cloud, id);
                        assert_eq!(download(cloud, id).await.0, 500);
                    },
                )
                .await;
            }
            "glance-direct" => staged(|_| {}, &data()).await,
            "unpacked on import" => {
                staged(|settings| settings.image.import.decompress = true, &gzip(&data())).await;
            }
            "converted on import" => {
                staged(|settings| settings.image.import.convert_to = Some("qcow2".into()), &data()).await;
            }
            "web-download" => {
                let web = Web::data(&data()).await;
                with(
                    |_| {},
                    async |cloud, id| {
                        let body = json!({"method": {"name": "web-download", "uri": web.url("/")}});
                        assert_eq!(import(cloud, "member", id, body).await.0, 202);
                        assert_eq!(ended(cloud, id).await["status"], "success");
                        assert_eq!(cloud.show(id).await["os_hash_value"], sha512(&data()));
                        flip(cloud, id);
                        assert_eq!(download(cloud, id).await.0, 500);
                    },
                )
                .await;
            }
            "glance-download" => {
                for lies in [false, true] {
                    let identity = other_cloud(lies).await;
                    let elsewhere =
                        |settings: &mut Settings| settings.credentials.auth_url = identity.url("/v3");
                    with(elsewhere, async |cloud, id| {
                        let body = json!({"method": {"name": "glance-download", "glance_region": "Two",
                            "glance_image_id": THERE}});
                        assert_eq!(import(cloud, "member", id, body).await.0, 202);
                        if lies {
                            failed(cloud, id, "not what the other image's hash says").await;
                        } else {
                            assert_eq!(ended(cloud, id).await["status"], "success");
                            assert_eq!(download(cloud, id).await, (200, data()));
                        }
                    })
                    .await;
                }
            }
            "copy-image" => {
                with(
                    |_| {},
                    async |cloud, id| {
                        assert_eq!(cloud.upload("member", id, data()).await.0, 204);
                        flip(cloud, id);
                        let body = json!({"method": {"name": "copy-image"}, "stores": ["fast"]});
                        assert_eq!(import(cloud, "admin", id, body).await.0, 202);
                        assert_eq!(ended(cloud, id).await["status"], "failure");
                        assert_eq!(cloud.show(id).await["stores"], "cheap");
                        eventually("the copy is gone", async || stored(cloud, "fast").is_empty()).await;
                    },
                )
                .await;
            }
            "location" => {
                let web = Web::data(&data()).await;
                let to_web = |settings: &mut Settings| {
                    let http = ImageStore { kind: ImageStoreKind::Http, ..Default::default() };
                    settings.image.storage.stores.insert("web".into(), http);
                    settings.image.storage.show_multiple_locations = true;
                };
                with(to_web, async |cloud, id| {
                    let hash = json!({"os_hash_algo": "sha512", "os_hash_value": sha512(b"other data")});
                    let body = json!({"url": web.url("/image"), "validation_data": hash});
                    let (status, text) =
                        cloud.post("member", &format!("/v2/images/{id}/locations"), body).await;
                    assert_eq!(status, 202, "{text}");
                    assert_eq!(ended(cloud, id).await["status"], "failure");
                    let image = cloud.show(id).await;
                    assert_eq!((&image["status"], &image["locations"]), (&json!("queued"), &json!([])));
                })
                .await;
            }
            other => panic!("nobody tries {other}"),
        }
    }
}
