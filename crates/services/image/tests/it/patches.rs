//! PATCH, tags, and what clients may set.

use crate::support::each;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn rules() {
    each(async |cloud| {
        let id = cloud.create(json!({"hw_disk_bus": "virtio", "tags": ["a"]})).await;
        let (status, image) = cloud
            .patch(
                "member",
                &id,
                json!([
                    {"op": "add", "path": "/foo", "value": "bar"},
                    {"op": "replace", "path": "/name", "value": "n2"},
                    {"op": "add", "path": "/a~1b~0c", "value": "odd"},
                    {"op": "remove", "path": "/hw_disk_bus"},
                    {"op": "replace", "path": "/tags", "value": ["b", "c"]},
                    {"op": "replace", "path": "/min_ram", "value": 64},
                    {"op": "replace", "path": "/visibility", "value": "private"},
                    {"op": "add", "path": "/os_hidden", "value": true},
                    {"op": "replace", "path": "/disk_format", "value": "qcow2"},
                ]),
            )
            .await;
        assert_eq!(status, 200, "{image}");
        for (name, value) in [
            ("foo", json!("bar")), ("name", json!("n2")), ("a/b~c", json!("odd")), ("hw_disk_bus", Value::Null),
            ("tags", json!(["b", "c"])), ("min_ram", json!(64)), ("visibility", json!("private")), ("os_hidden", json!(true)),
            ("disk_format", json!("qcow2")),
        ] {
            assert_eq!(image[name], value, "{name}");
        }
        let before = cloud.show(&id).await;
        let op = |op: &str, path: &str, value: Value| json!([{"op": op, "path": path, "value": value}]);
        for (body, status, text) in [
            (op("replace", "/status", json!("x")), 403, "Attribute 'status' is read-only."),
            (op("replace", "/id", json!("x")), 403, "read-only"),
            (op("add", "/checksum", json!("x")), 403, "read-only"),
            (op("add", "/file", json!("x")), 403, "read-only"),
            (op("replace", "/locations", json!([])), 403, "reserved"),
            (op("add", "/deleted", json!("x")), 403, "reserved"),
            (op("replace", "/nosuch", json!("x")), 409, "Property nosuch does not exist."),
            (json!([{"op": "remove", "path": "/nosuch"}]), 409, "does not exist"),
            (json!([{"op": "remove", "path": "/name"}]), 403, "may not be removed"),
            (op("replace", "/visibility", json!("public")), 403, "not authorized"),
            (op("replace", "/visibility", json!("x")), 400, "is not one of"),
            (op("replace", "/owner", json!("x")), 403, "owner"),
            (op("replace", "/protected", json!("yes")), 400, "is not of type &#x27;boolean&#x27;"),
            (op("replace", "/min_disk", json!(-1)), 400, "less than the minimum"),
            (op("replace", "/min_disk", json!(1_u64 << 40)), 400, "greater than"),
            (op("add", "/foo", json!(5)), 400, "is not of type &#x27;string&#x27;"),
            (op("add", "/foo", json!("\0")), 400, "NUL"),
            (op("add", "/n\u{0}", json!("x")), 400, "NUL"),
            (op("replace", "/name", json!("x".repeat(256))), 400, "too long"),
            (op("add", &format!("/{}", "x".repeat(256)), json!("x")), 400, "1 to 255"),
            (op("add", "/a/b", json!("x")), 400, "Invalid JSON pointer"),
            (op("add", "/a/b/c", json!("x")), 400, "too many parts"),
            (op("add", "name", json!("x")), 400, "does not start"),
            (op("add", "/", json!("x")), 400, "Pointer"),
            (op("add", "/a~2", json!("x")), 400, "escape"),
            (op("move", "/name", json!("x")), 400, "must be one of"),
            (json!([{"op": "add", "path": "/x"}]), 400, "value"),
            (json!([{"path": "/x"}]), 400, "op"),
            (json!([5]), 400, "objects"),
            (json!({}), 400, "array"),
            (op("replace", "/container_format", json!("ami")), 400, "Invalid mix"),
            (op("replace", "/tags", json!((0..129).map(|i| i.to_string()).collect::<Vec<_>>())), 413, "Maximum: 128"),
            (
                Value::Array((0..128).map(|i| json!({"op": "add", "path": format!("/p{i}"), "value": "x"})).collect()),
                413,
                "Maximum: 128",
            ),
            // All or nothing.
            (json!([{"op": "replace", "path": "/name", "value": "n3"}, {"op": "remove", "path": "/nosuch"}]), 409, ""),
        ] {
            let (got, error) = cloud.patch("member", &id, body.clone()).await;
            assert_eq!(got, status, "{body}: {error}");
            let unescaped = error["message"].as_str().unwrap().to_owned();
            assert!(
                unescaped.contains(text) || unescaped.replace("&#x27;", "'").contains(text),
                "{body}: {unescaped}"
            );
        }
        assert_eq!(cloud.show(&id).await, before, "what is refused changes nothing");
        assert_eq!(cloud.patch("reader", &id, op("replace", "/name", json!("x"))).await.0, 403);
        assert_eq!(cloud.patch("admin", &id, op("replace", "/visibility", json!("public"))).await.0, 200);
        assert_eq!(cloud.patch("other", &id, op("replace", "/name", json!("x"))).await.0, 403);
        assert_eq!(cloud.patch("admin", &id, op("replace", "/owner", json!("someone"))).await.0, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_types() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let path = format!("/v2/images/{id}");
        let send = async |kind: &str, body: &str| {
            let request = cloud.call("member", Method::PATCH, &path).header("Content-Type", kind);
            request.body(body.to_owned()).send().await.unwrap()
        };
        let refused = send("application/json", "[]").await;
        assert_eq!(refused.status(), 415);
        assert_eq!(
            refused.headers()["accept-patch"],
            "application/openstack-images-v2.0-json-patch, application/openstack-images-v2.1-json-patch"
        );
        let old = "application/openstack-images-v2.0-json-patch";
        assert_eq!(send(old, r#"[{"replace": "/name", "value": "old"}]"#).await.status(), 200);
        assert_eq!(cloud.show(&id).await["name"], "old");
        assert_eq!(send(old, r#"[{"replace": "/name", "add": "/x", "value": "old"}]"#).await.status(), 400);
        let new = "application/openstack-images-v2.1-json-patch";
        assert_eq!(send(new, r#"[{"replace": "/name", "value": "old"}]"#).await.status(), 400);
        assert_eq!(send(new, "[").await.status(), 400);
        assert_eq!(send(&format!("{new}; charset=UTF-8"), "[]").await.status(), 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_and_formats_once_active() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        assert_eq!(cloud.upload("member", &id, vec![1]).await.0, 204);
        let set = |path: &str, value: Value| json!([{"op": "replace", "path": path, "value": value}]);
        assert_eq!(cloud.patch("member", &id, set("/disk_format", json!("qcow2"))).await.0, 403);
        assert_eq!(cloud.patch("member", &id, set("/protected", json!(true))).await.0, 200);
        let path = format!("/v2/images/{id}");
        let response = cloud.call("member", Method::DELETE, &path).send().await.unwrap();
        assert_eq!(response.status(), 403);
        let text = response.text().await.unwrap();
        assert!(text.contains(&format!("Image {id} is protected and cannot be deleted.")), "{text}");
        assert!(text.starts_with("<html>"), "HTML unless JSON is asked for");
        assert_eq!(cloud.patch("member", &id, set("/protected", json!(false))).await.0, 200);
        assert_eq!(cloud.delete("member", &path).await, 204);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let call = async |method: Method, token: &str, tag: &str| {
            let path = format!("/v2/images/{id}/tags/{tag}");
            cloud.call(token, method, &path).send().await.unwrap().status().as_u16()
        };
        assert_eq!(call(Method::PUT, "member", "a%20b").await, 204);
        assert_eq!(call(Method::PUT, "member", "a%20b").await, 204);
        assert_eq!(cloud.show(&id).await["tags"], json!(["a b"]));
        assert_eq!(call(Method::PUT, "reader", "x").await, 403);
        assert_eq!(call(Method::PUT, "member", &"x".repeat(256)).await, 400);
        assert_eq!(call(Method::PUT, "member", "%00").await, 400);
        assert_eq!(call(Method::DELETE, "member", "a%20b").await, 204);
        assert_eq!(call(Method::DELETE, "member", "a%20b").await, 404);
        // Many at once: none is lost.
        let calls = (0..12).map(|i| call(Method::PUT, "member", ["a", "b", "c", "d"][i % 4]));
        let mut statuses = futures_util::future::join_all(calls).await;
        statuses.dedup();
        assert_eq!(statuses, [204]);
        assert_eq!(cloud.show(&id).await["tags"], json!(["a", "b", "c", "d"]));
    })
    .await;
}
