//! What the first start makes, and what later ones leave alone.

use super::support::*;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

async fn dump(c: &Cloud, token: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for list in [
        "users",
        "projects",
        "domains",
        "roles",
        "services",
        "endpoints",
        "regions",
        "role_assignments",
        "role_inferences",
    ] {
        let mut body = c.get(token, &format!("/v3/{list}")).await.is(200).json()[list].clone();
        for row in body.as_array_mut().unwrap() {
            row["links"] = Value::Null; // another port after the restart
            if list == "endpoints" {
                row["url"] = Value::Null;
            }
            for part in ["prior_role", "implies"] {
                if row.get(part).is_some() {
                    row[part] = Value::Null;
                }
            }
        }
        all.push(body);
    }
    all
}

#[tokio::test]
async fn a_second_start_changes_nothing() {
    each(async |c| {
        let token = c.admin().await;
        let users = c.get(&token, "/v3/users").await.is(200).json();
        let names: Vec<_> =
            users["users"].as_array().unwrap().iter().map(|u| u["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["admin", "ferrostack", "nova", "glance", "neutron"]);
        let before = dump(c, &token).await;
        let file = &c.settings.credentials.password_file;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let password = std::fs::read_to_string(file).unwrap();
        for name in ["ferrostack", "nova", "glance", "neutron"] {
            let scope = json!({"project": {"name": "service", "domain": {"id": "default"}}});
            let body = c.login(name, &password, scope).await.is(201).json();
            let roles = body["token"]["roles"].as_array().unwrap();
            assert!(
                roles.iter().any(|r| r["name"] == "service") && roles.iter().any(|r| r["name"] == "admin")
            );
        }
        for (name, status) in [("ferrostack", 201), ("glance", 201), ("nova", 401), ("neutron", 401)] {
            let answer = c.login(name, &password, json!({"system": {"all": true}})).await.is(status);
            if status == 201 {
                let roles = answer.json()["token"]["roles"].clone();
                assert_eq!(roles.as_array().unwrap().len(), 1);
                assert_eq!(roles[0]["name"], "reader");
            }
        }
        c.pause().await;
        c.resume().await;
        // The old token is still good: same keys, no revocation.
        assert_eq!(dump(c, &token).await, before);
        // The catalog follows where we listen.
        let catalog = c.get(&token, "/v3/auth/catalog").await.is(200).json();
        assert_eq!(catalog["catalog"][0]["endpoints"][0]["url"], format!("{}/v3", c.base));
        c.pause().await;
        c.settings.image.listen.set_port(19292);
        c.settings.identity.public_base = "https://cloud.example".into();
        c.resume().await;
        let catalog = c.get(&token, "/v3/auth/catalog").await.is(200).json();
        let urls: Vec<_> = catalog["catalog"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["endpoints"][2]["url"].as_str().unwrap().to_owned())
            .collect();
        let port = c.base.rsplit(':').next().unwrap();
        assert_eq!(
            urls,
            [
                format!("https://cloud.example:{port}/v3"),
                "https://cloud.example:19292".into(),
                "https://cloud.example:8774/v2.1".into(),
                "https://cloud.example:9696".into()
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn passwords_follow_their_files_and_only_those() {
    each(async |c| {
        let token = c.admin().await;
        let admin =
            c.get(&token, "/v3/users?name=admin").await.json()["users"][0]["id"].as_str().unwrap().to_owned();
        // Changed through the API: a restart leaves it.
        c.patch(&token, &format!("/v3/users/{admin}"), json!({"user": {"password": "mine"}})).await.is(200);
        c.pause().await;
        c.resume().await;
        let token = c.token("admin", "mine", "admin").await;
        c.login("admin", "secret", Value::Null).await.is(401);
        // Changed in the file: in force, and tokens of before are not.
        c.pause().await;
        std::fs::write(c.settings.identity.admin_password_file.as_ref().unwrap(), "from-file").unwrap();
        c.resume().await;
        c.get(&token, "/v3/users").await.says(401, UNAUTHORIZED);
        c.login("admin", "mine", Value::Null).await.is(401);
        c.login("admin", "from-file", Value::Null).await.is(201);
    })
    .await;
}

#[tokio::test]
async fn without_the_file_nothing_is_made() {
    each_with(
        |s| s.identity.admin_password_file = None,
        async |c| {
            c.login("admin", "secret", Value::Null).await.says(401, UNAUTHORIZED);
            c.get("", "/v3").await.is(200);
            assert!(!c.settings.credentials.password_file.exists());
        },
    )
    .await;
}

/// Several processes on an empty database, all at once.
#[tokio::test]
async fn replicas_may_start_at_once() {
    each_with(
        |s| s.identity.admin_password_file = None,
        async |c| {
            let file = c.settings.credentials.password_file.with_file_name("admin-password");
            c.settings.identity.admin_password_file = Some(file);
            let replicas = futures_util::future::join_all((0..4).map(|_| c.replica())).await;
            let token = c.admin().await;
            for (list, count) in
                [("users", 5), ("roles", 5), ("projects", 2), ("services", 4), ("endpoints", 12)]
            {
                let body = c.get(&token, &format!("/v3/{list}")).await.is(200).json();
                assert_eq!(body[list].as_array().unwrap().len(), count, "{list}");
            }
            // A token of any is good at all.
            for (base, _) in &replicas {
                c.get(&token, &format!("{base}/v3/users")).await.is(200);
            }
            for (_, running) in replicas {
                running.stop().await;
            }
        },
    )
    .await;
}
