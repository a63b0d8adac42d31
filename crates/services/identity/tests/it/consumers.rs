//! OAuth1 consumers.

use super::support::*;
use serde_json::{Value, json};

#[tokio::test]
async fn a_consumer_lives() {
    each(async |c| {
        let admin = c.admin().await;
        let all = "/v3/OS-OAUTH1/consumers";
        let made =
            c.post(&admin, all, json!({"consumer": {"description": "first", "x": 1}})).await.is(201).json();
        let consumer = &made["consumer"];
        let secret = consumer["secret"].as_str().unwrap().to_owned();
        assert!(secret.len() >= 64);
        let one = format!("{all}/{}", consumer["id"].as_str().unwrap());
        assert_eq!(consumer["links"]["self"], format!("{}{one}", c.base));
        let shown = c.get(&admin, &one).await.is(200);
        assert!(!shown.text.contains(&secret) && shown.json()["consumer"].get("secret").is_none());
        assert_eq!(
            (&shown.json()["consumer"]["description"], &shown.json()["consumer"]["x"]),
            (&json!("first"), &json!(1))
        );
        let patch = async |body: Value| c.patch(&admin, &one, json!({"consumer": body})).await;
        patch(json!({"secret": "mine"})).await.says(400, "Cannot change consumer secret");
        patch(json!({"id": "other"})).await.says(400, "Cannot change consumer ID");
        assert_eq!(patch(json!({"description": ["a"]})).await.status, 400);
        assert_eq!(
            patch(json!({"description": "second"})).await.is(200).json()["consumer"]["description"],
            "second"
        );
        let second = c.post(&admin, all, json!({"consumer": {}})).await.is(201).json();
        assert_eq!(second["consumer"]["description"], Value::Null);
        assert_eq!(c.get(&admin, all).await.is(200).json()["consumers"].as_array().unwrap().len(), 2);
        let (_, _) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        for (method, path) in [("GET", all), ("POST", all), ("GET", &one), ("PATCH", &one), ("DELETE", &one)]
        {
            let body = matches!(method, "POST" | "PATCH").then(|| json!({"consumer": {}}));
            c.call(&bob, method, path, body).await.is(403);
        }
        c.delete(&admin, &one).await.is(204);
        let id = consumer["id"].as_str().unwrap();
        c.get(&admin, &one).await.says(404, &format!("Could not find consumer: {id}."));
        c.delete(&admin, &one).await.is(404);
    })
    .await;
}
