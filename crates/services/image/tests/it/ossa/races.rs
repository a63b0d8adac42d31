//! Two changes of one image at once: what remains is what one order of them would have left.

use crate::support::{Cloud, each, eventually, times};
use reqwest::Method;
use serde_json::json;

const CHANGES: [&str; 8] =
    ["delete", "rename", "upload", "deactivate", "reactivate", "member", "tag", "protect"];

async fn change(cloud: &Cloud, id: &str, what: &str) -> u16 {
    let path = format!("/v2/images/{id}");
    let patch = |path: &str, value| json!([{"op": "replace", "path": path, "value": value}]);
    match what {
        "delete" => cloud.delete("admin", &path).await.as_u16(),
        "rename" => cloud.patch("admin", id, patch("/name", json!("renamed"))).await.0.as_u16(),
        "upload" => cloud.upload("admin", id, b"whole".to_vec()).await.0.as_u16(),
        "member" => cloud
            .post("admin", &format!("{path}/members"), json!({"member": "b".repeat(32)}))
            .await
            .0
            .as_u16(),
        "tag" => cloud
            .call("admin", Method::PUT, &format!("{path}/tags/t"))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        "protect" => cloud.patch("admin", id, patch("/protected", json!(true))).await.0.as_u16(),
        action => {
            let path = format!("{path}/actions/{action}");
            cloud.call("admin", Method::POST, &path).send().await.unwrap().status().as_u16()
        }
    }
}

/// M10, M12, I01: every pair of changes, with and without data; nothing breaks and nothing stays halfway.
#[tokio::test(flavor = "multi_thread")]
async fn m10_i01_every_pair_of_changes_ends_as_one_order_of_them() {
    let rounds = times(1, 100);
    each(async |cloud| {
        for (i, a) in CHANGES.iter().enumerate() {
            for b in &CHANGES[i..] {
                for round in 0..rounds {
                    for with_data in [false, true] {
                        let id = cloud.create(json!({"visibility": "shared"})).await;
                        if with_data {
                            assert_eq!(cloud.upload("admin", &id, b"first".to_vec()).await.0, 204);
                        }
                        let here: &Cloud = cloud;
                        let said = tokio::join!(change(here, &id, a), change(here, &id, b));
                        let what = format!("{a} and {b}, data: {with_data}, round {round}: {said:?}");
                        assert!(said.0 < 500 && said.1 < 500, "{what}");
                        let (status, image) = cloud.get("admin", &format!("/v2/images/{id}")).await;
                        let deleted = (*a == "delete" && said.0 == 204) || (*b == "delete" && said.1 == 204);
                        assert_eq!(status == 404, deleted, "{what}: {image}");
                        if deleted {
                            continue;
                        }
                        let state = image["status"].as_str().unwrap();
                        assert!(matches!(state, "queued" | "active" | "deactivated"), "{what}: {image}");
                        assert_eq!(image["size"].is_null(), state == "queued", "{what}: {image}");
                        let renamed = (*a == "rename" && said.0 == 200) || (*b == "rename" && said.1 == 200);
                        assert_eq!(image["name"] == "renamed", renamed, "{what}: {image}");
                        let uploaded = [(a, said.0), (b, said.1)]
                            .iter()
                            .filter(|(n, s)| **n == "upload" && *s == 204)
                            .count();
                        assert!(uploaded <= usize::from(!with_data), "{what}: two contents");
                        if state == "active" {
                            let path = format!("/v2/images/{id}/file");
                            let answer = cloud.call("admin", Method::GET, &path).send().await.unwrap();
                            let bytes = answer.bytes().await.unwrap();
                            assert_eq!(
                                &bytes[..],
                                if with_data { &b"first"[..] } else { &b"whole"[..] },
                                "{what}"
                            );
                        }
                    }
                }
            }
        }
        // Every image goes, and then there is nothing left.
        let (_, list) = cloud.get("admin", "/v2/images?limit=1000").await;
        for image in list["images"].as_array().unwrap() {
            let id = image["id"].as_str().unwrap();
            let patch = json!([{"op": "replace", "path": "/protected", "value": false}]);
            assert_eq!(cloud.patch("admin", id, patch).await.0, 200);
            assert_eq!(cloud.delete("admin", &format!("/v2/images/{id}")).await, 204);
        }
        eventually("the store is empty", async || !cloud.stored().iter().any(|name| name.len() > 36)).await;
    })
    .await;
}

/// M10: creations with one id; one is made.
#[tokio::test(flavor = "multi_thread")]
async fn m10_one_of_ten_creations_with_an_id_is_made() {
    each(async |cloud| {
        for n in 0..times(3, 100) {
            let id = format!("0a1b2c3d-0000-4000-8000-{n:012x}");
            let here: &Cloud = cloud;
            let made = futures_util::future::join_all((0..10).map(|i| {
                let body = json!({"id": id, "name": format!("n{i}"), "disk_format": "raw", "container_format": "bare"});
                here.post("member", "/v2/images", body)
            }))
            .await;
            let ok: Vec<_> = made.iter().filter(|(status, _)| *status == 201).collect();
            assert_eq!(ok.len(), 1, "{made:?}");
            assert!(made.iter().all(|(status, _)| *status == 201 || *status == 409), "{made:?}");
            assert_eq!(cloud.show(&id).await["name"], ok[0].1["name"]);
        }
    })
    .await;
}
