//! Bodies and paths nobody in their right mind sends: 4xx, never 5xx, and nothing changes.

use crate::support::each;
use reqwest::Method;
use serde_json::{Value, json};

fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(1e308),
        json!(""),
        json!("x"),
        json!("\0"),
        json!("é\u{202e}\u{10ffff}"),
        json!("x".repeat(70_000)),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"a": {"b": "c"}}),
        json!(["\0"]),
        json!([null, 5]),
        json!("%s%n$(id)'; DROP TABLE image;--"),
        json!("../../../etc/passwd"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn create_with_any_value_anywhere() {
    each(async |cloud| {
        for name in [
            "id",
            "name",
            "disk_format",
            "container_format",
            "visibility",
            "owner",
            "min_disk",
            "min_ram",
            "protected",
            "os_hidden",
            "tags",
            "status",
            "size",
            "checksum",
            "locations",
            "kernel_id",
            "custom",
            "",
            "a\0b",
            "self",
            "schema",
        ] {
            for value in values() {
                let (status, body) = cloud.post("admin", "/v2/images", json!({name: value})).await;
                assert!(status == 201 || status.is_client_error(), "{name} = {value}: {status} {body}");
                if status == 201 {
                    let id = body["id"].as_str().unwrap();
                    assert_eq!(
                        cloud.show(id).await[name],
                        body[name],
                        "{name}: what is answered is what is stored"
                    );
                }
            }
        }
        for body in values() {
            assert!(cloud.post("admin", "/v2/images", body.clone()).await.0.as_u16() < 500, "{body}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bodies() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let bodies: Vec<Vec<u8>> = vec![
            b"".to_vec(),
            b"{bad".to_vec(),
            b"\xff\xfe".to_vec(),
            b"{\"name\": \"\\ud800\"}".to_vec(),
            vec![b'['; 50_000],
            b"{\"name\":1e999999}".to_vec(),
            b"null".to_vec(),
            vec![b' '; 200_000],
            format!("{{\"x\":{}1{}}}", "[".repeat(5000), "]".repeat(5000)).into_bytes(),
        ];
        let image = format!("/v2/images/{id}");
        for (method, path, kind) in [
            (Method::POST, "/v2/images".to_owned(), "application/json"),
            (Method::PATCH, image.clone(), "application/openstack-images-v2.1-json-patch"),
            (Method::PATCH, image.clone(), "application/openstack-images-v2.0-json-patch"),
            (Method::POST, format!("{image}/members"), "application/json"),
            (Method::PUT, format!("{image}/members/x"), "application/json"),
            (Method::POST, format!("{image}/import"), "application/json"),
        ] {
            for body in &bodies {
                let request = cloud.call("admin", method.clone(), &path).header("Content-Type", kind);
                let status = request.body(body.clone()).send().await.unwrap().status();
                let short = String::from_utf8_lossy(&body[..body.len().min(30)]).into_owned();
                assert!(status.is_client_error(), "{method} {path} {short}: {status}");
            }
            for value in values() {
                let request = cloud.call("admin", method.clone(), &path).header("Content-Type", kind);
                let status = request.body(value.to_string()).send().await.unwrap().status();
                assert!(status.as_u16() < 500, "{method} {path} {value}: {status}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_paths() {
    each(async |cloud| {
        for id in [
            "nosuch",
            "..",
            "%2e%2e%2f%2e%2e",
            "%00",
            "70A599E0-31E7-49B7-B260-868F441E862B",
            "70a599e031e749b7b260868f441e862b",
            "%F0%9F%92%A9",
            "{image_id}",
            "*",
            "'",
            "%27%20OR%201=1",
            "x".repeat(5000).as_str(),
        ] {
            for method in
                [Method::GET, Method::DELETE, Method::POST, Method::PUT, Method::PATCH, Method::HEAD]
            {
                for rest in ["", "/file", "/members", "/members/%00", "/tags/%00", "/actions/deactivate"] {
                    let path = format!("/v2/images/{id}{rest}");
                    let status = cloud.call("admin", method.clone(), &path).send().await.unwrap().status();
                    let fine = status.is_client_error() || path == "/v2/images/..";
                    assert!(fine || id == "..", "{method} {path}: {status}");
                    assert!(status.as_u16() < 500, "{method} {path}: {status}");
                }
            }
        }
        // An id is one id in either case.
        let id = cloud.create(json!({"id": "70A599E0-31E7-49B7-B260-868F441E862B"})).await;
        assert_eq!(cloud.get("admin", &format!("/v2/images/{}", id.to_uppercase())).await.0, 200);
        let (status, _) = cloud.post("admin", "/v2/images", json!({"id": id})).await;
        assert_eq!(status, 409);
        for range in ["bytes=", "bytes=0-0,1-1", "bytes=-", "bytes=99999999999999999999-", "x"] {
            let request =
                cloud.call("admin", Method::GET, &format!("/v2/images/{id}/file")).header("Range", range);
            assert!(request.send().await.unwrap().status().as_u16() < 500, "{range}");
        }
    })
    .await;
}
