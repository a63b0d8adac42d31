//! An image from its record to its end.

use crate::support::{PROJECT_A, each};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn whole_life() {
    each(async |cloud| {
        let id = "70a599e0-31e7-49b7-b260-868f441e862b";
        let request = cloud.call("member", Method::POST, "/v2/images").json(&json!({
            "id": id, "name": "im", "disk_format": "raw", "container_format": "bare",
            "hw_disk_bus": "virtio", "tags": ["a"]}));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()["location"], format!("{}/v2/images/{id}", cloud.base));
        assert_eq!(response.headers()["openstack-image-import-methods"], "glance-direct,web-download,copy-image,glance-download");
        let mut image: serde_json::Value = response.json().await.unwrap();
        let created_at = image["created_at"].take();
        let updated_at = image["updated_at"].take();
        assert_eq!(created_at, updated_at);
        let names: Vec<_> = image.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names[0], "hw_disk_bus", "custom properties come first");
        assert_eq!(
            image,
            json!({"hw_disk_bus": "virtio", "name": "im", "disk_format": "raw", "container_format": "bare",
                "visibility": "shared", "size": null, "virtual_size": null, "status": "queued", "checksum": null,
                "protected": false, "min_ram": 0, "min_disk": 0, "owner": PROJECT_A, "os_hidden": false,
                "os_hash_algo": null, "os_hash_value": null, "id": id, "created_at": null, "updated_at": null,
                "tags": ["a"], "self": format!("/v2/images/{id}"), "file": format!("/v2/images/{id}/file"),
                "schema": "/v2/schemas/image"})
        );

        let file = format!("/v2/images/{id}/file");
        let empty = cloud.call("member", Method::GET, &file).send().await.unwrap();
        assert_eq!(empty.status(), 204);
        let (status, _) = cloud.upload("member", id, b"DATA".to_vec()).await;
        assert_eq!(status, 204);
        let image = cloud.show(id).await;
        assert_eq!(image["status"], "active");
        assert_eq!((&image["size"], &image["virtual_size"]), (&json!(4), &json!(4)));
        assert_eq!(image["checksum"], "e44f9e348e41cb272efa87387728571b");
        assert_eq!(image["os_hash_algo"], "sha512");
        assert!(image["os_hash_value"].as_str().unwrap().starts_with("4ba7d4149c32f5cc"));
        let (status, error) = cloud.upload("member", id, b"DATA".to_vec()).await;
        assert_eq!(status, 409);
        assert!(
            error["message"].as_str().unwrap().starts_with("Image status transition from active to saving is not allowed")
        );

        let got = cloud.call("member", Method::GET, &file).send().await.unwrap();
        assert_eq!(got.status(), 200);
        assert_eq!(got.headers()["content-type"], "application/octet-stream");
        assert_eq!(got.headers()["content-md5"], "e44f9e348e41cb272efa87387728571b");
        assert_eq!(got.headers()["content-length"], "4");
        assert_eq!(got.bytes().await.unwrap(), "DATA");
        let part = cloud.call("member", Method::GET, &file).header("Range", "bytes=1-2").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], "bytes 1-2/4");
        assert_eq!(part.bytes().await.unwrap(), "AT");
        let beyond = cloud.call("member", Method::GET, &file).header("Range", "bytes=4-").send().await.unwrap();
        assert_eq!(beyond.status(), 416);

        let path = format!("/v2/images/{id}");
        assert_eq!(cloud.stored().len(), 1);
        assert_eq!(cloud.delete("member", &path).await, 204);
        assert!(cloud.stored().is_empty(), "the data goes with the record");
        let (status, error) = cloud.get("member", &path).await;
        assert_eq!(status, 404);
        assert_eq!(
            error,
            json!({"message": format!("No image found with ID {id}<br /><br />\n\n\n"), "code": "404 Not Found",
                "title": "Not Found"})
        );
        assert_eq!(cloud.delete("member", &path).await, 404);
        let (status, _) = cloud.post("member", "/v2/images", json!({"id": id})).await;
        assert_eq!(status, 409, "an id is never used again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery() {
    each(async |cloud| {
        for (path, status) in [("/", 300), ("/versions", 200), ("/v1/images", 300)] {
            let (got, body) = cloud.get("", path).await;
            assert_eq!(got, status, "{path}");
            let versions = body["versions"].as_array().unwrap();
            assert_eq!(versions.iter().filter(|v| v["status"] == "CURRENT").count(), 1);
            for version in versions {
                assert_eq!(version["links"][0]["href"], format!("{}/v2/", cloud.base));
                let (status, _) =
                    cloud.get("member", &format!("/{}/images", version["id"].as_str().unwrap())).await;
                assert_eq!(status, 200, "{version}");
            }
        }
        assert_eq!(cloud.get("", "/v2/").await.0, 401);
        assert_eq!(cloud.get("member", "/v2").await.0, 300);
        assert_eq!(cloud.get("member", "/v2/").await.0, 300);
        for schema in ["image", "images", "member", "members", "task", "tasks"] {
            let (status, body) = cloud.get("reader", &format!("/v2/schemas/{schema}")).await;
            assert_eq!((status.as_u16(), &body["name"]), (200, &json!(schema)));
        }
        let (_, schema) = cloud.get("reader", "/v2/schemas/image").await;
        assert_eq!(schema["additionalProperties"], json!({"type": "string"}));
        let head = cloud.call("member", Method::HEAD, "/v2/images").send().await.unwrap();
        assert_eq!(head.status(), 405);
        assert_eq!(head.headers()["allow"], "GET, POST");
        assert_eq!(cloud.get("", "/healthcheck").await.0, 200);
    })
    .await;
}
