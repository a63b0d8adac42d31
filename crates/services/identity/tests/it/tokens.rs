//! Getting, showing, checking and re-scoping tokens.

use super::support::*;
use reqwest::Method;
use serde_json::{Value, json};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn every_scope_has_its_members() {
    each(async |c| {
        let default = json!({"project": {"name": "admin", "domain": {"name": "Default"}}});
        let token = c.login("admin", "secret", default).await.is(201);
        let body = token.json()["token"].clone();
        assert_eq!(
            keys(&body),
            [
                "audit_ids",
                "catalog",
                "expires_at",
                "is_domain",
                "issued_at",
                "methods",
                "project",
                "roles",
                "user"
            ]
        );
        let id = token.token.unwrap();
        assert!(id.len() < 2048 && !body.to_string().contains(&id));
        let roles: Vec<&str> =
            body["roles"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert_eq!(roles, ["admin", "manager", "member", "reader"]);
        assert_eq!(body["user"]["domain"], json!({"id": "default", "name": "Default"}));
        assert_eq!(keys(&body["user"]), ["domain", "id", "name", "password_expires_at"]);
        assert_eq!(body["expires_at"].as_str().unwrap().len(), "2026-11-20T13:51:09.000000Z".len());
        let user_id = body["user"]["id"].as_str().unwrap().to_owned();
        let project_id = body["project"]["id"].as_str().unwrap().to_owned();

        let system = c.login("admin", "secret", json!({"system": {"all": true}})).await.is(201).json();
        assert_eq!(
            keys(&system["token"]),
            ["audit_ids", "catalog", "expires_at", "issued_at", "methods", "roles", "system", "user"]
        );
        let bare = ["audit_ids", "expires_at", "issued_at", "methods", "user"];
        for scope in [Value::Null, json!("unscoped"), json!({"unscoped": {}})] {
            assert_eq!(keys(&c.login("admin", "secret", scope).await.is(201).json()["token"]), bare);
        }
        // No role on the domain, then one.
        let domain = json!({"domain": {"name": "Default"}});
        c.login("admin", "secret", domain.clone()).await.says(401, UNAUTHORIZED);
        let role = c.role(&id, "admin").await;
        c.put(&id, &format!("/v3/domains/default/users/{user_id}/roles/{role}")).await.is(204);
        let scoped = c.login("admin", "secret", domain).await.is(201).json();
        assert_eq!(scoped["token"]["domain"], json!({"id": "default", "name": "Default"}));

        // By ids, and the default project.
        let by_id =
            json!({"methods": ["password"], "password": {"user": {"id": user_id, "password": "secret"}}});
        let scope = json!({"project": {"id": project_id}});
        c.authenticate(by_id.clone(), scope).await.is(201);
        c.patch(&id, &format!("/v3/users/{user_id}"), json!({"user": {"default_project_id": project_id}}))
            .await
            .is(200);
        let default = c.authenticate(by_id.clone(), Value::Null).await.is(201).json();
        assert_eq!(default["token"]["project"]["id"], project_id.as_str());
        assert!(
            c.authenticate(by_id, json!("unscoped")).await.is(201).json()["token"].get("project").is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_never_told() {
    each(async |c| {
        let admin = c.admin().await;
        let scope = |name: &str| json!({"project": {"name": name, "domain": {"id": "default"}}});
        c.login("admin", "wrong", scope("admin")).await.says(401, UNAUTHORIZED);
        c.login("nobody", "secret", scope("admin")).await.says(401, UNAUTHORIZED);
        c.login("admin", "secret", scope("nope")).await.says(401, UNAUTHORIZED);
        c.login("admin", &"x".repeat(5000), scope("admin")).await.says(401, UNAUTHORIZED);
        c.login("admin", "", scope("admin")).await.says(401, UNAUTHORIZED);
        let other = json!({"methods": ["password"],
            "password": {"user": {"name": "admin", "domain": {"name": "nope"}, "password": "secret"}}});
        c.authenticate(other, Value::Null).await.says(401, UNAUTHORIZED);
        let (project, user) = c.person(&admin, "bob", "member").await;
        let mine = json!({"project": {"id": project}});
        c.login("bob", "pw", mine.clone()).await.is(201);
        c.login("bob", "pw", scope("admin")).await.says(401, UNAUTHORIZED);
        c.login("bob", "pw", json!({"system": {"all": true}})).await.says(401, UNAUTHORIZED);
        // A domain is no project.
        c.login("bob", "pw", json!({"project": {"id": "default"}})).await.says(401, UNAUTHORIZED);
        c.patch(&admin, &format!("/v3/projects/{project}"), json!({"project": {"enabled": false}}))
            .await
            .is(200);
        c.login("bob", "pw", mine.clone()).await.says(401, UNAUTHORIZED);
        c.patch(&admin, &format!("/v3/projects/{project}"), json!({"project": {"enabled": true}}))
            .await
            .is(200);
        c.login("bob", "pw", mine.clone()).await.is(201);
        c.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"enabled": false}})).await.is(200);
        c.login("bob", "pw", mine).await.says(401, UNAUTHORIZED);
        // No password at all.
        c.make(&admin, "users", json!({"name": "mute"})).await;
        c.login("mute", "", Value::Null).await.says(401, UNAUTHORIZED);
        let header = c.login("mute", "x", Value::Null).await.headers;
        assert!(header["www-authenticate"].to_str().unwrap().starts_with("Keystone uri=\"http://"));
        assert_eq!(header["vary"], "X-Auth-Token");
    })
    .await;
}

#[tokio::test]
async fn bad_bodies_say_what_is_missing() {
    each(async |c| {
        let post = async |body: Value| c.send(Method::POST, "/v3/auth/tokens", &[], Some(&body)).await;
        let tail = "The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.";
        post(json!({})).await.says(400, &format!("Expecting to find auth in request body. {tail}"));
        let raw = c.http.post(format!("{}/v3/auth/tokens", c.base)).body("{bad").send().await.unwrap();
        assert_eq!(raw.status(), 400);
        assert!(raw.text().await.unwrap().contains(&format!("Expecting to find valid JSON in request body. {tail}")));
        post(json!({"auth": {}})).await.says(400, "'identity' is a required property");
        post(json!({"auth": {"identity": {"methods": ["mapped"], "mapped": {}}}}))
            .await
            .says(401, "Attempted to authenticate with an unsupported method.");
    })
    .await;
}

#[tokio::test]
async fn showing_and_checking() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, _) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let shown = c.validate(&admin, &bob).await.is(200);
        assert_eq!(shown.token.as_deref(), Some(bob.as_str()));
        assert_eq!(shown.json()["token"]["user"]["name"], "bob");
        assert!(shown.json()["token"]["catalog"].is_array());
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", bob.as_str())];
        let plain = c.send(Method::GET, "/v3/auth/tokens?nocatalog", &headers, None).await.is(200);
        assert!(plain.json()["token"].get("catalog").is_none());
        let head = c.send(Method::HEAD, "/v3/auth/tokens", &headers, None).await.is(200);
        assert_eq!(head.headers["content-length"].to_str().unwrap(), shown.text.len().to_string());
        assert!(head.text.is_empty() && head.token.is_some());
        // One's own, and another's.
        c.validate(&bob, &bob).await.is(200);
        c.validate(&bob, &admin)
            .await
            .says(403, "You are not authorized to perform the requested action: identity:validate_token.");
        c.validate(&admin, "bogus").await.says(404, "Could not recognize Fernet token");
        c.validate("bogus", &admin).await.says(401, UNAUTHORIZED);
        c.get(&admin, "/v3/auth/tokens").await.says(404, "No token in the request");
        c.get(&bob, "/v3/auth/tokens").await.is(403);
        // The service role may validate.
        let password = std::fs::read_to_string(&c.settings.credentials.password_file).unwrap();
        let service = c.token("nova", &password, "service").await;
        c.validate(&service, &bob).await.is(200);
    })
    .await;
}

#[tokio::test]
async fn rescoping_keeps_the_expiry_and_the_chain() {
    each(async |c| {
        let admin = c.admin().await;
        c.person(&admin, "bob", "member").await;
        let first = c.login("bob", "pw", json!("unscoped")).await.is(201);
        let (id, body) = (first.token.clone().unwrap(), first.json());
        let scope = json!({"project": {"name": "bob-project", "domain": {"id": "default"}}});
        let second = c.authenticate(by_token(&id), scope.clone()).await.is(201);
        let rescoped = second.json();
        assert_eq!(rescoped["token"]["expires_at"], body["token"]["expires_at"]);
        assert_eq!(rescoped["token"]["methods"], json!(["token", "password"]));
        assert_eq!(rescoped["token"]["audit_ids"].as_array().unwrap().len(), 2);
        assert_eq!(rescoped["token"]["audit_ids"][1], body["token"]["audit_ids"][0]);
        let third = c.authenticate(by_token(&second.token.unwrap()), json!("unscoped")).await.is(201).json();
        assert_eq!(third["token"]["audit_ids"][1], body["token"]["audit_ids"][0]);
        assert_eq!(third["token"]["expires_at"], body["token"]["expires_at"]);
        c.authenticate(by_token("bogus"), scope).await.says(404, "Could not recognize Fernet token");
        let admins = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
        c.authenticate(by_token(&id), admins).await.says(401, UNAUTHORIZED);
        // Two methods must name one user.
        let both = json!({"methods": ["password", "token"], "token": {"id": admin},
            "password": {"user": {"name": "bob", "domain": {"id": "default"}, "password": "pw"}}});
        c.authenticate(both, Value::Null).await.says(401, UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn expired_tokens_are_none() {
    each_with(
        |s| s.identity.token_ttl_seconds = 2,
        async |c| {
            let old = c.admin().await;
            c.get(&old, "/v3/users").await.is(200);
            eventually("the token expires", async || c.get(&old, "/v3/users").await.status == 401).await;
            let new = c.admin().await;
            c.validate(&new, &old).await.says(404, "Could not recognize Fernet token");
            c.authenticate(by_token(&old), json!("unscoped"))
                .await
                .says(404, "Could not recognize Fernet token");
        },
    )
    .await;
}

#[tokio::test]
async fn a_foreign_signature_is_refused() {
    each(async |c| {
        let admin = c.admin().await;
        let stranger = Cloud::start(None, &|_| {}).await;
        let theirs = stranger.admin().await;
        c.get(&theirs, "/v3/users").await.says(401, UNAUTHORIZED);
        // Claims of one token with the signature of another; and no algorithm.
        let parts: Vec<&str> = admin.split('.').collect();
        let others: Vec<&str> = theirs.split('.').collect();
        let mixed = format!("{}.{}.{}", parts[0], others[1], parts[2]);
        let none = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
        for forged in [mixed, none, format!("{admin}x"), "a.b.c".into(), "x".repeat(9000)] {
            c.get(&forged, "/v3/users").await.says(401, UNAUTHORIZED);
            c.validate(&admin, &forged).await.says(404, "Could not recognize Fernet token");
        }
        stranger.end().await;
    })
    .await;
}

#[tokio::test]
async fn required_factors_are_required() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let options = |rules: Value| json!({"user": {"options": {"multi_factor_auth_enabled": true, "multi_factor_auth_rules": rules}}});
        let path = format!("/v3/users/{user}");
        c.patch(&admin, &path, options(json!([["password", "totp"]]))).await.is(200);
        let answer = c.login("bob", "pw", Value::Null).await.is(401);
        assert!(answer.token.is_none());
        c.patch(&admin, &path, options(json!([["password", "totp"], ["password"]]))).await.is(200);
        c.login("bob", "pw", Value::Null).await.is(201);
    })
    .await;
}
