//! `/v3/credentials`: who sees and changes which.

use super::support::*;
use ferrostack_model::{AppCredRef, TokenClaims, TrustRef};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A token like `token`, changed and signed anew with the service's key.
pub fn forged(c: &Cloud, token: &str, change: impl Fn(&mut TokenClaims)) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let body = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let mut claims: TokenClaims = serde_json::from_slice(&body).unwrap();
    change(&mut claims);
    let header = jsonwebtoken::decode_header(token).unwrap();
    let pem = c.settings.identity.key_directory.join(format!("{}.pem", header.kid.as_ref().unwrap()));
    let key = jsonwebtoken::EncodingKey::from_ec_pem(&std::fs::read(pem).unwrap()).unwrap();
    ferrostack_client::lower(jsonwebtoken::encode(&header, &claims, &key).unwrap())
}

/// Tokens like `token`, of each kind of delegation.
pub fn delegated(c: &Cloud, token: &str) -> Vec<(&'static str, String)> {
    let app_cred = |restricted: bool| AppCredRef { id: "a".into(), restricted, access_rules: None };
    vec![
        ("application credential", forged(c, token, |t| t.app_cred = Some(app_cred(false)))),
        ("restricted application credential", forged(c, token, |t| t.app_cred = Some(app_cred(true)))),
        ("trust", forged(c, token, |t| t.trust = Some(TrustRef { id: "t".into(), ..Default::default() }))),
        ("ec2", forged(c, token, |t| t.methods = vec!["ec2credential".into()])),
        ("re-scoped ec2", forged(c, token, |t| t.methods = vec!["token".into(), "ec2credential".into()])),
    ]
}

pub fn ec2_id(access: &str) -> String {
    hex::encode(Sha256::digest(access.as_bytes()))
}

async fn add(c: &Cloud, token: &str, body: Value) -> Value {
    c.post(token, "/v3/credentials", json!({"credential": body})).await.is(201).json()["credential"].clone()
}

async fn ids(c: &Cloud, token: &str, query: &str) -> Vec<String> {
    let body = c.get(token, &format!("/v3/credentials{query}")).await.is(200).json();
    let all = body["credentials"].as_array().unwrap();
    all.iter().map(|x| x["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_method() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let cert = add(c, &bob, json!({"user_id": user, "type": "cert", "blob": "x", "colour": "red"})).await;
        let id = cert["id"].as_str().unwrap().to_owned();
        let link = format!("{}/v3/credentials/{id}", c.base);
        assert_eq!(
            cert,
            json!({"id": id, "user_id": user, "project_id": null, "type": "cert", "blob": "x",
                "colour": "red", "links": {"self": link}})
        );
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
        // A blob is kept to the letter, JSON or not.
        let blob = "{\"access\": \"AK1\",  \"secret\":\"hunter2\", \"ü\": [1]}";
        let ec2 = json!({"user_id": user, "type": "ec2", "project_id": project, "blob": blob});
        let made = add(c, &bob, ec2.clone()).await;
        assert_eq!(made["id"], ec2_id("AK1"));
        assert_eq!(made["blob"], blob);
        let path = format!("/v3/credentials/{}", ec2_id("AK1"));
        assert_eq!(c.get(&bob, &path).await.is(200).json()["credential"], made);
        c.call(&bob, "HEAD", &path, None).await.is(200);
        c.post(&bob, "/v3/credentials", json!({"credential": ec2})).await.is(409);

        // `openstack credential create --type ec2` without a project says null.
        let loose =
            json!({"user_id": user, "type": "ec2", "project_id": null, "blob": "{\"access\": \"AK0\"}"});
        assert_eq!(add(c, &bob, loose).await["project_id"], Value::Null);
        c.delete(&bob, &format!("/v3/credentials/{}", ec2_id("AK0"))).await.is(204);

        assert_eq!(ids(c, &bob, "").await, [id.clone(), ec2_id("AK1")]);
        assert_eq!(ids(c, &bob, "?type=cert").await, std::slice::from_ref(&id));
        assert_eq!(ids(c, &admin, &format!("?user_id={user}&type=ec2")).await, [ec2_id("AK1")]);
        assert_eq!(ids(c, &admin, "?user_id=nobody").await, Vec::<String>::new());
        let first = c.get(&bob, "/v3/credentials?limit=1").await.is(200).json();
        assert_eq!(first["credentials"][0]["id"], id.as_str());
        assert_eq!(first["truncated"], true);

        // As tempest: the keys of an EC2 credential change, its id does not.
        let new = "{\"access\": \"AK2\", \"secret\": \"x\"}";
        let answer = c.patch(&bob, &path, json!({"credential": {"blob": new}})).await.is(200).json();
        assert_eq!((&answer["credential"]["blob"], &answer["credential"]["id"]), (&json!(new), &made["id"]));
        // `openstack credential set` repeats what cannot change.
        let all = json!({"user_id": user, "type": "cert", "blob": "y", "project_id": null});
        c.patch(&bob, &format!("/v3/credentials/{id}"), json!({"credential": all})).await.is(200);
        assert_eq!(c.get(&bob, &format!("/v3/credentials/{id}")).await.json()["credential"]["blob"], "y");

        c.delete(&bob, &path).await.is(204);
        c.get(&bob, &path).await.is(403);
        c.get(&admin, &path).await.says(404, &format!("Could not find credential: {}.", ec2_id("AK1")));
        c.delete(&admin, &path).await.is(404);
        c.patch(&admin, &path, json!({"credential": {"blob": "x"}})).await.is(404);
    })
    .await;
}

/// The blob is not in the database, and only the key file opens it, for every replica.
#[tokio::test]
async fn blobs_are_encrypted_at_rest() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let made = add(c, &bob, json!({"user_id": user, "type": "x", "blob": "CANARY-hunter2"})).await;
        let path = format!("/v3/credentials/{}", made["id"].as_str().unwrap());
        let (replica, running) = c.replica().await;
        assert_eq!(c.get(&bob, &format!("{replica}{path}")).await.is(200).json()["credential"]["blob"], "CANARY-hunter2");
        running.stop().await;
        let stored = c.sql("SELECT blob FROM credential").await;
        assert!(stored.starts_with("v1.") && !stored.contains("CANARY"), "{stored}");
        // Copied into another row it does not open.
        add(c, &bob, json!({"user_id": user, "type": "y", "blob": "other"})).await;
        c.sql("UPDATE credential SET blob = (SELECT blob FROM credential WHERE type = 'y') WHERE type = 'x' RETURNING id")
            .await;
        let answer = c.get(&bob, &path).await.is(500);
        assert!(!answer.text.contains("other") && !answer.text.contains("v1."), "{}", answer.text);
        c.get(&bob, "/v3/credentials").await.is(500);
        c.delete(&bob, &path).await.is(204);
        c.get(&bob, "/v3/credentials").await.is(200);
    })
    .await;
}

#[tokio::test]
async fn go_with_their_user_and_project() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let (other, _) = c.person(&admin, "eve", "member").await;
        for (n, project) in [&project, &other].into_iter().enumerate() {
            let blob = json!({"access": format!("AK{n}"), "secret": "s"}).to_string();
            add(c, &admin, json!({"user_id": user, "type": "ec2", "project_id": project, "blob": blob}))
                .await;
        }
        let free = add(c, &admin, json!({"user_id": user, "type": "cert", "blob": "x"})).await;
        c.delete(&admin, &format!("/v3/projects/{other}")).await.is(204);
        let query = format!("?user_id={user}");
        assert_eq!(ids(c, &admin, &query).await, [ec2_id("AK0"), free["id"].as_str().unwrap().to_owned()]);
        c.delete(&admin, &format!("/v3/users/{user}")).await.is(204);
        assert_eq!(ids(c, &admin, "").await, Vec::<String>::new());
        assert_eq!(c.sql("SELECT CAST(COUNT(*) AS TEXT) FROM credential").await, "0");
    })
    .await;
}

/// S-2019-006: a member of a project sees and touches only their own, whatever they ask for.
#[tokio::test]
async fn ossa_2019_006_no_foreign_credentials() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, bob) = c.person(&admin, "bob", "member").await;
        let (_, eve) = c.person(&admin, "eve", "reader").await;
        let reader = c.role(&admin, "reader").await;
        c.put(&admin, &format!("/v3/projects/{project}/users/{eve}/roles/{reader}")).await.is(204);
        let (bobs, eves) = (
            add(c, &admin, json!({"user_id": bob, "project_id": project, "type": "cert", "blob": "hunter2"}))
                .await,
            add(c, &admin, json!({"user_id": eve, "type": "cert", "blob": "mine"})).await,
        );
        let token = c.token("eve", "pw", "bob-project").await;
        let mine = [eves["id"].as_str().unwrap().to_owned()];
        assert_eq!(ids(c, &token, "").await, mine);
        assert_eq!(ids(c, &token, "?type=cert").await, mine);
        for query in [format!("?user_id={bob}"), format!("?user_id={eve}&user_id={bob}")] {
            let answer = c.get(&token, &format!("/v3/credentials{query}")).await.is(200);
            assert!(answer.json()["credentials"].as_array().unwrap().is_empty(), "{query}");
        }
        let path = format!("/v3/credentials/{}", bobs["id"].as_str().unwrap());
        for (method, body) in [
            ("GET", None),
            ("HEAD", None),
            ("PATCH", Some(json!({"credential": {"blob": "x"}}))),
            (
                "PATCH",
                Some(json!({"credential": {"user_id": eve}, "target": {"credential": {"user_id": eve}}})),
            ),
            ("DELETE", None),
        ] {
            let answer = c.call(&token, method, &format!("{path}?user_id={eve}"), body).await.is(403);
            assert!(!answer.text.contains("hunter2"));
        }
        let foreign = json!({"user_id": bob, "type": "cert", "blob": "x"});
        c.post(&token, "/v3/credentials", json!({"credential": foreign})).await.is(403);
        assert_eq!(c.get(&admin, &path).await.json()["credential"], bobs);
        // Who reads the whole system sees all and changes nothing.
        let (_, auditor) = c.person(&admin, "sys", "reader").await;
        c.put(&admin, &format!("/v3/system/users/{auditor}/roles/{reader}")).await.is(204);
        let system = c.login("sys", "pw", json!({"system": {"all": true}})).await.is(201).token.unwrap();
        assert_eq!(ids(c, &system, "").await.len(), 2);
        c.get(&system, &path).await.is(200);
        c.delete(&system, &path).await.is(403);
        c.patch(&system, &path, json!({"credential": {"blob": "x"}})).await.is(403);
    })
    .await;
}

/// S-2020-004, X29: owner, project, type and delegation of a credential never change.
#[tokio::test]
async fn ossa_2020_004_an_update_changes_no_owner_and_no_delegation() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, bob) = c.person(&admin, "bob", "member").await;
        let (other, eve) = c.person(&admin, "eve", "member").await;
        let token = c.token("bob", "pw", "bob-project").await;
        let blob = |trust: Value, app_cred: Value| {
            json!({"access": "AK", "secret": "s", "trust_id": trust, "app_cred_id": app_cred}).to_string()
        };
        let made = add(
            c,
            &token,
            json!({"user_id": bob, "type": "ec2", "project_id": project, "blob": blob(json!("t"), Value::Null)}),
        )
        .await;
        let path = format!("/v3/credentials/{}", made["id"].as_str().unwrap());
        for bad in [
            json!({"user_id": eve}),
            json!({"user_id": eve, "blob": made["blob"]}),
            json!({"project_id": other}),
            json!({"project_id": null}),
            json!({"type": "cert"}),
            json!({"type": "EC2"}),
            json!({"id": "x"}),
            json!({"blob": blob(json!("t2"), Value::Null)}),
            json!({"blob": blob(Value::Null, Value::Null)}),
            json!({"blob": blob(json!("t"), json!("a"))}),
            json!({"blob": json!({"access": "AK", "secret": "s"}).to_string()}),
            json!({"blob": json!({"access": "AK", "secret": "s", "trust_id": "t", "access_id": "x"}).to_string()}),
            json!({"blob": json!({"access": "AK", "secret": "s", "trust_id": "t", "access_token_id": 1}).to_string()}),
            json!({"blob": "no JSON"}),
            json!({"blob": "[]"}),
            json!({"blob": json!({"secret": "s", "trust_id": "t"}).to_string()}),
        ] {
            for who in [&token, &admin] {
                let answer = c.patch(who, &path, json!({"credential": bad})).await;
                assert_eq!(answer.status, 400, "{bad}: {}", answer.text);
            }
        }
        assert_eq!(c.get(&token, &path).await.json()["credential"], made);
        c.patch(&token, &path, json!({"credential": {"blob": blob(json!("t"), Value::Null)}})).await.is(200);
    })
    .await;
}

/// S-2026-005, S-2026-015 (d), X19, M06: no delegated token reads, makes, changes or removes credentials.
#[tokio::test]
async fn ossa_2026_005_delegated_tokens_have_no_credentials() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, bob) = c.person(&admin, "bob", "member").await;
        let (other, _) = c.person(&admin, "eve", "member").await;
        let token = c.token("bob", "pw", "bob-project").await;
        let blob = |access: &str| json!({"access": access, "secret": "hunter2"}).to_string();
        let ec2 = json!({"user_id": bob, "type": "ec2", "project_id": project, "blob": blob("AK")});
        let ids_of = [
            add(c, &token, ec2).await["id"].clone(),
            add(c, &token, json!({"user_id": bob, "type": "totp", "blob": "hunter2"})).await["id"].clone(),
        ];
        let by_access = format!("/v3/users/{bob}/credentials/OS-EC2");
        let before = c.get(&token, "/v3/credentials").await.is(200).text;
        for (kind, weak) in delegated(c, &token).into_iter().chain(delegated(c, &admin)) {
            let list = c.get(&weak, "/v3/credentials").await.is(200);
            assert_eq!(list.json()["credentials"], json!([]), "{kind}");
            assert_eq!(
                c.get(&weak, &format!("/v3/credentials?user_id={bob}")).await.is(200).json()["credentials"],
                json!([])
            );
            for id in &ids_of {
                let path = format!("/v3/credentials/{}", id.as_str().unwrap());
                assert_eq!(c.get(&weak, &path).await.status, 403, "{kind}");
                for patch in
                    [json!({"blob": blob("AK")}), json!({"project_id": other}), json!({"type": "cert"})]
                {
                    let status = c.patch(&weak, &path, json!({"credential": patch})).await.status;
                    assert!(matches!(status, 400 | 403), "{kind}: {status}");
                }
                assert_eq!(c.delete(&weak, &path).await.status, 403, "{kind}");
            }
            for project in [&project, &other] {
                for (type_, blob) in [("ec2", blob("NEW")), ("totp", "x".into()), ("cert", "x".into())] {
                    let body = json!({"user_id": bob, "type": type_, "project_id": project, "blob": blob});
                    let answer = c.post(&weak, "/v3/credentials", json!({"credential": body})).await;
                    assert_eq!(answer.status, 403, "{kind} {type_}");
                }
                let answer = c.post(&weak, &by_access, json!({"tenant_id": project})).await;
                assert_eq!(answer.status, 403, "{kind}");
            }
            assert_eq!(c.get(&weak, &by_access).await.status, 403, "{kind}");
            assert_eq!(c.get(&weak, &format!("{by_access}/AK")).await.status, 403, "{kind}");
            assert_eq!(c.delete(&weak, &format!("{by_access}/AK")).await.status, 403, "{kind}");
        }
        assert_eq!(c.get(&token, "/v3/credentials").await.is(200).text, before);
    })
    .await;
}

#[tokio::test]
async fn bad_input() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, bob) = c.person(&admin, "bob", "member").await;
        let good =
            json!({"user_id": bob, "type": "ec2", "project_id": project, "blob": "{\"access\": \"A\"}"});
        let mut bad =
            vec![json!({}), json!([]), json!(null), json!({"credential": []}), json!({"credential": {}})];
        for (name, values) in [
            (
                "user_id",
                vec![json!(5), json!(null), json!(""), json!("x".repeat(65)), json!("../x"), json!([])],
            ),
            ("project_id", vec![json!(5), json!(""), json!("x".repeat(65)), json!({})]),
            ("type", vec![json!(5), json!(null), json!(""), json!("x".repeat(256)), json!({"a": 1})]),
            (
                "blob",
                vec![
                    json!(5),
                    json!(null),
                    json!({"access": "hunter2"}),
                    json!(["hunter2"]),
                    json!("hunter2"),
                    json!("[\"hunter2\"]"),
                    json!("{}"),
                    json!("{\"secret\": \"hunter2\"}"),
                    json!("{\"access\": 5, \"secret\": \"hunter2\"}"),
                    json!("{\"access\": null}"),
                    json!("a\u{0}b"),
                    json!("[".repeat(3000)),
                ],
            ),
        ] {
            for value in values {
                let mut body = good.clone();
                body[name] = value;
                bad.push(json!({"credential": body}));
            }
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(name);
            bad.push(json!({"credential": body}));
        }
        for body in bad {
            let answer = c.post(&admin, "/v3/credentials", body.clone()).await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.text);
            assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        }
        for (name, value) in [("user_id", "nosuch"), ("project_id", "nosuch")] {
            let mut body = good.clone();
            body[name] = json!(value);
            c.post(&admin, "/v3/credentials", json!({"credential": body})).await.is(404);
        }
        let big = json!({"user_id": bob, "type": "x", "blob": "x".repeat(200_000)});
        c.post(&admin, "/v3/credentials", json!({"credential": big})).await.is(413);
        assert!(ids(c, &admin, "").await.is_empty());
        let made = add(c, &admin, good).await;
        let path = format!("/v3/credentials/{}", made["id"].as_str().unwrap());
        for body in [json!({}), json!({"credential": {}}), json!({"credential": {"blob": {"a": "hunter2"}}})]
        {
            let answer = c.patch(&admin, &path, body).await.is(400);
            assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        }
        for id in ["nosuch", "%25", "..%2f", "%27%20OR%201=1--", "%c3%28", &"x".repeat(2000)] {
            let status = c.get(&admin, &format!("/v3/credentials/{id}")).await.status;
            assert!(matches!(status, 400 | 404), "{id}: {status}");
        }
        assert_eq!(c.get(&admin, &path).await.json()["credential"], made);
    })
    .await;
}
