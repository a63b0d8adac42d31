//! Logins by several methods, one after the other.

use super::{
    support::*,
    totp::{SECRETS, by_both, by_totp, enroll, passcode},
};
use reqwest::Method;
use serde_json::{Value, json};

const RECEIPT: &str = "openstack-auth-receipt";

/// A user who needs password and passcode; project and user.
async fn careful(c: &Cloud, admin: &str, name: &str) -> (String, String) {
    let (project, user) = c.person(admin, name, "member").await;
    for secret in SECRETS {
        enroll(c, admin, &user, secret).await;
    }
    rules(c, admin, &user, json!([["password", "totp"]])).await;
    (project, user)
}

async fn rules(c: &Cloud, admin: &str, user: &str, rules: Value) {
    let options = json!({"multi_factor_auth_enabled": true, "multi_factor_auth_rules": rules});
    c.patch(admin, &format!("/v3/users/{user}"), json!({"user": {"options": options}})).await.is(200);
}

/// A login with a receipt.
async fn go_on(c: &Cloud, identity: Value, receipt: &str) -> Answer {
    let auth = json!({"auth": {"identity": identity}});
    c.send(Method::POST, "/v3/auth/tokens", &[(RECEIPT, receipt)], Some(&auth)).await
}

/// The receipt that a login must end with.
fn receipt_of(answer: Answer) -> String {
    let answer = answer.is(401);
    assert!(answer.token.is_none() && answer.json().get("receipt").is_some(), "{}", answer.text);
    answer.headers[RECEIPT].to_str().unwrap().to_owned()
}

/// 401 without a receipt.
fn refused(answer: Answer) {
    assert!(!answer.headers.contains_key(RECEIPT) && answer.token.is_none());
    answer.says(401, UNAUTHORIZED);
}

#[tokio::test]
async fn one_method_after_the_other() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = careful(c, &admin, "bob").await;
        let answer = c.login("bob", "pw", json!({"project": {"id": project}})).await.is(401);
        let body = answer.json();
        let (issued, expires) = (body["receipt"]["issued_at"].clone(), body["receipt"]["expires_at"].clone());
        assert_eq!(
            body,
            json!({"receipt": {"methods": ["password"], "issued_at": issued, "expires_at": expires,
                "user": {"domain": {"id": "default", "name": "Default"}, "id": user, "name": "bob"}},
                "required_auth_methods": [["password", "totp"]]})
        );
        let time = |v: &Value| chrono::DateTime::parse_from_rfc3339(v.as_str().unwrap()).unwrap();
        assert_eq!((time(&expires) - time(&issued)).num_seconds(), 300);
        assert!(expires.as_str().unwrap().ends_with('Z') && expires.as_str().unwrap().len() == 27);
        let receipt = receipt_of(answer);
        let auth = json!({"auth": {"identity": by_totp(&user, &passcode(SECRETS[0], 0)), "scope": {"project": {"id": project}}}});
        let answer = c.send(Method::POST, "/v3/auth/tokens", &[(RECEIPT, &receipt)], Some(&auth)).await.is(201);
        let mut methods = answer.json()["token"]["methods"].as_array().unwrap().clone();
        methods.sort_by_key(|m| m.as_str().unwrap().to_owned());
        assert_eq!(methods, ["password", "totp"]);
        assert_eq!(answer.json()["token"]["project"]["id"], json!(project));
        c.get(&answer.token.unwrap(), "/v3/auth/projects").await.is(200);
        // The other way round, and both at once.
        let receipt = receipt_of(c.authenticate(by_totp(&user, &passcode(SECRETS[1], 0)), Value::Null).await);
        go_on(c, by_name("bob", "pw"), &receipt).await.is(201);
        c.authenticate(by_both("bob", &user, &passcode(SECRETS[2], 0)), Value::Null).await.is(201);
        // A wrong password says nothing of rules.
        refused(c.login("bob", "wrong", Value::Null).await);
    })
    .await;
}

/// A receipt is no token, and a token is no receipt.
#[tokio::test]
async fn receipts_and_tokens_are_two_things() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = careful(c, &admin, "bob").await;
        let receipt = receipt_of(c.login("bob", "pw", Value::Null).await);
        c.get(&receipt, "/v3/auth/projects").await.is(401);
        c.get(&receipt, &format!("/v3/users/{user}")).await.is(401);
        c.validate(&admin, &receipt).await.is(404);
        c.authenticate(by_token(&receipt), Value::Null).await.is(404);
        let headers = [("x-auth-token", receipt.as_str()), ("x-subject-token", receipt.as_str())];
        c.send(Method::GET, "/v3/auth/tokens", &headers, None).await.is(401);
        let token = c.token("admin", "secret", "admin").await;
        let code = passcode(SECRETS[0], 0);
        // None of these attempts uses the passcode up.
        for none in [&token, "", "garbage", "a.b.c", &receipt[1..], &format!("{receipt}x"), &"x".repeat(5000)]
        {
            refused(go_on(c, by_totp(&user, &code), none).await);
        }
        go_on(c, by_totp(&user, &code), &receipt).await.is(201);
        // One's own token with the right methods is none either.
        c.patch(
            &admin,
            &format!("/v3/users/{user}"),
            json!({"user": {"options": {"multi_factor_auth_enabled": false}}}),
        )
        .await
        .is(200);
        let own = c.token("bob", "pw", "bob-project").await;
        rules(c, &admin, &user, json!([["password", "totp"]])).await;
        refused(go_on(c, by_totp(&user, &passcode(SECRETS[1], 0)), &own).await);
    })
    .await;
}

#[tokio::test]
async fn a_receipt_is_for_its_user_and_its_time() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, bob) = careful(c, &admin, "bob").await;
        let (_, eve) = c.person(&admin, "eve", "member").await;
        enroll(c, &admin, &eve, SECRETS[0]).await;
        rules(c, &admin, &eve, json!([["password", "totp"]])).await;
        let bobs = receipt_of(c.login("bob", "pw", Value::Null).await);
        refused(go_on(c, by_totp(&eve, &passcode(SECRETS[0], 0)), &bobs).await);
        refused(go_on(c, by_name("eve", "pw"), &bobs).await);
        refused(go_on(c, by_name("admin", "secret"), &bobs).await);
        // The same method again leads no further, and to nothing that lasts longer than a new login.
        receipt_of(go_on(c, by_name("bob", "pw"), &bobs).await);
        // A replica takes it.
        let (replica, running) = c.replica().await;
        let auth = json!({"auth": {"identity": by_totp(&bob, &passcode(SECRETS[1], 0))}});
        let path = format!("{replica}/v3/auth/tokens");
        c.send(Method::POST, &path, &[(RECEIPT, &bobs)], Some(&auth)).await.is(201);
        running.stop().await;
    })
    .await;
    each_with(
        |s| s.identity.receipt_ttl_seconds = 0,
        async |c| {
            let admin = c.admin().await;
            let (_, bob) = careful(c, &admin, "bob").await;
            let receipt = receipt_of(c.login("bob", "pw", Value::Null).await);
            refused(go_on(c, by_totp(&bob, &passcode(SECRETS[0], 0)), &receipt).await);
        },
    )
    .await;
}

/// What refuses the user's tokens refuses its receipts.
#[tokio::test]
async fn a_receipt_ends_with_the_password() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, bob) = careful(c, &admin, "bob").await;
        let path = format!("/v3/users/{bob}");
        let changes = [json!({"password": "pw"}), json!({"enabled": false})];
        for (change, secret) in changes.into_iter().zip(SECRETS) {
            let receipt = receipt_of(c.login("bob", "pw", Value::Null).await);
            c.patch(&admin, &path, json!({"user": change})).await.is(200);
            c.patch(&admin, &path, json!({"user": {"enabled": true}})).await.is(200);
            refused(go_on(c, by_totp(&bob, &passcode(secret, 0)), &receipt).await);
        }
        // One got afterwards is good.
        let receipt = receipt_of(c.login("bob", "pw", Value::Null).await);
        go_on(c, by_totp(&bob, &passcode(SECRETS[2], 0)), &receipt).await.is(201);
    })
    .await;
}

/// Carried methods do not last longer by being carried again.
#[tokio::test]
async fn a_receipt_is_not_renewed_by_another() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, bob) = careful(c, &admin, "bob").await;
        rules(c, &admin, &bob, json!([["password", "totp", "mapped"]])).await;
        let first = c.login("bob", "pw", Value::Null).await;
        let end = first.json()["receipt"]["expires_at"].clone();
        let second = go_on(c, by_totp(&bob, &passcode(SECRETS[0], 0)), &receipt_of(first)).await;
        let body = second.json();
        assert_eq!(body["receipt"]["expires_at"], end);
        assert_eq!(body["receipt"]["methods"], json!(["totp", "password"]));
        assert_eq!(body["required_auth_methods"], json!([["password", "totp", "mapped"]]));
    })
    .await;
}

/// A token from before the rules gets no other without the missing method, and then none that outlives it.
#[tokio::test]
async fn a_token_is_one_method_among_others() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, bob) = c.person(&admin, "bob", "member").await;
        enroll(c, &admin, &bob, SECRETS[0]).await;
        enroll(c, &admin, &bob, SECRETS[1]).await;
        let unscoped = c.login("bob", "pw", json!("unscoped")).await.is(201);
        let (old, end) = (unscoped.json()["token"].clone(), unscoped.json()["token"]["expires_at"].clone());
        let token = unscoped.token.unwrap();
        rules(c, &admin, &bob, json!([["password", "totp"]])).await;
        let scope = json!({"project": {"id": project}});
        let answer = c.authenticate(by_token(&token), scope.clone()).await;
        assert_eq!(answer.json()["receipt"]["methods"], json!(["token", "password"]));
        let receipt = receipt_of(answer);
        let new = go_on(c, by_totp(&bob, &passcode(SECRETS[0], 0)), &receipt).await.is(201).json();
        assert_eq!(new["token"]["expires_at"], end);
        assert_eq!(new["token"]["audit_ids"][1], old["audit_ids"][0]);
        let mut both = by_totp(&bob, &passcode(SECRETS[1], 0));
        both["methods"] = json!(["token", "totp"]);
        both["token"] = json!({"id": token});
        let new = c.authenticate(both, scope.clone()).await.is(201);
        assert_eq!(new.json()["token"]["expires_at"], end);
        // What was got by both is re-scoped as ever.
        c.authenticate(by_token(&new.token.unwrap()), json!("unscoped")).await.is(201);
    })
    .await;
}

/// Rules as Keystone reads them.
#[tokio::test]
async fn rules_that_count() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, bob) = c.person(&admin, "bob", "member").await;
        let path = format!("/v3/users/{bob}");
        let set = async |options: Value| {
            c.patch(&admin, &path, json!({"user": {"options": options}})).await.is(200);
        };
        let may = async || c.login("bob", "pw", Value::Null).await.status == 201;
        // Without the switch they count; switched off they do not.
        set(json!({"multi_factor_auth_rules": [["totp"]]})).await;
        assert!(!may().await);
        set(json!({"multi_factor_auth_enabled": false})).await;
        assert!(may().await);
        set(json!({"multi_factor_auth_enabled": true})).await;
        assert!(!may().await);
        for (rules, good) in [
            (json!([["totp"], ["password"]]), true),
            (json!([["password", "mapped"]]), false),
            (json!([["nonsense", "rubbish"]]), true),
            (json!([["totp", "nonsense"]]), false),
            (json!([]), true),
        ] {
            set(json!({"multi_factor_auth_rules": rules})).await;
            assert_eq!(may().await, good, "{rules}");
        }
        set(json!({"multi_factor_auth_rules": null})).await;
        assert!(may().await);
    })
    .await;
}
