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
            (op("replace", "/locations", json!([])), 403, "It's not allowed to update locations if locations are invisible."),
            (op("add", "/deleted", json!("x")), 403, "reserved"),
            (op("replace", "/nosuch", json!("x")), 409, "There was a conflict when trying to complete your request.<br /><br />\nProperty nosuch does not exist.\n\n"),
            (json!([{"op": "remove", "path": "/nosuch"}]), 409, "Property nosuch does not exist."),
            (json!([{"op": "remove", "path": "/name"}]), 403, "Access was denied to this resource.<br /><br />\nProperty name may not be removed.\n\n"),
            (op("replace", "/visibility", json!("public")), 403, "You are not authorized to complete publicize_image action."),
            (op("replace", "/visibility", json!("x")), 400, "is not one of"),
            (op("replace", "/owner", json!("x")), 403, "Owner can't be updated by non admin."),
            (op("add", "/owner", json!("x")), 403, "Owner can't be updated by non admin."),
            (op("replace", "/protected", json!("yes")), 400, "is not of type &#x27;boolean&#x27;"),
            (op("replace", "/min_disk", json!(-1)), 400, "less than the minimum"),
            (op("replace", "/min_disk", json!(1_u64 << 40)), 400, "greater than"),
            (op("add", "/foo", json!(5)), 400, "is not of type &#x27;string&#x27;"),
            (op("add", "/foo", json!("\0")), 400, "NUL"),
            (op("add", "/n\u{0}", json!("x")), 400, "NUL"),
            (op("replace", "/name", json!("x".repeat(256))), 400, "too long"),
            (op("add", &format!("/{}", "x".repeat(256)), json!("x")), 400, "Custom property should not be greater than 255 characters."),
            (op("add", "/a/b", json!("x")), 400, "Invalid JSON pointer for this resource: '/a/b'"),
            (op("add", "/a/b/c", json!("x")), 400, "Invalid JSON pointer for this resource: '/a/b/c'"),
            (op("add", "/tags/0/x", json!("x")), 400, "Invalid JSON pointer for this resource: '/tags/0/x'"),
            (op("add", "name", json!("x")), 400, "Pointer `name` does not start with &quot;/&quot;."),
            (op("add", "/", json!("x")), 400, "Invalid JSON pointer for this resource: '/'"),
            (op("add", "/a/", json!("x")), 400, "Pointer `/a/` end with &quot;/&quot;."),
            (op("add", "/a//b", json!("x")), 400, "Pointer `/a//b` contains adjacent &quot;/&quot;."),
            (op("add", "/a~2", json!("x")), 400, "Pointer `/a~2` contains &quot;~&quot; not part of a recognized escape sequence."),
            (op("add", "/a~", json!("x")), 400, "not part of a recognized escape sequence."),
            (op("move", "/name", json!("x")), 400, "Invalid operation: `move`. It must be one of the following: add, remove, replace."),
            (json!([{"op": "add", "path": "/x"}]), 400, "Operation &quot;add&quot; requires a member named &quot;value&quot;."),
            (json!([{"op": "add", "value": "x"}]), 400, "Unable to find 'path' in JSON Schema change"),
            (json!([{"path": "/x"}]), 400, "Unable to find `op` in JSON Schema change. It must be one of the following: add, remove, replace."),
            (json!([5]), 400, "Operations must be JSON objects."),
            (json!({}), 400, "Request body must be a JSON array of operation objects."),
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
        assert_eq!(send(old, r#"[{"value": "old"}]"#).await.status(), 400);
        assert_eq!(send(old, r#"[{"add": "/p", "value": "1"}]"#).await.status(), 200);
        // In this form what is there is not added again.
        for there in ["p", "name"] {
            let refused = send(old, &format!(r#"[{{"add": "/{there}", "value": "2"}}]"#)).await;
            assert_eq!(refused.status(), 409);
            assert!(refused.text().await.unwrap().contains(&format!("Property {there} already present.")));
        }
        assert_eq!(send(old, r#"[{"remove": "/p"}]"#).await.status(), 200);
        assert_eq!(cloud.show(&id).await["p"], Value::Null);
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

/// S-2015-019: nobody sets what the service finds out, neither by a patch, nor in a new image, nor by headers.
#[tokio::test(flavor = "multi_thread")]
async fn s_2015_019_nobody_sets_status_or_checksums() {
    each(async |cloud| {
        let id = cloud.create(json!({"tags": ["a"], "p": "q"})).await;
        assert_eq!(cloud.upload("member", &id, vec![7; 100]).await.0, 204);
        let before = cloud.show(&id).await;
        let values = json!({
            "status": "queued", "size": 5, "virtual_size": 5, "checksum": "0".repeat(32), "os_hash_algo": "md5",
            "os_hash_value": "0".repeat(128), "id": "00000000-0000-4000-8000-000000000000",
            "created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z", "self": "x", "file": "x",
            "schema": "x", "direct_url": "file:///etc/passwd", "deleted": "x", "deleted_at": "x", "location": "x",
            "locations": [{"url": "file:///etc/passwd", "metadata": {}}], "os_glance_import_task": "x",
            "os_glance_x": "x", "stores": "x",
        });
        for (name, value) in values.as_object().unwrap() {
            for verb in ["replace", "add", "remove"] {
                for token in ["member", "admin"] {
                    let body = json!([{"op": verb, "path": format!("/{name}"), "value": value}]);
                    let (status, error) = cloud.patch(token, &id, body.clone()).await;
                    let refused = status == 403 || (name == "locations" && [400, 403, 409].contains(&status.as_u16()));
                    assert!(refused, "{token} {body}: {status} {error}");
                }
            }
            let mut new = json!({"name": "new"});
            new[name] = value.clone();
            if name != "id" {
                let (status, error) = cloud.post("member", "/v2/images", new.clone()).await;
                assert!(status == 403 || status == 400, "{new}: {status} {error}");
            }
        }
        assert_eq!(cloud.show(&id).await, before);
        // Headers of v1 mean nothing.
        let forged = [
            ("x-image-meta-status", "active"), ("x-image-meta-size", "1"), ("x-image-meta-checksum", "x"),
            ("x-image-meta-id", "x"), ("x-image-meta-owner", "x"), ("x-image-meta-is_public", "True"),
            ("x-image-meta-location", "file:///etc/passwd"), ("x-glance-api-copy-from", "http://127.0.0.1/"),
            ("x-image-meta-property-p", "z"), ("x-image-meta-deleted", "True"),
        ];
        for (method, path) in [("GET", ""), ("PATCH", ""), ("PUT", "/tags/a"), ("GET", "/file"), ("GET", "/members")] {
            let mut call = cloud.call("member", method.parse().unwrap(), &format!("/v2/images/{id}{path}"));
            for (name, value) in forged {
                call = call.header(name, value);
            }
            if method == "PATCH" {
                call = call.header("Content-Type", "application/openstack-images-v2.1-json-patch").body("[]");
            }
            assert!(call.send().await.unwrap().status().is_success(), "{method} {path}");
        }
        assert_eq!(cloud.show(&id).await, before);
        let mut call = cloud.call("member", Method::POST, "/v2/images").body("{}");
        for (name, value) in forged {
            call = call.header(name, value);
        }
        let new: Value = serde_json::from_str(&call.send().await.unwrap().text().await.unwrap()).unwrap();
        assert_eq!((&new["status"], &new["size"], &new["visibility"]), (&json!("queued"), &Value::Null, &json!("shared")));
        assert_eq!(new["p"], Value::Null);
    })
    .await;
}

/// Limits of the number of properties, tags and members: 413 in Glance's words, also with 20 at a time.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_128_of_each() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        let many = |n: usize| (0..n).map(|i| format!("t{i}")).collect::<Vec<_>>();
        let put = async |path: String| {
            let answer = cloud.call("member", Method::PUT, &path).header("Accept", "application/json").send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let (status, _) = cloud.patch("member", &id, json!([{"op": "replace", "path": "/tags", "value": many(128)}])).await;
        assert_eq!(status, 200);
        let (status, text) = put(format!("/v2/images/{id}/tags/more")).await;
        assert_eq!(status, 413);
        assert!(text.contains(&format!("Image tag limit exceeded for image {id}: The limit has been exceeded on the number of allowed image tags. Attempted: 129, Maximum: 128:")), "{text}");
        assert_eq!(put(format!("/v2/images/{id}/tags/t5")).await.0, 204, "it is there");
        let mut body = json!({"name": "x"});
        for i in 0..129 {
            body[format!("p{i}")] = json!("x");
        }
        let (status, error) = cloud.post("member", "/v2/images", body).await;
        assert_eq!(status, 413);
        assert!(error["message"].as_str().unwrap().starts_with("The limit has been exceeded on the number of allowed image properties. Attempted: 129, Maximum: 128"));
        let members = format!("/v2/images/{id}/members");
        for i in 0..120 {
            assert_eq!(cloud.post("member", &members, json!({"member": format!("m{i}")})).await.0, 200);
        }
        let names: Vec<_> = (0..20).map(|i| json!({"member": format!("n{i}")})).collect();
        let calls = names.into_iter().map(|body| cloud.post("member", &members, body));
        let answers = futures_util::future::join_all(calls).await;
        let added = answers.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(added, 8);
        for (status, error) in answers.iter().filter(|(status, _)| *status != 200) {
            assert_eq!(*status, 413);
            assert!(error["message"].as_str().unwrap().starts_with(&format!("Image member limit exceeded for image {id}: The limit has been exceeded on the number of allowed image members for this image. Attempted: 129, Maximum: 128:")), "{error}");
        }
        let (_, list) = cloud.get("member", &members).await;
        assert_eq!(list["members"].as_array().unwrap().len(), 128);
    })
    .await;
}
