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

/// Whole lists have no limit and are sent in pieces; pages have at most a thousand entries, all the same set.
#[tokio::test]
async fn long_lists_are_whole() {
    each(async |c| {
        let admin = c.admin().await;
        let about = "x".repeat(3000);
        for n in 0..130 {
            c.make(
                &admin,
                "projects",
                json!({"name": format!("p{n}"), "description": about, "tags": [format!("t{}", n % 2)]}),
            )
            .await;
        }
        // Longer than a piece: without a Content-Length, and whole.
        let answer = c.get(&admin, "/v3/projects").await.is(200);
        assert!(answer.headers.get("content-length").is_none());
        let all = answer.json();
        assert_eq!(all["projects"].as_array().unwrap().len(), 132);
        assert_eq!(all["links"]["next"], Value::Null);
        assert!(all.get("truncated").is_none());
        let ids = |body: &Value| -> Vec<String> {
            body["projects"]
                .as_array()
                .unwrap()
                .iter()
                .map(|p| p["id"].as_str().unwrap().to_owned())
                .collect()
        };
        let mut walked = Vec::new();
        let mut next = format!("{}/v3/projects?limit=50", c.base);
        loop {
            let page = c.get(&admin, &next).await.is(200).json();
            walked.extend(ids(&page));
            match page["links"]["next"].as_str() {
                Some(link) => next = link.to_owned(),
                None => break,
            }
        }
        assert_eq!(walked, ids(&all));
        // A page is full although the filter leaves some out, and ends where nothing more passes.
        let page = c.get(&admin, "/v3/projects?limit=65&not-tags=t0&name__startswith=p").await.is(200).json();
        assert_eq!(ids(&page).len(), 65);
        assert!(page.get("truncated").is_none(), "{}", page["links"]);
        let page = c.get(&admin, "/v3/projects?limit=64&tags=t1").await.is(200).json();
        assert_eq!((ids(&page).len(), &page["truncated"]), (64, &json!(true)));
        assert_eq!(ids(&c.get(&admin, "/v3/projects?tags-any=t0,t1").await.is(200).json()).len(), 130);
        c.get(&admin, "/v3/projects?limit=5&marker=nosuch")
            .await
            .says(400, "Marker nosuch could not be found");
    })
    .await;
}

/// Projects of a user: directly, by a group, inherited from a domain and from a project above; members and groups.
#[tokio::test]
async fn lists_of_a_user() {
    each(async |c| {
        let admin = c.admin().await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let project = async |name: &str, parent: &str| {
            let body = json!({"name": name, "domain_id": domain, "parent_id": parent});
            c.make(&admin, "projects", body).await
        };
        let (top, other) = (project("top", &domain).await, project("other", &domain).await);
        let below = project("below", &top).await;
        let deep = project("deep", &below).await;
        let user = c.make(&admin, "users", json!({"name": "u", "domain_id": domain, "password": "pw"})).await;
        let group = c.make(&admin, "groups", json!({"name": "g", "domain_id": domain})).await;
        c.put(&admin, &format!("/v3/groups/{group}/users/{user}")).await.is(204);
        let role = c.role(&admin, "member").await;
        let mine = async |query: &str| {
            let body = c.get(&admin, &format!("/v3/users/{user}/projects{query}")).await.is(200).json();
            let names = body["projects"].as_array().unwrap().iter();
            names.map(|p| p["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(mine("").await.is_empty());
        let inherited =
            format!("/v3/OS-INHERIT/projects/{top}/groups/{group}/roles/{role}/inherited_to_projects");
        c.put(&admin, &inherited).await.is(204);
        assert_eq!(mine("").await, ["below", "deep"]);
        c.put(&admin, &format!("/v3/projects/{other}/users/{user}/roles/{role}")).await.is(204);
        assert_eq!(mine("").await, ["other", "below", "deep"]);
        assert_eq!(mine("?limit=1").await, ["other"]);
        assert_eq!(mine(&format!("?limit=1&marker={other}")).await, ["below"]);
        assert_eq!(mine("?name__contains=ee").await, ["deep"]);
        let effective = async |query: &str| {
            let path = format!("/v3/role_assignments?effective&role.id={role}&{query}");
            let body = c.get(&admin, &path).await.is(200).json();
            let mut found: Vec<String> = Vec::new();
            for entry in body["role_assignments"].as_array().unwrap() {
                assert_eq!(entry["user"]["id"], user);
                found.push(entry["scope"]["project"]["id"].as_str().unwrap().to_owned());
            }
            found.sort();
            found
        };
        let sorted = |ids: &[&String]| {
            let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
            ids.sort();
            ids
        };
        assert_eq!(effective(&format!("user.id={user}")).await, sorted(&[&other, &below, &deep]));
        assert_eq!(effective(&format!("scope.project.id={deep}")).await, sorted(&[&deep]));
        assert!(effective(&format!("scope.project.id={top}")).await.is_empty());
        assert_eq!(
            effective(&format!("scope.project.id={top}&include_subtree")).await,
            sorted(&[&below, &deep])
        );
        let domain_wide =
            format!("/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/{role}/inherited_to_projects");
        c.put(&admin, &domain_wide).await.is(204);
        assert_eq!(mine("").await, ["top", "other", "below", "deep"]);
        let groups = c.get(&admin, &format!("/v3/users/{user}/groups?limit=1")).await.is(200).json();
        assert_eq!(groups["groups"][0]["id"], group);
        let members = c.get(&admin, &format!("/v3/groups/{group}/users?name=u")).await.is(200).json();
        assert_eq!(members["users"][0]["id"], user);
        // Closed projects are the user's, but not for a token.
        let closed = json!({"project": {"enabled": false}});
        c.patch(&admin, &format!("/v3/projects/{other}"), closed).await.is(200);
        let identity = json!({"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}});
        let token = c.authenticate(identity, json!({"project": {"id": deep}})).await.is(201).token.unwrap();
        let usable = c.get(&token, "/v3/auth/projects").await.is(200).json();
        assert_eq!(usable["projects"].as_array().unwrap().len(), 3);
        assert_eq!(mine("").await.len(), 4);
    })
    .await;
}
