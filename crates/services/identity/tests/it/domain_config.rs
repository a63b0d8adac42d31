//! Options of domains.

use super::support::*;
use serde_json::{Value, json};

fn config(value: Value) -> Value {
    json!({"config": value})
}

#[tokio::test]
async fn kept_and_shown() {
    each(async |c| {
        let admin = c.admin().await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let path = format!("/v3/domains/{domain}/config");
        let put = async |body: Value| c.call(&admin, "PUT", &path, Some(body)).await;
        let none = format!("Could not find any options in domain configuration for domain {domain}.");
        c.get(&admin, &path).await.says(404, &none);
        c.delete(&admin, &path).await.is(204);
        let custom = json!({"identity": {"driver": "ldap"},
            "ldap": {"url": "ldap://myldap.com:389/", "user_tree_dn": "ou=Users,dc=root,dc=org"}});
        let mut with_password = custom.clone();
        with_password["ldap"]["password"] = json!("hunter2");
        let answer = put(config(with_password.clone())).await.is(201);
        assert_eq!(answer.json(), config(custom.clone()));
        assert_eq!(put(config(custom.clone())).await.is(200).json(), config(custom.clone()));
        put(config(with_password)).await.is(200);

        assert_eq!(c.get(&admin, &path).await.is(200).json(), config(custom.clone()));
        assert_eq!(
            c.get(&admin, &format!("{path}/ldap")).await.is(200).json(),
            config(json!({"ldap": custom["ldap"]}))
        );
        assert_eq!(
            c.get(&admin, &format!("{path}/ldap/url")).await.is(200).json(),
            config(json!({"url": "ldap://myldap.com:389/"}))
        );
        c.call(&admin, "HEAD", &format!("{path}/identity/driver"), None).await.is(200);
        // The password is there, and never comes back.
        c.get(&admin, &format!("{path}/ldap/password")).await.says(
            404,
            &format!(
                "Could not find option password in group ldap in domain configuration for domain {domain}."
            ),
        );
        let changed = c
            .patch(&admin, &format!("{path}/ldap/password"), config(json!({"password": "hunter3"})))
            .await
            .is(200);
        assert!(!changed.text.contains("hunter"), "{}", changed.text);
        c.delete(&admin, &format!("{path}/ldap/password")).await.is(204);
        c.delete(&admin, &format!("{path}/ldap/password")).await.is(404);

        let now = c
            .patch(&admin, &path, config(json!({"ldap": {"url": "x"}, "identity": {"list_limit": 5}})))
            .await
            .is(200)
            .json();
        assert_eq!(now["config"]["identity"], json!({"driver": "ldap", "list_limit": 5}));
        let now = c
            .patch(&admin, &format!("{path}/identity"), config(json!({"identity": {"driver": "sql"}})))
            .await
            .is(200)
            .json();
        assert_eq!(
            (&now["config"]["identity"]["driver"], &now["config"]["ldap"]["url"]),
            (&json!("sql"), &json!("x"))
        );
        let now = c
            .patch(&admin, &format!("{path}/identity/driver"), config(json!({"driver": "y"})))
            .await
            .is(200)
            .json();
        assert_eq!(now["config"]["identity"]["driver"], "y");

        c.delete(&admin, &format!("{path}/identity/driver")).await.is(204);
        c.get(&admin, &format!("{path}/identity/driver")).await.is(404);
        c.patch(&admin, &format!("{path}/identity/driver"), config(json!({"driver": "y"}))).await.is(404);
        c.delete(&admin, &format!("{path}/identity")).await.is(204);
        c.get(&admin, &format!("{path}/identity")).await.says(
            404,
            &format!("Could not find group identity in domain configuration for domain {domain}."),
        );
        c.delete(&admin, &format!("{path}/identity")).await.is(404);
        c.patch(&admin, &format!("{path}/identity"), config(json!({"identity": {"driver": "y"}})))
            .await
            .is(404);
        c.delete(&admin, &path).await.is(204);
        c.get(&admin, &path).await.is(404);

        // A domain's options go with it.
        put(config(custom)).await.is(201);
        c.patch(&admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}}))
            .await
            .is(200);
        c.delete(&admin, &format!("/v3/domains/{domain}")).await.is(204);
        c.get(&admin, &path).await.says(404, &format!("Could not find domain: {domain}."));
        put(config(json!({"identity": {"driver": "x"}}))).await.is(404);
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    each(async |c| {
        let admin = c.admin().await;
        let path = "/v3/domains/default/config";
        c.call(&admin, "PUT", path, Some(config(json!({"ldap": {"url": "u"}})))).await.is(201);
        for (status, body) in [
            (400, json!({})),
            (400, json!({"config": []})),
            (400, json!({"config": "x"})),
            (400, json!({"config": {"ldap": {"url": "a\0b"}}})),
            (403, config(json!({}))),
            (403, config(json!({"ldap": {}}))),
            (403, config(json!({"ldap": "x"}))),
            (403, config(json!({"ldap": ["url"]}))),
            (403, config(json!({"ldap": {"nosuch": 1}}))),
            (403, config(json!({"token": {"expiration": 1}}))),
            (403, config(json!({"security_compliance": {"password_regex": ".*"}}))),
            (403, config(json!({"ldap": {"url": "v"}, "identity": {"nosuch": 1}}))),
            (403, config(json!({"x".repeat(5000): {"y": 1}}))),
        ] {
            for method in ["PUT", "PATCH"] {
                let answer = c.call(&admin, method, path, Some(body.clone())).await;
                assert_eq!(answer.status, status, "{body}: {}", answer.text);
                assert!(answer.text.len() < 1000);
            }
        }
        for (at, body) in [
            ("ldap", json!({"identity": {"driver": "x"}})),
            ("ldap", json!({"ldap": {"url": "x"}, "identity": {"driver": "x"}})),
            ("ldap/url", json!({"user": "x"})),
            ("ldap/url", json!({"url": "x", "user": "x"})),
            ("ldap/url", json!({"ldap": {"url": "x"}})),
            ("ldap/nosuch", json!({"nosuch": "x"})),
            ("nosuch", json!({"nosuch": {"x": 1}})),
        ] {
            c.patch(&admin, &format!("{path}/{at}"), config(body)).await.is(403);
        }
        for method in ["GET", "DELETE"] {
            for at in ["nosuch", "ldap/nosuch", "nosuch/url"] {
                c.call(&admin, method, &format!("{path}/{at}"), None).await.is(403);
            }
        }
        assert_eq!(c.get(&admin, path).await.is(200).json(), config(json!({"ldap": {"url": "u"}})));
        c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        for at in ["", "/ldap", "/ldap/url", "/nosuch"] {
            for method in ["GET", "PATCH", "DELETE"] {
                c.call(&bob, method, &format!("{path}{at}"), Some(config(json!({})))).await.is(403);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn defaults() {
    each(async |c| {
        let admin = c.admin().await;
        let all = c.get(&admin, "/v3/domains/config/default").await.is(200).json();
        assert_eq!(all["config"]["identity"], json!({"driver": "sql", "list_limit": null}));
        let ldap = c.get(&admin, "/v3/domains/config/ldap/default").await.is(200).json();
        assert_eq!(ldap["config"]["ldap"], all["config"]["ldap"]);
        for (option, value) in ldap["config"]["ldap"].as_object().unwrap() {
            let one =
                c.get(&admin, &format!("/v3/domains/config/ldap/{option}/default")).await.is(200).json();
            assert_eq!(one, config(json!({option.as_str(): value})));
        }
        assert!(ldap["config"]["ldap"].get("password").is_none());
        for at in ["ldap/password", "ldap/nosuch", "nosuch", "nosuch/url"] {
            c.get(&admin, &format!("/v3/domains/config/{at}/default")).await.is(403);
        }
        c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        c.get(&bob, "/v3/domains/config/default").await.is(403);
    })
    .await;
}

#[tokio::test]
async fn security_compliance() {
    each_with(
        |s| {
            s.identity.security.password_regex = Some("^.{2,}$".into());
            s.identity.security.password_regex_description = "two characters".into();
        },
        async |c| {
            let admin = c.admin().await;
            c.person(&admin, "bob", "reader").await;
            let bob = c.token("bob", "pw", "bob-project").await;
            let path = "/v3/domains/default/config/security_compliance";
            let both = json!({"password_regex": "^.{2,}$", "password_regex_description": "two characters"});
            assert_eq!(c.get(&bob, path).await.is(200).json(), config(json!({"security_compliance": both})));
            for (option, value) in both.as_object().unwrap() {
                let at = format!("{path}/{option}");
                assert_eq!(c.get(&bob, &at).await.is(200).json(), config(json!({option.as_str(): value})));
                c.call(&bob, "HEAD", &at, None).await.is(200);
            }
            c.get(&bob, &format!("{path}/lockout_failure_attempts")).await.is(403);
            c.get(&bob, "/v3/domains/other/config/security_compliance").await.is(403);
            c.call("", "GET", path, None).await.is(401);
            for method in ["PATCH", "DELETE"] {
                let answer = c.call(&admin, method, path, Some(config(json!({})))).await;
                assert!(matches!(answer.status, 403 | 405), "{method}: {}", answer.status);
            }
        },
    )
    .await;
    each(async |c| {
        let admin = c.admin().await;
        let body = c.get(&admin, "/v3/domains/default/config/security_compliance").await.is(200).json();
        assert_eq!(
            body["config"]["security_compliance"],
            json!({"password_regex": null, "password_regex_description": null})
        );
    })
    .await;
}
