//! Federation, OAuth and PKI answer as a Keystone without them.

use super::support::*;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn federation() {
    each(async |c| {
        let admin = c.admin().await;
        c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let base = "/v3/OS-FEDERATION";
        for plural in ["identity_providers", "mappings", "service_providers"] {
            let path = format!("{base}/{plural}");
            let body = c.get(&admin, &path).await.is(200).json();
            assert_eq!(body[plural], json!([]));
            assert_eq!(body["links"]["self"], format!("{}{path}", c.base));
            c.get(&bob, &path).await.is(403);
            c.get("", &path).await.is(401);
        }
        for (path, text) in [
            ("identity_providers/acme", "Could not find Identity Provider: acme."),
            ("identity_providers/acme/protocols", "Could not find Identity Provider: acme."),
            ("identity_providers/acme/protocols/saml2", "Could not find Identity Provider: acme."),
            ("mappings/acme", "Could not find mapping: acme."),
            ("service_providers/acme", "Could not find Service Provider: acme."),
        ] {
            c.get(&admin, &format!("{base}/{path}")).await.says(404, text);
            c.get(&bob, &format!("{base}/{path}")).await.is(403);
            if !path.ends_with("protocols") {
                for method in ["PATCH", "DELETE"] {
                    c.call(&admin, method, &format!("{base}/{path}"), Some(json!({}))).await.is(404);
                    c.call(&bob, method, &format!("{base}/{path}"), Some(json!({}))).await.is(403);
                }
            }
        }
        // What cannot be made says so.
        for path in ["identity_providers/acme", "mappings/acme", "service_providers/acme"] {
            let answer = c.call(&admin, "PUT", &format!("{base}/{path}"), Some(json!({}))).await.is(405);
            assert!(!answer.headers["allow"].to_str().unwrap().contains("PUT"));
        }
        let unsupported = "Attempted to authenticate with an unsupported method.";
        for path in [
            "/v3/OS-FEDERATION/identity_providers/acme/protocols/saml2/auth",
            "/v3/auth/OS-FEDERATION/websso/saml2",
            "/v3/auth/OS-FEDERATION/identity_providers/acme/protocols/saml2/websso?origin=http://x",
        ] {
            for method in [Method::GET, Method::POST] {
                let answer = c.send(method, path, &[], None).await;
                answer.says(401, unsupported);
                assert!(answer.headers.contains_key("www-authenticate"));
            }
        }
        c.send(Method::GET, "/v3/OS-FEDERATION/saml2/metadata", &[], None)
            .await
            .says(404, "Could not find SAML metadata.");
        for path in ["/v3/auth/OS-FEDERATION/saml2", "/v3/auth/OS-FEDERATION/saml2/ecp"] {
            c.send(Method::POST, path, &[], Some(&json!({"auth": {}}))).await.is(404);
        }
        let mapped =
            json!({"methods": ["mapped"], "mapped": {"identity_provider": "acme", "protocol": "saml2"}});
        c.authenticate(mapped, Value::Null).await.is(401);
    })
    .await;
}

/// CVE-2018-14432: these lists told every user of all projects and domains.
#[tokio::test]
async fn ossa_2018_002_federation_lists_only_what_one_has_a_role_on() {
    each(async |c| {
        let admin = c.admin().await;
        c.make(&admin, "domains", json!({"name": "other"})).await;
        let (project, _) = c.person(&admin, "bob", "reader").await;
        c.person(&admin, "eve", "reader").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let bare = c.login("bob", "pw", json!("unscoped")).await.is(201).token.unwrap();
        for token in [&bob, &bare] {
            for (ours, theirs) in [("projects", "/v3/auth/projects"), ("domains", "/v3/auth/domains")] {
                let body = c.get(token, &format!("/v3/OS-FEDERATION/{ours}")).await.is(200).json();
                assert_eq!(body[ours], c.get(token, theirs).await.is(200).json()[ours]);
                let ids: Vec<&str> =
                    body[ours].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
                assert_eq!(ids, if ours == "projects" { vec![project.as_str()] } else { vec![] });
            }
        }
        c.get("", "/v3/OS-FEDERATION/projects").await.is(401);
    })
    .await;
}

#[tokio::test]
async fn oauth() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        for path in ["/v3/OS-OAUTH1/request_token", "/v3/OS-OAUTH1/access_token"] {
            let header = [("authorization", "OAuth oauth_consumer_key=\"x\"")];
            c.send(Method::POST, path, &header, None).await.is(401);
            c.get(&admin, path).await.is(405);
        }
        let roles = json!({"roles": []});
        c.call(&admin, "PUT", "/v3/OS-OAUTH1/authorize/x", Some(roles.clone()))
            .await
            .says(404, "Request token not found");
        c.call(&bob, "PUT", "/v3/OS-OAUTH1/authorize/x", Some(roles)).await.is(403);
        let tokens = format!("/v3/users/{user}/OS-OAUTH1/access_tokens");
        assert_eq!(c.get(&admin, &tokens).await.is(200).json()["access_tokens"], json!([]));
        c.get(&bob, &tokens).await.is(403);
        c.get(&admin, "/v3/users/nosuch/OS-OAUTH1/access_tokens").await.is(404);
        for (method, path) in [("GET", "/x"), ("DELETE", "/x"), ("GET", "/x/roles"), ("GET", "/x/roles/y")] {
            c.call(&admin, method, &format!("{tokens}{path}"), None)
                .await
                .says(404, "Access token not found");
            c.call(&bob, method, &format!("{tokens}{path}"), None).await.is(403);
        }

        let oauth2 = async |form: &str| {
            let request = c.http.post(format!("{}/v3/OS-OAUTH2/token", c.base));
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            let answer = request.body(form.to_owned()).send().await.unwrap();
            (
                answer.status().as_u16(),
                answer.json::<Value>().await.unwrap()["error"].as_str().unwrap().to_owned(),
            )
        };
        assert_eq!(oauth2("").await, (400, "invalid_request".into()));
        assert_eq!(oauth2("grant_type=password").await, (400, "unsupported_grant_type".into()));
        assert_eq!(
            oauth2("grant_type=client_credentials&client_id=a&client_secret=b").await,
            (401, "invalid_client".into())
        );
        assert_eq!(oauth2(&"x".repeat(100_000)).await.0, 400);
        c.get(&admin, "/v3/OS-OAUTH2/token").await.is(405);
    })
    .await;
}

#[tokio::test]
async fn pki() {
    each(async |c| {
        let admin = c.admin().await;
        for path in
            ["/v3/auth/tokens/OS-PKI/revoked", "/v3/OS-SIMPLE-CERT/ca", "/v3/OS-SIMPLE-CERT/certificates"]
        {
            let text = "The service you have requested is no longer available on this server.";
            c.send(Method::GET, path, &[], None).await.says(410, text);
            c.send(Method::HEAD, path, &[], None).await.is(410);
            c.call(&admin, "POST", path, None).await.is(405);
        }
    })
    .await;
}
