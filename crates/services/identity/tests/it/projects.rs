//! Projects, their tree and tags, and domains.

use super::support::*;
use serde_json::{Value, json};

#[tokio::test]
async fn a_project_lives() {
    each(async |c| {
        let admin = c.admin().await;
        let body = c.post(&admin, "/v3/projects", json!({"project": {"name": "demo"}})).await.is(201).json();
        assert_eq!(
            body["project"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["id", "name", "domain_id", "description", "enabled", "parent_id", "is_domain", "tags", "options", "links"]
        );
        assert_eq!((&body["project"]["parent_id"], &body["project"]["domain_id"]), (&json!("default"), &json!("default")));
        let id = body["project"]["id"].as_str().unwrap();
        let path = format!("/v3/projects/{id}");
        c.post(&admin, "/v3/projects", json!({"project": {"name": "demo"}})).await.says(
            409,
            "Conflict occurred attempting to store project - Duplicate entry found with name demo at domain ID default.",
        );
        let update = json!({"project": {"description": "d", "k": "v", "tags": ["b", "a"]}});
        let changed = c.patch(&admin, &path, update).await.is(200).json();
        assert_eq!((&changed["project"]["k"], &changed["project"]["tags"]), (&json!("v"), &json!(["a", "b"])));
        c.patch(&admin, &path, json!({"project": {"domain_id": "x"}})).await.is(400);
        c.patch(&admin, &path, json!({"project": {"parent_id": "x"}})).await.is(403);
        c.patch(&admin, &path, json!({"project": {"is_domain": true}})).await.is(400);
        c.patch(&admin, &path, json!({"project": {"domain_id": "default", "parent_id": "default"}})).await.is(200);
        // Immutable until unlocked.
        c.patch(&admin, &path, json!({"project": {"options": {"immutable": true}}})).await.is(200);
        c.patch(&admin, &path, json!({"project": {"name": "x"}})).await.is(403);
        c.delete(&admin, &path).await.is(403);
        c.put(&admin, &format!("{path}/tags/c")).await.is(403);
        c.patch(&admin, &path, json!({"project": {"options": {"immutable": false}}})).await.is(200);
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &path).await.says(404, &format!("Could not find project: {id}."));
    })
    .await;
}

#[tokio::test]
async fn the_tree() {
    each(async |c| {
        let admin = c.admin().await;
        let mut ids: Vec<String> = Vec::new();
        for depth in 0..5 {
            let mut body = json!({"name": format!("p{depth}")});
            if let Some(parent) = ids.last() {
                body["parent_id"] = json!(parent);
            }
            ids.push(c.make(&admin, "projects", body).await);
        }
        c.post(&admin, "/v3/projects", json!({"project": {"name": "p5", "parent_id": ids[4]}})).await.is(403);
        let path = |n: usize| format!("/v3/projects/{}", ids[n]);
        let shown = c.get(&admin, &format!("{}?parents_as_ids", path(2))).await.is(200).json();
        assert_eq!(shown["project"]["parents"], json!({ids[1].clone(): {ids[0].clone(): {"default": null}}}));
        let shown = c.get(&admin, &format!("{}?subtree_as_ids", path(3))).await.is(200).json();
        assert_eq!(shown["project"]["subtree"], json!({ids[4].clone(): null}));
        let shown = c.get(&admin, &format!("{}?parents_as_list&subtree_as_list", path(1))).await.is(200).json();
        assert_eq!((&shown["project"]["parents"], &shown["project"]["subtree"]), (&json!([]), &json!([])));
        c.get(&admin, &format!("{}?parents_as_list&parents_as_ids", path(1))).await.is(400);
        c.patch(&admin, &path(0), json!({"project": {"enabled": false}})).await.says(
            403,
            &format!("You are not authorized to perform the requested action: cannot disable project {} since its subtree contains enabled projects.", ids[0]),
        );
        for n in (2..5).rev() {
            c.patch(&admin, &path(n), json!({"project": {"enabled": false}})).await.is(200);
        }
        c.patch(&admin, &path(3), json!({"project": {"enabled": true}})).await.is(403);
        c.post(&admin, "/v3/projects", json!({"project": {"name": "x", "parent_id": ids[2]}})).await.is(403);
        c.delete(&admin, &path(0)).await.is(403);
        c.post(&admin, "/v3/projects", json!({"project": {"name": "x", "parent_id": "nosuch"}})).await.is(404);
        let other = c.make(&admin, "domains", json!({"name": "d"})).await;
        c.post(&admin, "/v3/projects", json!({"project": {"name": "x", "parent_id": ids[0], "domain_id": other}})).await.is(400);
        for n in (0..5).rev() {
            c.delete(&admin, &path(n)).await.is(204);
        }
    })
    .await;
}

#[tokio::test]
async fn tags() {
    each(async |c| {
        let admin = c.admin().await;
        let id = c.make(&admin, "projects", json!({"name": "p", "tags": ["red"]})).await;
        let two = c.make(&admin, "projects", json!({"name": "q", "tags": ["red", "blue"]})).await;
        let path = format!("/v3/projects/{id}/tags");
        c.put(&admin, &format!("{path}/green")).await.is(201);
        c.get(&admin, &format!("{path}/green")).await.is(204);
        c.get(&admin, &format!("{path}/pink")).await.is(404);
        assert_eq!(c.get(&admin, &path).await.is(200).json()["tags"], json!(["green", "red"]));
        let found = async |query: &str| -> Vec<String> {
            let body = c.get(&admin, &format!("/v3/projects?{query}")).await.is(200).json();
            let mut names: Vec<String> = body["projects"]
                .as_array()
                .unwrap()
                .iter()
                .map(|p| p["name"].as_str().unwrap().into())
                .collect();
            names.retain(|n| n != "admin" && n != "service");
            names
        };
        assert_eq!(found("tags=red").await, ["p", "q"]);
        assert_eq!(found("tags=red,blue").await, ["q"]);
        assert_eq!(found("tags-any=blue,green").await, ["p", "q"]);
        assert_eq!(found("not-tags=red,blue").await, ["p"]);
        assert_eq!(found("not-tags-any=blue").await, ["p"]);
        assert_eq!(
            c.call(&admin, "PUT", &path, Some(json!({"tags": ["x"]}))).await.is(200).json()["tags"],
            json!(["x"])
        );
        for bad in [
            json!({"tags": "x"}),
            json!({"tags": ["a", "a"]}),
            json!({"tags": ["a/b"]}),
            json!({"tags": [""]}),
            json!({}),
        ] {
            c.call(&admin, "PUT", &path, Some(bad)).await.is(400);
        }
        c.delete(&admin, &format!("{path}/x")).await.is(204);
        c.delete(&admin, &format!("{path}/x")).await.is(404);
        c.delete(&admin, &format!("/v3/projects/{two}/tags")).await.is(204);
        assert_eq!(found("tags=red").await, [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_domain_lives() {
    each(async |c| {
        let admin = c.admin().await;
        let body = c.post(&admin, "/v3/domains", json!({"domain": {"name": "d2"}})).await.is(201).json();
        assert_eq!(
            body["domain"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["id", "name", "description", "enabled", "tags", "options", "links"]
        );
        let id = body["domain"]["id"].as_str().unwrap();
        c.post(&admin, "/v3/domains", json!({"domain": {"name": "d2"}}))
            .await
            .says(409, "Conflict occurred attempting to store domain - Duplicate entry found with name d2.");
        // As a project it has no domain and no parent.
        let seen = c.get(&admin, &format!("/v3/projects/{id}")).await.is(200).json();
        assert_eq!(
            (&seen["project"]["is_domain"], &seen["project"]["domain_id"]),
            (&json!(true), &Value::Null)
        );
        // The same names as in Default.
        c.make(&admin, "projects", json!({"name": "admin", "domain_id": id})).await;
        c.make(&admin, "users", json!({"name": "admin", "domain_id": id})).await;
        c.post(&admin, "/v3/users", json!({"user": {"name": "x", "domain_id": "nosuch"}}))
            .await
            .says(404, "Could not find domain: nosuch.");
        let list = c.get(&admin, &format!("/v3/projects?domain_id={id}")).await.is(200).json();
        assert_eq!(list["projects"].as_array().unwrap().len(), 1);
        let path = format!("/v3/domains/{id}");
        c.delete(&admin, &path).await.is(403);
        c.patch(&admin, &path, json!({"domain": {"enabled": false, "description": "x"}})).await.is(200);
        assert_eq!(
            c.get(&admin, "/v3/domains?enabled=false").await.is(200).json()["domains"][0]["name"],
            "d2"
        );
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &path).await.says(404, &format!("Could not find domain: {id}."));
        let names = c.get(&admin, "/v3/projects?name=admin").await.is(200).json();
        assert_eq!(names["projects"].as_array().unwrap().len(), 1);
    })
    .await;
}
