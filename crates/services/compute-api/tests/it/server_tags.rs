//! Tags of servers.

use crate::servers::{each, show, up};
use reqwest::Method;
use serde_json::json;

#[actix_web::test]
async fn tags_are_set_shown_and_removed() {
    each(async |cloud, _| {
        let member = cloud.at("member", 26);
        let id = up(cloud.at("member", 37), json!({})).await;
        let path = format!("/servers/{id}/tags");
        assert_eq!(member.get(&path).await.expect(200), json!({"tags": []}));
        let put = async |tag: &str| member.call(Method::PUT, &format!("{path}/{tag}"), None).await;
        let made = put("red%20one").await;
        assert!(made.headers["location"].to_str().unwrap().ends_with(&format!("{path}/red%20one")));
        made.expect(201);
        put("red%20one").await.expect(204);
        member.get(&format!("{path}/red%20one")).await.expect(204);
        assert_eq!(
            member.get(&format!("{path}/blue")).await.fault(404),
            format!("Server {id} has no tag 'blue'")
        );
        let all = member.put(&path, json!({"tags": ["a", "b", "a"]})).await.expect(200);
        assert_eq!(all, json!({"tags": ["a", "b"]}));
        assert_eq!(show(member, &id).await["tags"], json!(["a", "b"]));
        member.delete(&format!("{path}/a")).await.expect(204);
        member.delete(&format!("{path}/a")).await.fault(404);
        assert_eq!(member.get(&path).await.expect(200), json!({"tags": ["b"]}));
        member.delete(&path).await.expect(204);
        assert_eq!(member.get(&path).await.expect(200), json!({"tags": []}));

        // Limits, and who may.
        put("a,b").await.fault(400);
        put(&"x".repeat(61)).await.fault(400);
        put(&"%C3%BC".repeat(60)).await.expect(201);
        let many: Vec<String> = (0..50).map(|n| format!("t{n}")).collect();
        member.put(&path, json!({"tags": many})).await.expect(200);
        assert_eq!(put("more").await.fault(400), "The number of tags exceeded the per-server limit 50");
        let many: Vec<String> = (0..51).map(|n| format!("t{n}")).collect();
        member.put(&path, json!({"tags": many})).await.fault(400);
        assert_eq!(member.get(&path).await.expect(200)["tags"].as_array().unwrap().len(), 50);
        assert_eq!(cloud.at("reader", 26).delete(&path).await.status, 403);
        assert_eq!(cloud.at("other", 26).get(&path).await.status, 404);
        assert_eq!(cloud.at("member", 25).get(&path).await.status, 404);
        let reset = json!({"os-resetState": {"state": "error"}});
        cloud.at("admin", 1).post(&format!("/servers/{id}/action"), reset).await.expect(202);
        assert_eq!(
            member.delete(&path).await.fault(409),
            format!("Cannot 'delete tags' instance {id} while it is in vm_state error")
        );
    })
    .await;
}

/// A filter finds whole tags only, whatever a tag has in it.
#[actix_web::test]
async fn filters_find_whole_tags() {
    each(async |cloud, _| {
        let member = cloud.at("member", 73);
        let id = up(member, json!({"name": "tagged", "tags": ["y\"x", "[\"z", "plain"]})).await;
        let found = async |query: &str| {
            let list = member.get(&format!("/servers?{query}")).await.expect(200);
            list["servers"].as_array().unwrap().iter().any(|s| s["id"] == id.as_str())
        };
        for (query, fits) in [
            ("tags=plain", true),
            ("tags=x", false),
            ("tags=z", false),
            ("tags=plai", false),
            ("tags=y%22x", true),
            ("tags=PLAIN", false),
            ("tags-any=x,plain", true),
            ("not-tags=x", true),
            ("not-tags=plain", false),
            ("not-tags=plain,x", true),
            ("not-tags-any=plain,x", false),
            ("tags=%25", false),
        ] {
            assert_eq!(found(query).await, fits, "{query}");
        }
    })
    .await;
}
