//! Filters and paging.

use super::support::*;
use serde_json::{Value, json};

fn names(body: &Value) -> Vec<&str> {
    body["users"].as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn filters() {
    each(async |c| {
        let admin = c.admin().await;
        c.make(&admin, "users", json!({"name": "Bob"})).await;
        c.make(&admin, "users", json!({"name": "bobby", "enabled": false})).await;
        let list = async |query: &str| c.get(&admin, &format!("/v3/users?{query}")).await.is(200).json();
        for (query, found) in [
            ("name=Bob", vec!["Bob"]),
            ("name=bob", vec![]),
            ("name__icontains=BO", vec!["Bob", "bobby"]),
            ("name__contains=bo", vec!["bobby"]),
            ("name__startswith=B", vec!["Bob"]),
            ("name__iendswith=BY", vec!["bobby"]),
            ("enabled=False", vec!["bobby"]),
            ("domain_id=default&name=Bob", vec!["Bob"]),
            ("domain_id=nosuch", vec![]),
            ("name=100%25_", vec![]),
        ] {
            assert_eq!(names(&list(query).await), found, "{query}");
        }
        assert_eq!(names(&list("unknown=x").await).len(), 7);
    })
    .await;
}

#[tokio::test]
async fn pages() {
    each(async |c| {
        let admin = c.admin().await;
        for n in 0..5 {
            c.make(&admin, "users", json!({"name": format!("u{n}")})).await;
        }
        let all = c.get(&admin, "/v3/users").await.is(200).json();
        assert!(all.get("truncated").is_none());
        assert_eq!(
            all["links"],
            json!({"next": null, "self": format!("{}/v3/users", c.base), "previous": null})
        );
        let mut walked = Vec::new();
        let mut next = format!("{}/v3/users?limit=3&domain_id=default", c.base);
        loop {
            let page = c.get(&admin, &next).await.is(200).json();
            walked.extend(names(&page).into_iter().map(str::to_owned));
            assert_eq!(page["links"]["self"], next);
            match page["links"]["next"].as_str() {
                Some(link) => {
                    assert_eq!(page["truncated"], true);
                    assert!(link.contains("domain_id=default"));
                    next = link.to_owned();
                }
                None => break,
            }
        }
        assert_eq!(walked, names(&all));
        c.get(&admin, "/v3/users?marker=nosuch").await.says(400, "Marker nosuch could not be found");
        c.get(&admin, "/v3/users?limit=-1").await.is(400);
        c.get(&admin, "/v3/users?limit=x").await.is(400);
        assert_eq!(
            names(&c.get(&admin, "/v3/users?limit=100000").await.is(200).json()).len(),
            names(&all).len()
        );
    })
    .await;
}
