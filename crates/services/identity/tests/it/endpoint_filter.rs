//! Endpoint groups, and what a project's catalog is limited to.

use super::support::*;
use serde_json::{Value, json};

const GROUPS: &str = "/v3/OS-EP-FILTER/endpoint_groups";

async fn group(c: &Cloud, admin: &str, filters: Value) -> String {
    let body = json!({"endpoint_group": {"name": "g", "filters": filters}});
    let made = c.post(admin, GROUPS, body).await.is(201).json();
    made["endpoint_group"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn endpoint_groups() {
    each(async |c| {
        let admin = c.admin().await;
        let body = json!({"endpoint_group": {"name": "g", "description": "d",
            "filters": {"interface": "admin", "region_id": "RegionOne"}}});
        let made = c.post(&admin, GROUPS, body).await.is(201).json();
        let id = made["endpoint_group"]["id"].as_str().unwrap().to_owned();
        let path = format!("{GROUPS}/{id}");
        assert_eq!(
            made["endpoint_group"],
            json!({"id": id, "name": "g", "description": "d",
                "filters": {"interface": "admin", "region_id": "RegionOne"}, "links": {"self": format!("{}{path}", c.base)}})
        );
        assert_eq!(c.get(&admin, &path).await.is(200).json(), made);
        c.call(&admin, "HEAD", &path, None).await.is(200);
        let inside = c.get(&admin, &format!("{path}/endpoints")).await.is(200).json();
        let inside = inside["endpoints"].as_array().unwrap();
        assert!(inside.len() == 4 && inside.iter().all(|e| e["interface"] == "admin"));
        let changed = c.patch(&admin, &path, json!({"endpoint_group": {"name": "h", "filters": {"interface": "public"}}})).await.is(200).json();
        assert_eq!(changed["endpoint_group"]["filters"], json!({"interface": "public"}));
        assert_eq!(c.get(&admin, &format!("{GROUPS}?name=h")).await.is(200).json()["endpoint_groups"][0]["id"], id);
        assert_eq!(c.get(&admin, &format!("{GROUPS}?name=g")).await.is(200).json()["endpoint_groups"], json!([]));
        let with = |filters: Value| json!({"endpoint_group": {"name": "x", "filters": filters}});
        for bad in [
            with(json!({})),
            with(json!({"url": "http://x"})),
            with(json!({"interface": 5})),
            with(json!({"interface": {"a": 1}})),
            with(json!({"service_id": "x".repeat(256)})),
            with(json!("x")),
            json!({"endpoint_group": {"name": "x"}}),
            json!({"endpoint_group": {"filters": {"interface": "public"}}}),
            json!({"endpoint_group": 5}),
            json!({}),
        ] {
            c.post(&admin, GROUPS, bad).await.is(400);
        }
        for bad in [json!({"filters": {}}), json!({"filters": {"x": "y"}}), json!({"id": "other"}), json!({"name": ""})] {
            c.patch(&admin, &path, json!({"endpoint_group": bad})).await.is(400);
        }
        c.patch(&admin, &format!("{GROUPS}/nosuch"), json!({"endpoint_group": {}}))
            .await
            .says(404, "Could not find Endpoint Group: nosuch.");
        c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        for (method, at) in [("GET", ""), ("POST", ""), ("GET", "/x"), ("PATCH", "/x"), ("DELETE", "/x"), ("GET", "/x/endpoints"), ("GET", "/x/projects")] {
            c.call(&bob, method, &format!("{GROUPS}{at}"), Some(json!({"endpoint_group": {}}))).await.is(403);
        }
        c.delete(&admin, &path).await.is(204);
        c.delete(&admin, &path).await.is(404);
        c.get(&admin, &format!("{path}/endpoints")).await.is(404);
        c.get(&admin, &format!("{path}/projects")).await.is(404);
    })
    .await;
}

#[tokio::test]
async fn catalogs_hold_what_is_associated() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, _) = c.person(&admin, "bob", "reader").await;
        let (elsewhere, _) = c.person(&admin, "eve", "reader").await;
        // (service type, interface) of each endpoint, from a new token and from the catalog's own route.
        let catalog = async |name: &str| {
            let scope = json!({"project": {"name": format!("{name}-project"), "domain": {"id": "default"}}});
            let answer = c.login(name, "pw", scope).await.is(201);
            let token = answer.token.clone().unwrap();
            let entries = answer.json()["token"]["catalog"].clone();
            assert_eq!(c.get(&token, "/v3/auth/catalog").await.is(200).json()["catalog"], entries);
            assert_eq!(c.validate(&admin, &token).await.is(200).json()["token"]["catalog"], entries);
            let mut seen = Vec::new();
            for entry in entries.as_array().unwrap() {
                let endpoints = entry["endpoints"].as_array().unwrap();
                assert!(!endpoints.is_empty());
                for endpoint in endpoints {
                    seen.push((
                        entry["type"].as_str().unwrap().to_owned(),
                        endpoint["interface"].as_str().unwrap().to_owned(),
                    ));
                }
            }
            seen
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(catalog("bob").await.len(), 12);
        let id = async |path: &str, plural: &str| {
            c.get(&admin, path).await.is(200).json()[plural][0]["id"].as_str().unwrap().to_owned()
        };
        let compute = id("/v3/services?type=compute", "services").await;
        let image = id("/v3/services?type=image", "services").await;
        let one = id(&format!("/v3/endpoints?service_id={compute}&interface=public"), "endpoints").await;
        let path = format!("/v3/OS-EP-FILTER/projects/{project}/endpoints/{one}");
        c.get(&admin, &path).await.says(404, &format!("Endpoint {one} not found in project {project}"));
        c.put(&admin, &path).await.is(204);
        c.put(&admin, &path)
            .await
            .says(409, "Conflict occurred attempting to store project_endpoint - Duplicate entry.");
        c.get(&admin, &path).await.is(204);
        c.call(&admin, "HEAD", &path, None).await.is(204);
        assert_eq!(catalog("bob").await, [pair("compute", "public")]);
        assert_eq!(catalog("eve").await.len(), 12);

        let images = group(c, &admin, json!({"service_id": image})).await;
        let of_group = format!("{GROUPS}/{images}/projects/{project}");
        c.get(&admin, &of_group).await.says(404, "Endpoint Group Project Association not found");
        c.put(&admin, &of_group).await.is(204);
        c.put(&admin, &of_group).await.is(409);
        let shown = c.get(&admin, &of_group).await.is(200).json();
        assert_eq!(shown["project_endpoint_group"]["links"]["self"], format!("{}{of_group}", c.base));
        let mut wanted: Vec<_> = ["public", "internal", "admin"].map(|i| pair("image", i)).into();
        wanted.push(pair("compute", "public"));
        assert_eq!(catalog("bob").await, wanted);
        let listed =
            c.get(&admin, &format!("/v3/OS-EP-FILTER/projects/{project}/endpoints")).await.is(200).json();
        assert_eq!(listed["endpoints"].as_array().unwrap().len(), 4);
        assert_eq!(
            id(&format!("/v3/OS-EP-FILTER/projects/{project}/endpoint_groups"), "endpoint_groups").await,
            images
        );
        assert_eq!(id(&format!("{GROUPS}/{images}/projects"), "projects").await, project);
        assert_eq!(id(&format!("/v3/OS-EP-FILTER/endpoints/{one}/projects"), "projects").await, project);
        // A disabled service stays out.
        c.patch(&admin, &format!("/v3/services/{image}"), json!({"service": {"enabled": false}}))
            .await
            .is(200);
        assert_eq!(catalog("bob").await, [pair("compute", "public")]);

        c.delete(&admin, &of_group).await.is(204);
        c.delete(&admin, &of_group).await.is(404);
        c.delete(&admin, &path).await.is(204);
        c.delete(&admin, &path).await.is(404);
        c.patch(&admin, &format!("/v3/services/{image}"), json!({"service": {"enabled": true}}))
            .await
            .is(200);
        assert_eq!(catalog("bob").await.len(), 12);

        // Associations go with their endpoint, group or project.
        c.put(&admin, &path).await.is(204);
        c.put(&admin, &of_group).await.is(204);
        c.delete(&admin, &format!("{GROUPS}/{images}")).await.is(204);
        assert_eq!(catalog("bob").await, [pair("compute", "public")]);
        c.delete(&admin, &format!("/v3/endpoints/{one}")).await.is(204);
        assert_eq!(catalog("bob").await.len(), 11);
        let images = group(c, &admin, json!({"service_id": image})).await;
        c.put(&admin, &format!("{GROUPS}/{images}/projects/{elsewhere}")).await.is(204);
        c.delete(&admin, &format!("/v3/projects/{elsewhere}")).await.is(204);
        assert_eq!(c.get(&admin, &format!("{GROUPS}/{images}/projects")).await.json()["projects"], json!([]));

        let other = id("/v3/endpoints", "endpoints").await;
        for path in [
            format!("/v3/OS-EP-FILTER/projects/nosuch/endpoints/{other}"),
            format!("/v3/OS-EP-FILTER/projects/{project}/endpoints/nosuch"),
            format!("{GROUPS}/nosuch/projects/{project}"),
            format!("{GROUPS}/{images}/projects/nosuch"),
        ] {
            for method in ["PUT", "GET", "DELETE"] {
                c.call(&admin, method, &path, None).await.is(404);
            }
        }
        for path in [
            "/v3/OS-EP-FILTER/projects/nosuch/endpoints",
            "/v3/OS-EP-FILTER/projects/nosuch/endpoint_groups",
            "/v3/OS-EP-FILTER/endpoints/nosuch/projects",
        ] {
            c.get(&admin, path).await.is(404);
        }
        let bob = c.token("bob", "pw", "bob-project").await;
        let path = format!("/v3/OS-EP-FILTER/projects/{project}/endpoints/{other}");
        let of_group = format!("{GROUPS}/{images}/projects/{project}");
        for path in [&path, &of_group] {
            for method in ["PUT", "GET", "DELETE"] {
                c.call(&bob, method, path, None).await.is(403);
            }
        }
    })
    .await;
}
