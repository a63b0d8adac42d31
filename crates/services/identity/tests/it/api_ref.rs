//! Request bodies in the route table.

use super::support::*;
use ferrostack_http::{Access, Method};

/// A row says what its body must be like if, and only if, its handler reads one.
#[tokio::test]
async fn every_body_has_its_schema() {
    let c = Cloud::start(None, &|_| {}).await;
    let admin = c.admin().await;
    for route in ferrostack_identity::routes::table() {
        let name = format!("{} {}", route.method, route.path);
        if matches!(route.method, Method::GET | Method::HEAD | Method::DELETE) {
            assert!(route.body_schema().is_none(), "{name}");
            continue;
        }
        let path = route.path.replace("{domain_id}", "default");
        let method = reqwest::Method::from_bytes(route.method.as_str().as_bytes()).unwrap();
        let mut request = c.http.request(method, format!("{}{path}", c.base));
        if route.access == Access::Token {
            request = request.header("x-auth-token", &admin);
        }
        let text = request.body("{").send().await.unwrap().text().await.unwrap();
        let reads = text.contains("valid JSON in request body");
        assert_eq!(route.body_schema().is_some(), reads, "{name} wants .body(|| CHECKS.body(..)): {text}");
        if let Some(schema) = route.body_schema() {
            let members = schema["properties"].as_object().map_or(0, |p| p.len());
            assert!(members > 0 || schema["type"] == "array", "{name}: {schema}");
            ferrostack_http::Schema::of(&schema).unwrap_or_else(|e| panic!("{name}: {}", e.for_log()));
        }
    }
    c.end().await;
}

/// The JSON-home document names every resource; clients ask for it by its type.
#[tokio::test]
async fn json_home() {
    let c = Cloud::start(None, &|_| {}).await;
    let ask = async |path: &str, accept: &str| {
        c.send(reqwest::Method::GET, path, &[("accept", accept)], None).await
    };
    for (path, users) in
        [("/v3", "/users/{user_id}"), ("/v3/", "/users/{user_id}"), ("/", "/v3/users/{user_id}")]
    {
        let home = ask(path, "application/json-home").await.is(200);
        assert_eq!(home.headers["content-type"], "application/json-home", "{path}");
        let user = &home.json()["resources"]["https://docs.openstack.org/api/openstack-identity/3/rel/user"];
        assert_eq!(user["href-template"], users, "{path}");
        assert_eq!(
            user["href-vars"]["user_id"],
            "https://docs.openstack.org/api/openstack-identity/3/param/user_id"
        );
        let tie = ask(path, "application/json-home, application/json").await;
        assert_eq!(tie.headers["content-type"], "application/json", "{path}");
        let head = c.send(reqwest::Method::HEAD, path, &[("accept", "application/json-home")], None).await;
        assert_eq!(head.is(200).headers["content-type"], "application/json-home");
        ask(path, &"x,".repeat(2000)).await;
    }
    c.end().await;
}
