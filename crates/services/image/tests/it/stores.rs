//! Several stores at once.

use crate::support::{Cloud, each, each_with, eventually};
use ferrostack_settings::{ImageStore, Settings};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::path::PathBuf;

/// Two directories: `cheap` is the default, `fast` is read first.
pub fn two_stores(settings: &mut Settings) {
    let image = &mut settings.image;
    let store = |name: &str, weight: i64| ImageStore {
        description: format!("the {name} one"),
        weight,
        directory: Some(image.store_directory.with_file_name(name)),
        ..Default::default()
    };
    let stores = [("cheap", store("cheap", 1)), ("fast", store("fast", 7))];
    image.storage.stores = stores.map(|(id, store)| (id.to_owned(), store)).into();
    image.storage.default_store = "cheap".into();
}

/// The directory of a store.
pub fn directory(cloud: &Cloud, id: &str) -> PathBuf {
    cloud.settings.image.storage.stores[id].directory.clone().unwrap()
}

/// The names of what lies in a store.
pub fn stored(cloud: &Cloud, id: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory(cloud, id)).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Uploads into a store.
pub async fn upload_to(cloud: &Cloud, store: &str, id: &str, data: &[u8]) -> (StatusCode, String) {
    let response = cloud
        .call("member", Method::PUT, &format!("/v2/images/{id}/file"))
        .header("Content-Type", "application/octet-stream")
        .header("x-image-meta-store", store)
        .body(data.to_vec())
        .send()
        .await
        .unwrap();
    (response.status(), response.text().await.unwrap())
}

/// Puts a copy of the image's data in `cheap` into `fast`, as a copying import does.
pub async fn copy_to_fast(cloud: &Cloud, id: &str) {
    let name = stored(cloud, "cheap").into_iter().find(|n| n.starts_with(id)).unwrap();
    let copy = format!("{id}.{}", "d".repeat(32));
    let statement = "INSERT INTO image_location (id, image_id, position, store, name, metadata, status, created_at) \
                     VALUES ($1, $2, 1, 'fast', $3, '{}', 'active', 1)";
    // The claim first: what no record names is swept at any moment.
    cloud.sql(statement, &[&format!("copy-{id}"), id, &copy]).await;
    std::fs::copy(directory(cloud, "cheap").join(name), directory(cloud, "fast").join(&copy)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_are_told() {
    each_with(two_stores, async |cloud| {
        let request = cloud.call("member", Method::POST, "/v2/images").json(&json!({}));
        assert_eq!(request.send().await.unwrap().headers()["openstack-image-store-ids"], "cheap,fast");
        let (status, stores) = cloud.get("reader", "/v2/info/stores").await;
        assert_eq!(status, 200);
        assert_eq!(
            stores,
            json!({"stores": [{"id": "cheap", "description": "the cheap one", "default": "true"},
                {"id": "fast", "description": "the fast one"}]})
        );
        assert_eq!(cloud.get("member", "/v2/info/stores/detail").await.0, 403);
        let (status, stores) = cloud.get("admin", "/v2/info/stores/detail").await;
        assert_eq!(status, 200);
        let fast = &stores["stores"][1];
        assert_eq!((&fast["type"], &fast["weight"]), (&json!("file"), &json!(7)));
        assert_eq!(fast["properties"]["data_dir"], directory(cloud, "fast").display().to_string());

        let id = cloud.create(json!({})).await;
        assert!(cloud.show(&id).await.get("stores").is_none());
        let (status, error) = upload_to(cloud, "slow", &id, b"DATA").await;
        assert_eq!(status, 400);
        assert!(error.contains("Store for identifier slow not found"), "{error}");
        assert_eq!(cloud.show(&id).await["status"], "queued");
        assert_eq!(upload_to(cloud, "fast", &id, b"DATA").await.0, 204);
        assert_eq!((stored(cloud, "fast").len(), stored(cloud, "cheap").len()), (1, 0));
        let image = cloud.show(&id).await;
        assert_eq!(image["stores"], "fast");
        assert!(image.get("locations").is_none() && image.get("direct_url").is_none());
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        assert!(stored(cloud, "fast").is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_store_is_not_spoken_of() {
    each(async |cloud| {
        let request = cloud.call("member", Method::POST, "/v2/images").json(&json!({}));
        assert!(!request.send().await.unwrap().headers().contains_key("openstack-image-store-ids"));
        for path in ["/v2/info/stores", "/v2/info/stores/detail"] {
            let (status, error) = cloud.get("admin", path).await;
            assert_eq!(status, 404);
            assert!(
                error["message"]
                    .as_str()
                    .unwrap()
                    .starts_with("Multi backend is not supported at this site.")
            );
        }
        let id = cloud.create(json!({})).await;
        assert_eq!(upload_to(cloud, "anything", &id, b"DATA").await.0, 204);
        let image = cloud.show(&id).await;
        for name in ["stores", "locations", "direct_url"] {
            assert!(image.get(name).is_none(), "{image}");
        }
        assert_eq!(cloud.delete("admin", &format!("/v2/stores/file/{id}")).await, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_copy_goes_and_never_the_last() {
    each_with(two_stores, async |cloud| {
        let id = cloud.create(json!({})).await;
        let from = |store: &str| format!("/v2/stores/{store}/{id}");
        assert_eq!(cloud.delete("admin", &from("cheap")).await, 409, "queued");
        assert_eq!(cloud.upload("member", &id, b"DATA".to_vec()).await.0, 204);
        assert_eq!(cloud.delete("admin", &from("cheap")).await, 403, "the only one");
        copy_to_fast(cloud, &id).await;
        assert_eq!(cloud.show(&id).await["stores"], "fast,cheap", "by weight");
        assert_eq!(cloud.delete("member", &from("cheap")).await, 403);
        assert_eq!(cloud.delete("other", &from("cheap")).await, 404);
        assert_eq!(cloud.delete("admin", &from("slow")).await, 409);
        assert_eq!(cloud.delete("admin", "/v2/stores/fast/x").await, 404);
        assert_eq!(cloud.delete("admin", &from("cheap")).await, 204);
        assert_eq!((stored(cloud, "fast").len(), stored(cloud, "cheap").len()), (1, 0));
        let image = cloud.show(&id).await;
        assert_eq!((&image["stores"], &image["status"]), (&json!("fast"), &json!("active")));
        assert_eq!(cloud.delete("admin", &from("cheap")).await, 403);
        assert_eq!(cloud.delete("admin", &from("fast")).await, 403);
        let file = format!("/v2/images/{id}/file");
        let got = cloud.call("member", Method::GET, &file).send().await.unwrap();
        assert_eq!(got.bytes().await.unwrap(), "DATA");
    })
    .await;
}

/// Of two that remove different copies at once, one does.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_copy_survives_any_race() {
    each_with(two_stores, async |cloud| {
        for _ in 0..8 {
            let id = cloud.create(json!({})).await;
            assert_eq!(cloud.upload("member", &id, b"DATA".to_vec()).await.0, 204);
            copy_to_fast(cloud, &id).await;
            let calls = ["cheap", "fast"].map(|store| {
                let path = format!("/v2/stores/{store}/{id}");
                let cloud = &*cloud;
                async move { cloud.delete("admin", &path).await.as_u16() }
            });
            let mut done = futures_util::future::join_all(calls).await;
            done.sort_unstable();
            assert_eq!(done, [204, 403]);
            let got =
                cloud.call("member", Method::GET, &format!("/v2/images/{id}/file")).send().await.unwrap();
            assert_eq!(got.bytes().await.unwrap(), "DATA");
        }
    })
    .await;
}

/// A copy that is missing or cannot be reached does not matter while there is another.
#[tokio::test(flavor = "multi_thread")]
async fn another_copy_is_read() {
    each_with(two_stores, async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, b"DATA".to_vec()).await.0, 204);
        copy_to_fast(cloud, &id).await;
        let file = format!("/v2/images/{id}/file");
        let get = async || {
            let got = cloud.call("member", Method::GET, &file).send().await.unwrap();
            (got.status().as_u16(), got.bytes().await.unwrap())
        };
        std::fs::remove_file(directory(cloud, "fast").join(&stored(cloud, "fast")[0])).unwrap();
        assert_eq!(get().await, (200, "DATA".into()));
        std::fs::remove_file(directory(cloud, "cheap").join(&stored(cloud, "cheap")[0])).unwrap();
        assert_eq!(get().await.0, 500);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_of_all_stores_are_swept() {
    each_with(two_stores, async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(upload_to(cloud, "fast", &id, b"DATA").await.0, 204);
        let kept = stored(cloud, "fast");
        for store in ["cheap", "fast"] {
            std::fs::write(directory(cloud, store).join(format!("{id}.{}", "e".repeat(32))), "nobody's")
                .unwrap();
            std::fs::write(directory(cloud, store).join(format!("{id}.{}.part", "f".repeat(32))), "half")
                .unwrap();
        }
        eventually("swept", async || stored(cloud, "cheap").is_empty() && stored(cloud, "fast") == kept)
            .await;
    })
    .await;
}

/// R69: the backend refuses to remove, five rounds and more; the record goes at once, the data when it can.
#[tokio::test(flavor = "multi_thread")]
async fn r69_what_cannot_be_removed_is_retried_until_gone() {
    each_with(two_stores, async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(upload_to(cloud, "fast", &id, b"DATA").await.0, 204);
        let file = directory(cloud, "fast").join(&stored(cloud, "fast")[0]);
        let bytes = std::fs::read(&file).unwrap();
        // A directory in its place cannot be unlinked, not even by root.
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert_eq!(cloud.delete("member", &format!("/v2/images/{id}")).await, 204);
        assert_eq!(cloud.get("member", &format!("/v2/images/{id}")).await.0, 404);
        for _ in 0..5 {
            cloud.shut().await;
            cloud.boot().await;
            assert_eq!(condemned(cloud).await, 1, "still to be removed");
        }
        std::fs::remove_dir(&file).unwrap();
        std::fs::write(&file, bytes).unwrap();
        eventually("gone", async || stored(cloud, "fast").is_empty() && condemned(cloud).await == 0).await;
    })
    .await;
}

async fn condemned(cloud: &Cloud) -> u64 {
    cloud.sql("UPDATE image_location SET position = position WHERE status = 'deleting'", &[]).await
}

/// What an older version stored is where it was.
#[tokio::test(flavor = "multi_thread")]
async fn the_migration_moves_files_into_locations() {
    use ferrostack_db::sqlx::{self, Connection, Executor, Row};
    let old =
        [include_str!("../../migrations/0001_images.sql"), include_str!("../../migrations/0002_tasks.sql")];
    let rows = "INSERT INTO image (id, status, visibility, min_disk, min_ram, protected, os_hidden, file, created_at, \
                updated_at, generation) VALUES ('a', 'active', 'shared', 0, 0, 0, 0, 'fa', 1, 1, 1), \
                ('b', 'deactivated', 'shared', 0, 0, 0, 0, 'fb', 1, 1, 1), \
                ('c', 'deleted', 'shared', 0, 0, 0, 0, 'fc', 1, 1, 1), \
                ('d', 'uploading', 'shared', 0, 0, 0, 0, 'fd', 1, 1, 1), \
                ('e', 'queued', 'shared', 0, 0, 0, 0, NULL, 1, 1, 1)";
    each(async |cloud| {
        sqlx::any::install_default_drivers();
        let sqlite = cloud.settings.database.url.starts_with("sqlite");
        let url = if sqlite { "sqlite::memory:" } else { &cloud.settings.database.url };
        let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
        if !sqlite {
            connection.execute("CREATE SCHEMA older").await.unwrap();
            connection.execute("SET search_path TO older").await.unwrap();
        }
        for text in [old[0], old[1], rows, include_str!("../../migrations/0003_locations.sql")] {
            connection.execute(sqlx::raw_sql(text)).await.unwrap();
        }
        let found = sqlx::query("SELECT image_id, store, name, status FROM image_location ORDER BY image_id");
        let found: Vec<Vec<String>> = found
            .fetch_all(&mut connection)
            .await
            .unwrap()
            .iter()
            .map(|row| (0..4).map(|i| row.get(i)).collect())
            .collect();
        assert_eq!(
            found,
            [["a", "file", "fa", "active"], ["b", "file", "fb", "active"], ["c", "file", "fc", "deleting"]]
        );
        let left =
            sqlx::query("SELECT id, file FROM image WHERE file IS NOT NULL").fetch_all(&mut connection).await;
        let left: Vec<(String, String)> = left.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(left, [("d".to_owned(), "fd".to_owned())]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let complaint = async |change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::default();
        settings.database.url = format!("sqlite:{}", directory.path().display());
        settings.image.listen = "127.0.0.1:0".parse().unwrap();
        settings.image.store_directory = directory.path().join("images");
        two_stores(&mut settings);
        change(&mut settings);
        match crate::support::start(&settings).await {
            Ok(_) => String::new(),
            Err(error) => error.for_log().to_string(),
        }
    };
    let same: PathBuf = directory.path().join("cheap");
    type Change<'a> = &'a dyn Fn(&mut Settings);
    let cases: [(Change<'_>, &str); 4] = [
        (&|s| s.image.storage.default_store = "gold".into(), "there is no store gold"),
        (
            &|s| s.image.storage.stores.get_mut("fast").unwrap().directory = None,
            "stores.fast: needs a directory",
        ),
        (
            &|s| s.image.storage.stores.get_mut("fast").unwrap().directory = Some(same.clone()),
            "stores.fast: is the same place as cheap",
        ),
        (
            &|s| {
                let store = s.image.storage.stores["fast"].clone();
                s.image.storage.stores.insert("a,b".into(), store);
            },
            "stores.a,b: an id has",
        ),
    ];
    for (change, expected) in cases {
        let complaint = complaint(change).await;
        assert!(complaint.contains(expected), "{complaint}");
    }
}
