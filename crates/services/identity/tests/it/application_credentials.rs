//! Application credentials and access rules.

use super::support::*;
use ferrostack_model::{Timestamp, id};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

/// A login with an application credential by id.
pub async fn with_cred(c: &Cloud, id: &str, secret: &str) -> Answer {
    c.authenticate(by_cred(id, secret), Value::Null).await
}

pub fn by_cred(id: &str, secret: &str) -> Value {
    json!({"methods": ["application_credential"], "application_credential": {"id": id, "secret": secret}})
}

/// Makes a credential with the members of `body` for the token's user; its (id, secret).
pub async fn make_cred(c: &Cloud, token: &str, user: &str, body: Value) -> (String, String) {
    let path = format!("/v3/users/{user}/application_credentials");
    let answer = c.post(token, &path, json!({"application_credential": body})).await.is(201).json();
    let cred = &answer["application_credential"];
    (cred["id"].as_str().unwrap().into(), cred["secret"].as_str().unwrap().into())
}

fn cred_path(user: &str, id: &str) -> String {
    format!("/v3/users/{user}/application_credentials/{id}")
}

#[tokio::test]
async fn made_shown_used_and_deleted() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let path = format!("/v3/users/{user}/application_credentials");
        let made =
            c.post(&bob, &path, json!({"application_credential": {"name": "ac1"}})).await.is(201).json();
        let cred = &made["application_credential"];
        let (id, secret) = (cred["id"].as_str().unwrap(), cred["secret"].as_str().unwrap());
        // As Keystone answers it.
        let mut names: Vec<&str> = cred.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "description",
                "expires_at",
                "id",
                "links",
                "name",
                "project_id",
                "roles",
                "secret",
                "system",
                "unrestricted",
                "user_id"
            ]
        );
        for name in ["description", "expires_at", "system", "unrestricted"] {
            assert!(cred[name].is_null(), "{name}");
        }
        assert_eq!((&cred["project_id"], &cred["user_id"]), (&json!(project), &json!(user)));
        let roles: Vec<&str> =
            cred["roles"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert_eq!(roles, ["member", "reader"]);
        assert_eq!(cred["roles"][0]["options"], json!({"immutable": true}));
        assert!(secret.len() >= 43);
        // The secret is in the create answer only.
        let shown = c.get(&bob, &cred_path(&user, id)).await.is(200);
        assert!(!shown.text.contains(secret) && shown.json()["application_credential"]["secret"].is_null());
        let list = c.get(&bob, &path).await.is(200);
        assert!(!list.text.contains(secret));
        assert_eq!(list.json()["application_credentials"][0]["id"], id);
        make_cred(c, &bob, &user, json!({"name": "ac2", "description": "two", "unrestricted": false})).await;
        assert_eq!(c.get(&bob, &path).await.json()["application_credentials"].as_array().unwrap().len(), 2);
        let found = c.get(&bob, &format!("{path}?name=ac2")).await.is(200).json();
        assert_eq!(found["application_credentials"].as_array().unwrap().len(), 1);
        assert_eq!(found["application_credentials"][0]["unrestricted"], false);
        c.post(&bob, &path, json!({"application_credential": {"name": "ac2"}})).await.is(409);
        // A login.
        let login = with_cred(c, id, secret).await.is(201);
        let body = login.json();
        let token = login.token.unwrap();
        assert_eq!(body["token"]["methods"], json!(["application_credential"]));
        assert_eq!(body["token"]["project"]["id"], project);
        assert_eq!(body["token"]["user"]["id"], user);
        assert_eq!(
            body["token"]["application_credential"],
            json!({"id": id, "name": "ac1", "restricted": true})
        );
        c.get(&token, &format!("/v3/projects/{project}")).await.is(200);
        let seen = c.validate(&admin, &token).await.is(200).json();
        assert_eq!(seen["token"]["application_credential"]["id"], id);
        // By name and owner.
        for owner in [json!({"id": user}), json!({"name": "bob", "domain": {"id": "default"}})] {
            let by_name = json!({"methods": ["application_credential"],
                "application_credential": {"name": "ac1", "secret": secret, "user": owner}});
            c.authenticate(by_name, Value::Null).await.is(201);
        }
        c.delete(&bob, &cred_path(&user, id)).await.is(204);
        c.delete(&bob, &cred_path(&user, id))
            .await
            .says(404, &format!("Could not find Application Credential: {id}."));
        with_cred(c, id, secret).await.says(401, UNAUTHORIZED);
        c.get(&token, &format!("/v3/projects/{project}")).await.says(401, UNAUTHORIZED);
        c.validate(&admin, &token).await.is(404);
    })
    .await;
}

#[tokio::test]
async fn wrong_secrets_and_owners_are_the_same_401() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let (_, other) = c.person(&admin, "eve", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let (made, secret) = make_cred(c, &bob, &user, json!({"name": "gen"})).await;
        let (given, _) = make_cred(c, &bob, &user, json!({"name": "given", "secret": "s3"})).await;
        with_cred(c, &given, "s3").await.is(201);
        for (id, secret) in [
            (&made, &secret[1..]),
            (&made, ""),
            (&made, "s3"),
            (&given, "s4"),
            (&given, secret.as_str()),
            (&id::hex(), secret.as_str()),
            (&"x".repeat(300), "s3"),
        ] {
            with_cred(c, id, secret).await.says(401, UNAUTHORIZED);
        }
        with_cred(c, &given, &"x".repeat(5000)).await.says(401, UNAUTHORIZED);
        let named = |name: &str, owner: Value| {
            json!({"methods": ["application_credential"],
                "application_credential": {"name": name, "secret": secret, "user": owner}})
        };
        for (name, owner) in [
            ("gen", json!({"id": other})),
            ("gen", json!({"id": "nobody"})),
            ("gone", json!({"id": user})),
            ("gen", json!({"name": "bob", "domain": {"id": "nowhere"}})),
        ] {
            c.authenticate(named(name, owner), Value::Null).await.says(401, UNAUTHORIZED);
        }
    })
    .await;
}

/// Found by its id, a credential is its owner's whatever user the request names beside it.
#[tokio::test]
async fn ossa_2026_015_b_an_id_with_another_user() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let (_, other) = c.person(&admin, "eve", "admin").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let (id, secret) = make_cred(c, &bob, &user, json!({"name": "a"})).await;
        let with = |owner: Value| {
            json!({"methods": ["application_credential"],
                "application_credential": {"id": id, "secret": secret, "user": owner}})
        };
        let mine = c.authenticate(with(json!({"id": user})), Value::Null).await.is(201).json();
        assert_eq!(mine["token"]["user"]["id"], user);
        for owner in [json!({"id": other}), json!({"name": "eve", "domain": {"id": "default"}})] {
            c.authenticate(with(owner), Value::Null).await.says(401, UNAUTHORIZED);
        }
        // Nor beside another user's password (X37).
        let both = json!({"methods": ["password", "application_credential"],
            "password": {"user": {"id": other, "password": "pw"}},
            "application_credential": {"id": id, "secret": secret}});
        c.authenticate(both, Value::Null).await.says(401, UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn bad_input_changes_nothing() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let path = format!("/v3/users/{user}/application_credentials");
        let rule = |service: Value, method: Value, path: Value| {
            json!({"name": "x", "access_rules": [{"service": service, "method": method, "path": path}]})
        };
        for bad in [
            json!({}),
            json!({"name": ""}),
            json!({"name": " "}),
            json!({"name": 5}),
            json!({"name": "x".repeat(256)}),
            json!({"name": "x", "nonsense": 1}),
            json!({"name": "x", "description": 5}),
            json!({"name": "x", "description": "a\u{0}b"}),
            json!({"name": "x", "secret": 5}),
            json!({"name": "x", "secret": "y".repeat(4097)}),
            json!({"name": "x", "unrestricted": "yes"}),
            json!({"name": "x", "expires_at": "tomorrow"}),
            json!({"name": "x", "expires_at": 5}),
            json!({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}),
            json!({"name": "x", "roles": "member"}),
            json!({"name": "x", "roles": [{}]}),
            json!({"name": "x", "roles": [{"name": "member", "id": "x"}]}),
            json!({"name": "x", "roles": [{"name": "admin"}]}),
            json!({"name": "x", "access_rules": {}}),
            json!({"name": "x", "access_rules": [{"service": "compute", "path": "/x"}]}),
            rule(json!("compute"), json!("OPTIONS"), json!("/v2.1")),
            rule(json!("compute"), json!("GET"), json!("v2.1")),
            rule(json!("compute"), json!("GET"), json!("/".repeat(226))),
            rule(json!("co mpute"), json!("GET"), json!("/v2.1")),
            rule(json!(5), json!("GET"), json!("/v2.1")),
        ] {
            let answer = c.post(&bob, &path, json!({"application_credential": bad})).await;
            assert_eq!(answer.status, 400, "{bad} {}", answer.text);
            assert!(answer.text.len() < 1500, "{}", answer.text);
        }
        let many: Vec<Value> = (0..60)
            .map(|n| json!({"service": "compute", "method": "GET", "path": format!("/v2.1/{n}/{}", "x".repeat(80))}))
            .collect();
        let big = json!({"application_credential": {"name": "x", "access_rules": many}});
        c.post(&bob, &path, big).await.is(400);
        let secret = c
            .post(&bob, &path, json!({"application_credential": {"name": "x", "secret": ["hunter2"]}}))
            .await
            .is(400);
        assert!(!secret.text.contains("hunter2"), "{}", secret.text);
        let unknown = json!({"application_credential": {"name": "x", "roles": [{"name": "nosuch"}]}});
        c.post(&bob, &path, unknown).await.is(404);
        let unknown =
            json!({"application_credential": {"name": "x", "access_rules": [{"id": id::hex()}]}});
        c.post(&bob, &path, unknown).await.is(404);
        c.post(&bob, &path, json!({"name": "x"})).await.is(400);
        assert_eq!(c.get(&bob, &path).await.json()["application_credentials"], json!([]));
        assert_eq!(c.get(&bob, &format!("/v3/users/{user}/access_rules")).await.json()["access_rules"], json!([]));
        // For a project only.
        for scope in [json!("unscoped"), json!({"system": {"all": true}})] {
            let token = c.login("admin", "secret", scope).await;
            let Some(token) = token.token else { continue };
            let me = c.validate(&token, &token).await.json()["token"]["user"]["id"].clone();
            let path = format!("/v3/users/{}/application_credentials", me.as_str().unwrap());
            // The policy says that the rule is for projects; without that the input does.
            let answer = c.post(&token, &path, json!({"application_credential": {"name": "x"}})).await;
            assert!(matches!(answer.status, 400 | 403), "{}", answer.text);
        }
    })
    .await;
}

#[tokio::test]
async fn roles_of_the_token_only() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "manager").await;
        let custom = c.make(&admin, "roles", json!({"name": "custom"})).await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let path = format!("/v3/users/{user}/application_credentials");
        let with_custom = json!({"application_credential": {"name": "x", "roles": [{"id": custom}]}});
        c.post(&bob, &path, with_custom.clone()).await.says(
            400,
            "Invalid application credential: Cannot create an application credential with unassigned role",
        );
        // Granted since the token was got: it counts, as in Keystone.
        c.put(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{custom}")).await.is(204);
        c.post(&bob, &path, with_custom).await.is(201);
        let (id, secret) =
            make_cred(c, &bob, &user, json!({"name": "m", "roles": [{"name": "member"}]})).await;
        let names = |body: &Value| {
            let roles = body["token"]["roles"].as_array().unwrap();
            let mut names: Vec<String> =
                roles.iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        // What it implies comes with it.
        let login = with_cred(c, &id, &secret).await.is(201);
        assert_eq!(names(&login.json()), ["member", "reader"]);
        // Losing the manager role loses member with it; a grant of reader alone is not what was given.
        let (manager, reader) = (c.role(&admin, "manager").await, c.role(&admin, "reader").await);
        c.put(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{reader}")).await.is(204);
        c.delete(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{manager}")).await.is(204);
        let token = login.token.unwrap();
        c.get(&token, &format!("/v3/projects/{project}")).await.is(401);
        c.validate(&admin, &token).await.is(404);
        with_cred(c, &id, &secret).await.says(401, UNAUTHORIZED);
    })
    .await;
}

/// X16: a token never outlives its credential, and dies with it at once.
#[tokio::test]
async fn cve_2022_2447_no_token_outlives_its_credential() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let soon = Timestamp::now().plus_millis(2500);
        let body = json!({"name": "short", "expires_at": soon.iso_micros_naive(), "unrestricted": true});
        let (id, secret) = make_cred(c, &bob, &user, body).await;
        let shown = c.get(&bob, &cred_path(&user, &id)).await.is(200).json();
        assert_eq!(shown["application_credential"]["expires_at"], soon.iso_micros_naive());
        let login = with_cred(c, &id, &secret).await.is(201);
        assert_eq!(login.json()["token"]["expires_at"], soon.iso_micros());
        let token = login.token.unwrap();
        // Neither does what is got with that token, nor a credential that it makes.
        let again = c.authenticate(by_token(&token), Value::Null).await.is(201);
        assert_eq!(again.json()["token"]["expires_at"], soon.iso_micros());
        let (child, child_secret) = make_cred(c, &token, &user, json!({"name": "child"})).await;
        let seen = c.get(&bob, &cred_path(&user, &child)).await.is(200).json();
        assert_eq!(seen["application_credential"]["expires_at"], soon.iso_micros_naive());
        let probe = format!("/v3/projects/{project}");
        eventually("the token expires", async || c.get(&token, &probe).await.status == 401).await;
        with_cred(c, &id, &secret).await.says(401, UNAUTHORIZED);
        with_cred(c, &child, &child_secret).await.says(401, UNAUTHORIZED);
        c.validate(&admin, &token).await.is(404);
        c.get(&again.token.unwrap(), &probe).await.is(401);
    })
    .await;
}

/// Everything a credential stands on takes its tokens with it, at once.
#[tokio::test]
async fn it_goes_with_what_it_stands_on() {
    each(async |c| {
        let admin = c.admin().await;
        for step in ["credential", "grant", "role", "project", "user", "disabled", "password"] {
            let name = format!("u-{step}");
            let (project, user) = c.person(&admin, &name, "member").await;
            let role = c.make(&admin, "roles", json!({"name": format!("r-{step}")})).await;
            let grant = format!("/v3/projects/{project}/users/{user}/roles/{role}");
            c.put(&admin, &grant).await.is(204);
            let own = c.token(&name, "pw", &format!("{name}-project")).await;
            let (id, secret) = make_cred(c, &own, &user, json!({"name": "a", "roles": [{"id": role}]})).await;
            let token = with_cred(c, &id, &secret).await.is(201).token.unwrap();
            let me = format!("/v3/users/{user}");
            c.get(&token, &me).await.is(200);
            match step {
                "credential" => c.delete(&own, &cred_path(&user, &id)).await.is(204),
                "grant" => c.delete(&admin, &grant).await.is(204),
                "role" => c.delete(&admin, &format!("/v3/roles/{role}")).await.is(204),
                "project" => c.delete(&admin, &format!("/v3/projects/{project}")).await.is(204),
                "user" => c.delete(&admin, &me).await.is(204),
                "disabled" => c.patch(&admin, &me, json!({"user": {"enabled": false}})).await.is(200),
                _ => c.patch(&admin, &me, json!({"user": {"password": "new"}})).await.is(200),
            };
            c.get(&token, &me).await.says(401, UNAUTHORIZED);
            c.validate(&admin, &token).await.is(404);
            let login = with_cred(c, &id, &secret).await;
            if step == "password" {
                // Machines go on when their owner changes the password; that is what they are for.
                login.is(201);
            } else {
                login.says(401, UNAUTHORIZED);
            }
            if step == "disabled" {
                c.patch(&admin, &me, json!({"user": {"enabled": true}})).await.is(200);
                with_cred(c, &id, &secret).await.says(401, UNAUTHORIZED);
            }
        }
    })
    .await;
}

/// X28: nobody reads or deletes another's credentials, by whichever of the two paths.
#[tokio::test]
async fn lp_1901207_others_credentials() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let (_, other) = c.person(&admin, "eve", "member").await;
        let (bob, eve) =
            (c.token("bob", "pw", "bob-project").await, c.token("eve", "pw", "eve-project").await);
        let rules = json!([{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]);
        let (id, secret) = make_cred(c, &bob, &user, json!({"name": "a", "access_rules": rules})).await;
        let rule = c.get(&bob, &format!("/v3/users/{user}/access_rules")).await.is(200).json();
        let rule = rule["access_rules"][0]["id"].as_str().unwrap().to_owned();
        for (path, eves) in [
            (cred_path(&user, &id), cred_path(&other, &id)),
            (
                format!("/v3/users/{user}/access_rules/{rule}"),
                format!("/v3/users/{other}/access_rules/{rule}"),
            ),
        ] {
            for method in ["GET", "HEAD", "DELETE"] {
                assert_eq!(c.call(&eve, method, &path, None).await.status, 403, "{method} {path}");
                assert_eq!(c.call(&eve, method, &eves, None).await.status, 404, "{method} {eves}");
            }
        }
        c.get(&eve, &format!("/v3/users/{user}/application_credentials")).await.is(403);
        c.get(&eve, &format!("/v3/users/{user}/access_rules")).await.is(403);
        // Not even an admin makes them for another user, or with another's access rule.
        let body = json!({"application_credential": {"name": "b"}});
        c.post(&eve, &format!("/v3/users/{user}/application_credentials"), body.clone()).await.is(403);
        c.post(&admin, &format!("/v3/users/{user}/application_credentials"), body).await.is(403);
        let theirs = json!({"application_credential": {"name": "b", "access_rules": [{"id": rule}]}});
        c.post(&eve, &format!("/v3/users/{other}/application_credentials"), theirs).await.is(404);
        // An admin sees and deletes them, as in Keystone.
        c.get(&admin, &cred_path(&user, &id)).await.is(200);
        with_cred(c, &id, &secret).await.is(201);
        c.delete(&admin, &cred_path(&user, &id)).await.is(204);
        with_cred(c, &id, &secret).await.is(401);
    })
    .await;
}

#[tokio::test]
async fn access_rules_are_shared_and_outlive_credentials() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let one = json!({"service": "compute", "method": "GET", "path": "/v2.1/servers/*/ips"});
        let two = json!({"service": "image", "method": "GET", "path": "/v2/images"});
        let path = format!("/v3/users/{user}/application_credentials");
        let body = json!({"application_credential": {"name": "a", "access_rules": [one, two]}});
        let made = c.post(&bob, &path, body).await.is(201).json()["application_credential"].clone();
        let mut first = made["access_rules"][0].clone();
        let first_id = first["id"].as_str().unwrap().to_owned();
        first.as_object_mut().unwrap().remove("id");
        assert_eq!(first, one);
        // The same content is the same rule; and it can be named by its id.
        let body = json!({"application_credential": {"name": "b", "access_rules": [one, {"id": first_id}]}});
        let again = c.post(&bob, &path, body).await.is(201).json()["application_credential"].clone();
        assert_eq!(again["access_rules"][0]["id"], first_id);
        let all = format!("/v3/users/{user}/access_rules");
        assert_eq!(c.get(&bob, &all).await.is(200).json()["access_rules"].as_array().unwrap().len(), 2);
        for (query, count) in
            [("service=image", 1), ("method=GET", 2), ("path=/v2/images", 1), ("service=x", 0)]
        {
            let found = c.get(&bob, &format!("{all}?{query}")).await.is(200).json();
            assert_eq!(found["access_rules"].as_array().unwrap().len(), count, "{query}");
        }
        let rule = format!("{all}/{first_id}");
        let shown = c.get(&bob, &rule).await.is(200).json();
        assert_eq!(shown["access_rule"]["path"], "/v2.1/servers/*/ips");
        c.delete(&bob, &rule).await.says(403, "May not delete access rule in use");
        for cred in [&made, &again] {
            c.delete(&bob, &cred_path(&user, cred["id"].as_str().unwrap())).await.is(204);
        }
        c.get(&bob, &rule).await.is(200);
        c.delete(&bob, &rule).await.is(204);
        c.get(&bob, &rule).await.says(404, &format!("Could not find Access Rule: {first_id}."));
        c.delete(&admin, &format!("/v3/users/{user}")).await.is(204);
    })
    .await;
}

#[tokio::test]
async fn access_rules_are_kept_to() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let rules = json!([
            {"service": "identity", "method": "GET", "path": "/v3/projects/*"},
            {"service": "identity", "method": "GET", "path": "/v3/users/{user_id}/**"},
            {"service": "compute", "method": "GET", "path": "/v3/users/*"},
        ]);
        let body = json!({"name": "a", "access_rules": rules, "unrestricted": true});
        let (id, secret) = make_cred(c, &bob, &user, body).await;
        let login = with_cred(c, &id, &secret).await.is(201);
        assert_eq!(
            login.json()["token"]["application_credential"]["access_rules"][0]["path"],
            "/v3/projects/*"
        );
        let token = login.token.unwrap();
        c.get(&token, &format!("/v3/projects/{project}")).await.is(200);
        c.get(&token, &format!("/v3/users/{user}/projects")).await.is(200);
        for (method, path) in [
            ("HEAD", format!("/v3/projects/{project}")),
            ("GET", format!("/v3/projects/{project}/tags")),
            ("GET", format!("/v3//projects/{project}")),
            ("GET", format!("/v3/projects/{project}/")),
            ("GET", format!("/v3/users/{user}")),
            ("GET", "/v3/auth/projects".to_owned()),
        ] {
            let answer = c.call(&token, method, &path, None).await;
            assert_eq!(answer.status, 401, "{method} {path} {}", answer.text);
        }
        let more = json!({"application_credential": {"name": "b"}});
        c.post(&token, &format!("/v3/users/{user}/application_credentials"), more).await.is(401);
        // A service that was asked by the user asks on: its own token beside the user's.
        let path = format!("/v3/users/{user}");
        let service = std::fs::read_to_string(&c.settings.credentials.password_file).unwrap();
        let service = c.token("nova", service.trim(), "service").await;
        let send = async |beside: &str| {
            let headers = [("x-auth-token", token.as_str()), ("x-service-token", beside)];
            c.send(Method::GET, &path, &headers, None).await.status
        };
        assert_eq!(send(&service).await, 200);
        for no_service in [bob.as_str(), token.as_str(), "", "garbage"] {
            assert_eq!(send(no_service).await, 401);
        }
        // Validation tells only who keeps to rules.
        let validate = async |version: Option<&str>| {
            let mut headers = vec![("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
            headers.extend(version.map(|v| ("openstack-identity-access-rules", v)));
            c.send(Method::GET, "/v3/auth/tokens", &headers, None).await
        };
        for version in [None, Some("0.9"), Some("x"), Some("")] {
            validate(version).await.says(404, "Failed to validate token");
        }
        for version in ["1.0", "1", "2.5"] {
            let seen = validate(Some(version)).await.is(200).json();
            assert_eq!(seen["token"]["application_credential"]["access_rules"].as_array().unwrap().len(), 3);
        }
        // The holder may look at it, and nothing is lost by another token of the same.
        let mine = [
            ("x-auth-token", token.as_str()),
            ("x-subject-token", token.as_str()),
            ("openstack-identity-access-rules", "1.0"),
        ];
        c.send(Method::GET, "/v3/auth/tokens", &mine, None).await.is(200);
        let again = c.authenticate(by_token(&token), Value::Null).await.is(201).token.unwrap();
        c.get(&again, &format!("/v3/projects/{project}")).await.is(200);
        c.get(&again, "/v3/auth/projects").await.is(401);
    })
    .await;
}

/// What an unrestricted credential with access rules makes is within its own rules.
#[tokio::test]
async fn rules_are_handed_on() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let create = format!("/v3/users/{user}/application_credentials");
        let rules = json!([{"service": "identity", "method": "POST", "path": create},
            {"service": "compute", "method": "GET", "path": "/v2.1/**"}]);
        let (id, secret) =
            make_cred(c, &bob, &user, json!({"name": "a", "access_rules": rules, "unrestricted": true}))
                .await;
        let token = with_cred(c, &id, &secret).await.is(201).token.unwrap();
        let wider = json!([{"service": "compute", "method": "POST", "path": "/v2.1/**"}]);
        for bad in [
            json!({"name": "b"}),
            json!({"name": "b", "access_rules": []}),
            json!({"name": "b", "access_rules": wider}),
        ] {
            c.post(&token, &create, json!({"application_credential": bad})).await.is(400);
        }
        make_cred(c, &token, &user, json!({"name": "b", "access_rules": [rules[1]]})).await;
    })
    .await;
}

#[tokio::test]
async fn a_limit_of_credentials_holds_beside_others() {
    each_with(
        |s| s.identity.application_credential_user_limit = 3,
        async |c| {
            let admin = c.admin().await;
            let (_, user) = c.person(&admin, "bob", "member").await;
            let bob = c.token("bob", "pw", "bob-project").await;
            let path = format!("/v3/users/{user}/application_credentials");
            let (c, bob, path) = (&*c, &bob, &path);
            let made = join_all((0..8).map(|n| async move {
                c.post(bob, path, json!({"application_credential": {"name": format!("n{n}")}})).await
            }))
            .await;
            assert_eq!(made.iter().filter(|a| a.status == 201).count(), 3);
            assert!(made.iter().all(|a| matches!(a.status, 201 | 403)));
            c.post(bob, path, json!({"application_credential": {"name": "x"}})).await.says(
                403,
                "Unable to create additional application credentials, maximum of 3 already exceeded for user.",
            );
        },
    )
    .await;
}

/// Eight requests for credentials with the same new access rule end with one rule.
#[tokio::test]
async fn the_same_rule_at_once() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let path = format!("/v3/users/{user}/application_credentials");
        let (c, bob, path) = (&*c, &bob, &path);
        let rules = &json!([{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]);
        let made = join_all((0..8).map(|n| async move {
            let body = json!({"name": format!("n{n}"), "access_rules": rules});
            c.post(bob, path, json!({"application_credential": body})).await.is(201).json()
        }))
        .await;
        let id = &made[0]["application_credential"]["access_rules"][0]["id"];
        assert!(made.iter().all(|m| m["application_credential"]["access_rules"][0]["id"] == *id));
    })
    .await;
}

/// Secrets in the database: neither a generated nor a given one can be read there.
#[tokio::test]
async fn secrets_are_not_stored() {
    use ferrostack_db::sqlx;
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let (_, made) = make_cred(c, &bob, &user, json!({"name": "a"})).await;
        make_cred(c, &bob, &user, json!({"name": "b", "secret": "given-secret"})).await;
        let mut connection = c.tables().await;
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT name, secret FROM application_credential ORDER BY name")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert!(!rows[0].1.contains(&made) && rows[0].1.starts_with("$hmac-sha256$"), "{}", rows[0].1);
        assert!(
            !rows[1].1.contains("given-secret") && rows[1].1.starts_with("$bcrypt-sha256$"),
            "{}",
            rows[1].1
        );
    })
    .await;
}
