//! Who may do what: every row of the route table with every kind of caller.

use crate::support::{Cloud, PROJECT_B, each};
use ferrostack_http::{Access, Route};
use reqwest::Method;
use serde_json::json;

/// A request of the row that would succeed for somebody who may.
async fn send(cloud: &Cloud, route: &Route, token: &str, id: &str) -> u16 {
    let path = route
        .path
        .replace("{image_id}", id)
        .replace("{tag}", "t")
        .replace("{member_id}", PROJECT_B)
        .replace("{path:.*}", "images");
    let request = cloud.call(token, route.method.as_str().parse().unwrap(), &path);
    let request = match (route.method.as_str(), route.path) {
        ("PUT", p) if p.ends_with("/file") || p.ends_with("/stage") => {
            request.header("Content-Type", "application/octet-stream").body("DATA")
        }
        ("PATCH", _) => request
            .header("Content-Type", "application/openstack-images-v2.1-json-patch")
            .body(r#"[{"op": "replace", "path": "/name", "value": "x"}]"#),
        ("POST", "/v2/tasks") => request.json(&json!({"type": "import", "input": {}})),
        ("POST", "/v2/images") => request.json(&json!({"name": "made"})),
        ("POST", p) if p.ends_with("/members") => request.json(&json!({"member": PROJECT_B})),
        ("POST", p) if p.ends_with("/import") => request.json(&json!({"method": {"name": "glance-direct"}})),
        ("PUT", p) if p.contains("/members/") => request.json(&json!({"status": "accepted"})),
        _ => request,
    };
    request.send().await.unwrap().status().as_u16()
}

/// An image in the state in which the row's request makes sense.
async fn image_for(cloud: &Cloud, route: &Route, visibility: &str) -> String {
    let id = cloud.create(json!({"visibility": visibility})).await;
    let data = route.path.contains("/actions/") || route.method == "GET" && route.path.ends_with("/file");
    if data {
        assert_eq!(cloud.upload("admin", &id, vec![1]).await.0, 204);
    }
    if route.path.ends_with("/import") {
        let stage = cloud.call("admin", Method::PUT, &format!("/v2/images/{id}/stage"));
        let stage = stage.header("Content-Type", "application/octet-stream").body("x").send().await.unwrap();
        assert_eq!(stage.status(), 204);
    }
    if route.method == "DELETE" && route.path.contains("/tags/") {
        let tag = cloud.call("admin", Method::PUT, &format!("/v2/images/{id}/tags/t")).send().await.unwrap();
        assert_eq!(tag.status(), 204);
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn matrix() {
    each(async |cloud| {
        for route in ferrostack_image::routes::table() {
            let name = format!("{} {}", route.method, route.path);
            if route.path.contains("/stores") || route.path.ends_with("/locations") {
                continue; // see stores.rs, locations.rs
            }
            if route.path.starts_with("/v2/cache") {
                continue; // see matrix.rs
            }
            if route.path.starts_with("/v2/metadefs") {
                continue; // see metadefs.rs
            }
            let own = image_for(cloud, &route, "private").await;
            if route.access == Access::Public {
                for token in ["", "garbage", "other", "reader", "admin"] {
                    assert_eq!(send(cloud, &route, token, &own).await, route.success, "{name} as {token}");
                }
                continue;
            }
            for token in ["", "garbage", "x".repeat(9000).as_str()] {
                assert_eq!(send(cloud, &route, token, &own).await, 401, "{name} without a token");
            }
            if route.path.starts_with("/v2/tasks") {
                for token in ["reader", "member", "other"] {
                    assert_eq!(send(cloud, &route, token, &own).await, 403, "{name} as {token}");
                }
                continue; // see import_of_staged_data
            }
            if !route.path.contains("{image_id}") {
                let expected = if route.method == "POST" { 403 } else { route.success };
                assert_eq!(send(cloud, &route, "reader", &own).await, expected, "{name} as reader");
                for token in ["member", "admin", "other"] {
                    assert_eq!(send(cloud, &route, token, &own).await, route.success, "{name} as {token}");
                }
                continue;
            }
            // Another project's private image does not exist.
            assert_eq!(send(cloud, &route, "other", &own).await, 404, "{name} as another project");
            assert_eq!(send(cloud, &route, "nobody", &own).await, 404, "{name} without a role");
            if route.path.contains("/members") {
                continue; // see who_sees_what
            }
            let reads = route.method == "GET" && !route.path.ends_with("/file");
            let expected = if reads { 200 } else { 403 };
            assert_eq!(send(cloud, &route, "reader", &own).await, expected, "{name} as reader");
            assert_eq!(send(cloud, &route, "member", &own).await, route.success, "{name} as member");
            let again = image_for(cloud, &route, "private").await;
            assert_eq!(send(cloud, &route, "admin", &again).await, route.success, "{name} as admin");
            // A public image may be read by all and changed by its owner.
            let public = image_for(cloud, &route, "public").await;
            let expected = if route.method == "GET" { 200 } else { 403 };
            assert_eq!(send(cloud, &route, "other", &public).await, expected, "{name} of a public image");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_named_by_the_table_exist() {
    let known: Vec<_> = ferrostack_image::policy::RULES.iter().map(|r| r.name).collect();
    for route in ferrostack_image::routes::table() {
        assert!(!route.summary.is_empty(), "{}", route.path);
        for rule in route.policy {
            assert!(known.contains(rule), "{rule}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publicizing_is_for_admins() {
    each(async |cloud| {
        let create = async |token: &str, body| cloud.post(token, "/v2/images", body).await.0.as_u16();
        assert_eq!(create("member", json!({"visibility": "public"})).await, 403);
        assert_eq!(create("member", json!({"visibility": "community"})).await, 201);
        assert_eq!(create("member", json!({"owner": PROJECT_B})).await, 403);
        assert_eq!(create("admin", json!({"owner": PROJECT_B, "visibility": "public"})).await, 201);
        assert_eq!(create("nobody", json!({})).await, 403);
    })
    .await;
}
