//! Services, endpoints, regions and the catalog they make.

use super::support::*;
use serde_json::json;

#[tokio::test]
async fn services_and_endpoints() {
    each(async |c| {
        let admin = c.admin().await;
        let body = c.post(&admin, "/v3/services", json!({"service": {"type": "walk", "name": "w", "description": "d"}})).await.is(201).json();
        assert_eq!(
            body["service"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["name", "description", "id", "type", "enabled", "links"]
        );
        let service = body["service"]["id"].as_str().unwrap();
        let body = json!({"endpoint": {"interface": "public", "region": "RegionTwo", "url": "http://x/v2.1/%(project_id)s", "service_id": service}});
        let made = c.post(&admin, "/v3/endpoints", body).await.is(201).json();
        assert_eq!(
            made["endpoint"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["id", "interface", "region_id", "service_id", "url", "enabled", "region", "links"]
        );
        let endpoint = format!("/v3/endpoints/{}", made["endpoint"]["id"].as_str().unwrap());
        c.get(&admin, "/v3/regions/RegionTwo").await.is(200);
        let catalog = c.get(&admin, "/v3/auth/catalog").await.is(200).json();
        let entries = catalog["catalog"].as_array().unwrap();
        let kinds: Vec<_> = entries.iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["identity", "image", "compute", "network", "walk"]);
        let project = c.get(&admin, "/v3/projects?name=admin").await.json()["projects"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(entries[4]["endpoints"][0]["url"], format!("http://x/v2.1/{project}"));
        // Without a project it is left out; the service stays.
        let system = c.login("admin", "secret", json!({"system": {"all": true}})).await.is(201).json();
        assert_eq!(system["token"]["catalog"][4]["endpoints"], json!([]));
        for (change, left) in [(json!({"enabled": false}), 0), (json!({"enabled": true, "url": "http://y/"}), 1)] {
            c.patch(&admin, &endpoint, json!({"endpoint": change})).await.is(200);
            let catalog = c.get(&admin, "/v3/auth/catalog").await.is(200).json();
            assert_eq!(catalog["catalog"][4]["endpoints"].as_array().unwrap().len(), left);
        }
        let path = format!("/v3/services/{service}");
        c.patch(&admin, &path, json!({"service": {"enabled": false, "description": "e"}})).await.is(200);
        assert_eq!(c.get(&admin, "/v3/auth/catalog").await.is(200).json()["catalog"].as_array().unwrap().len(), 4);
        for bad in [
            json!({"interface": "other", "url": "http://x", "service_id": service}),
            json!({"interface": "public", "url": "nourl", "service_id": service}),
            json!({"interface": "public", "url": "http://x/%(evil)s", "service_id": service}),
            json!({"interface": "public", "url": "http://x", "service_id": "nosuch"}),
            json!({"interface": "public", "url": "http://x", "service_id": service, "region_id": "nosuch"}),
            json!({"interface": "public", "url": "http://x"}),
        ] {
            c.post(&admin, "/v3/endpoints", json!({"endpoint": bad})).await.is(400);
        }
        let listed = c.get(&admin, &format!("/v3/endpoints?service_id={service}&interface=public")).await.is(200).json();
        assert_eq!(listed["endpoints"].as_array().unwrap().len(), 1);
        assert_eq!(c.get(&admin, "/v3/services?name=w&type=walk").await.is(200).json()["services"][0]["id"], service);
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &endpoint).await.is(404); // gone with its service
        c.delete(&admin, &path).await.is(404);
        // An unscoped token has no catalog.
        let bare = c.login("admin", "secret", json!("unscoped")).await.is(201).token.unwrap();
        c.get(&bare, "/v3/auth/catalog").await.is(403);
    })
    .await;
}

#[tokio::test]
async fn regions() {
    each(async |c| {
        let admin = c.admin().await;
        let body = c
            .post(&admin, "/v3/regions", json!({"region": {"id": "a b/ü", "parent_region_id": "RegionOne"}}))
            .await
            .is(201)
            .json();
        assert_eq!((&body["region"]["id"], &body["region"]["description"]), (&json!("a b/ü"), &json!("")));
        let path = body["region"]["links"]["self"].as_str().unwrap().to_owned();
        let below = json!({"region": {"id": "low", "parent_region_id": "RegionOne"}});
        c.post(&admin, "/v3/regions", below.clone()).await.is(201);
        c.post(&admin, "/v3/regions", below)
            .await
            .says(409, "Conflict occurred attempting to store region - Duplicate ID, low.");
        assert!(path.ends_with("/v3/regions/a%20b%2F%C3%BC"), "{path}");
        c.patch(&admin, "/v3/regions/RegionOne", json!({"region": {"parent_region_id": "low"}}))
            .await
            .is(400);
        c.patch(&admin, "/v3/regions/low", json!({"region": {"parent_region_id": null, "description": "d"}}))
            .await
            .is(200);
        c.call(&admin, "PUT", "/v3/regions/three", Some(json!({"region": {}}))).await.is(201);
        c.call(&admin, "PUT", "/v3/regions/four", Some(json!({"region": {"id": "five"}}))).await.is(400);
        assert_eq!(
            c.post(&admin, "/v3/regions", json!({"region": {}})).await.is(201).json()["region"]["id"]
                .as_str()
                .unwrap()
                .len(),
            32
        );
        c.post(&admin, "/v3/regions", json!({"region": {"id": "x", "parent_region_id": "nosuch"}}))
            .await
            .is(404);
        c.delete(&admin, "/v3/regions/RegionOne").await.is(403);
        c.delete(&admin, "/v3/regions/low").await.is(204);
        c.get(&admin, "/v3/regions/low").await.says(404, "Could not find region: low.");
        // Everybody with a token may read them.
        c.person(&admin, "bob", "reader").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        c.get(&bob, "/v3/regions").await.is(200);
        c.post(&bob, "/v3/regions", json!({"region": {}})).await.is(403);
    })
    .await;
}

#[tokio::test]
async fn discovery() {
    each(async |c| {
        let root = c.get("", "/").await.is(300);
        assert_eq!(root.headers["location"].to_str().unwrap(), format!("{}/v3/", c.base));
        assert_eq!(root.json()["versions"]["values"][0]["id"], "v3.14");
        for path in ["/v3", "/v3/"] {
            let body = c.get("", path).await.is(200).json();
            assert_eq!(body["version"]["links"][0]["href"], format!("{}/v3/", c.base));
        }
        let gone = c.get("", "/v2.0").await.is(404);
        assert_eq!(gone.headers["content-type"], "text/html; charset=utf-8");
        assert!(gone.text.contains("The requested URL was not found on the server."));
        let admin = c.admin().await;
        let wrong = c.call(&admin, "PATCH", "/v3/users", None).await.is(405);
        assert_eq!(wrong.text, r#"{"message":"The method is not allowed for the requested URL."}"#);
        assert_eq!(wrong.headers["allow"], "GET, HEAD, POST");
        c.get("", "/healthcheck").await.is(200);
    })
    .await;
}
