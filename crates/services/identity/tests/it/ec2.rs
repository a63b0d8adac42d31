//! EC2 credentials and the tokens for what they sign.

use super::{application_credentials::make_cred, credentials::ec2_id, support::*, trusts::Cast};
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

struct Pair {
    access: String,
    secret: String,
}

async fn pair(c: &Cloud, token: &str, user: &str, project: &str) -> Pair {
    let path = format!("/v3/users/{user}/credentials/OS-EC2");
    let made = c.post(token, &path, json!({"tenant_id": project})).await.is(201).json();
    let text = |name: &str| made["credential"][name].as_str().unwrap().to_owned();
    Pair { access: text("access"), secret: text("secret") }
}

/// An EC2 request signed with version 2 at a time.
fn signed_at(pair: &Pair, at: DateTime<Utc>) -> Value {
    let at = at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let query = format!(
        "AWSAccessKeyId={}&Action=DescribeInstances&SignatureMethod=HmacSHA256&SignatureVersion=2&Timestamp={}",
        pair.access,
        at.replace(':', "%3A")
    );
    let text = format!("GET\nec2.example\n/services/Cloud\n{query}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pair.secret.as_bytes()), text.as_bytes());
    json!({"access": pair.access, "signature": STANDARD.encode(tag), "verb": "GET", "host": "ec2.example",
        "path": "/services/Cloud", "params": {"AWSAccessKeyId": pair.access, "Action": "DescribeInstances",
        "SignatureMethod": "HmacSHA256", "SignatureVersion": "2", "Timestamp": at}})
}

fn signed(pair: &Pair) -> Value {
    signed_at(pair, Utc::now())
}

/// An S3 request signed as swift hands it on.
fn signed_s3(pair: &Pair) -> Value {
    let text = "GET\n\n\nFri, 20 Nov 2026 16:00:00 GMT\n/bucket/key";
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pair.secret.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
    json!({"access": pair.access, "token": STANDARD.encode(text), "signature": signature})
}

async fn redeem(c: &Cloud, service: &str, request: Value) -> Answer {
    c.post(service, "/v3/ec2tokens", json!({"ec2Credentials": request})).await
}

/// A token for a request signed with a new EC2 credential of the token's user.
pub async fn login(c: &Cloud, admin: &str, token: &str, user: &str, project: &str) -> Answer {
    let pair = pair(c, token, user, project).await;
    redeem(c, admin, signed(&pair)).await.is(200)
}

/// The token of a service user, with no role but service.
async fn service(c: &Cloud, admin: &str) -> String {
    c.person(admin, "heat", "service").await;
    c.token("heat", "pw", "heat-project").await
}

#[tokio::test]
async fn by_access_key() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let all = format!("/v3/users/{user}/credentials/OS-EC2");
        let made = c.post(&bob, &all, json!({"tenant_id": project})).await.is(201).json();
        let (access, secret) = (made["credential"]["access"].as_str().unwrap(), made["credential"]["secret"].as_str().unwrap());
        assert_eq!((access.len(), secret.len()), (32, 64), "256 bits of secret");
        let link = format!("{}{all}/{access}", c.base);
        assert_eq!(
            made["credential"],
            json!({"user_id": user, "tenant_id": project, "access": access, "secret": secret, "trust_id": null,
                "links": {"self": link}})
        );
        let one = format!("{all}/{access}");
        assert_eq!(c.get(&bob, &one).await.is(200).json(), made);
        c.call(&bob, "HEAD", &one, None).await.is(200);
        let list = c.get(&bob, &all).await.is(200).json();
        assert_eq!(list["credentials"], json!([made["credential"]]));
        assert_eq!(list["links"], json!({"next": null, "previous": null, "self": format!("{}{all}", c.base)}));
        // The same credential, with its blob as text.
        let path = format!("/v3/credentials/{}", ec2_id(access));
        let v3 = c.get(&bob, &path).await.is(200).json();
        let blob: Value = serde_json::from_str(v3["credential"]["blob"].as_str().unwrap()).unwrap();
        assert_eq!(blob, json!({"access": access, "secret": secret, "trust_id": null}));
        // What is no EC2 credential is not here.
        let cert = json!({"user_id": user, "type": "cert", "blob": "{\"access\": \"x\"}"});
        c.post(&bob, "/v3/credentials", json!({"credential": cert})).await.is(201);
        assert_eq!(c.get(&bob, &all).await.json()["credentials"].as_array().unwrap().len(), 1);
        // Nor under another user.
        let (_, eve) = c.person(&admin, "eve", "member").await;
        let eves = c.token("eve", "pw", "eve-project").await;
        c.get(&admin, &format!("/v3/users/{eve}/credentials/OS-EC2/{access}")).await.is(404);
        for path in [one.clone(), format!("/v3/users/{eve}/credentials/OS-EC2/{access}")] {
            c.get(&eves, &path).await.is(403);
            c.delete(&eves, &path).await.is(403);
        }
        c.get(&eves, &all).await.is(403);
        c.post(&eves, &all, json!({"tenant_id": project})).await.is(403);
        // A reader sees its own and changes nothing.
        let (_, reader) = c.person(&admin, "rea", "reader").await;
        let readers = c.token("rea", "pw", "rea-project").await;
        let own = format!("/v3/users/{reader}/credentials/OS-EC2");
        c.get(&readers, &own).await.is(200);
        c.post(&readers, &own, json!({"tenant_id": project})).await.is(403);
        for body in [json!({}), json!({"tenant_id": null}), json!({"tenant_id": 5}), json!([]), json!({"tenant_id": "x".repeat(65)})] {
            c.post(&bob, &all, body).await.is(400);
        }
        c.post(&bob, &all, json!({"tenant_id": "nosuch"})).await.says(404, "Could not find project: nosuch.");
        c.post(&admin, "/v3/users/nosuch/credentials/OS-EC2", json!({"tenant_id": project})).await.is(404);
        c.get(&admin, "/v3/users/nosuch/credentials/OS-EC2").await.is(404);
        c.delete(&bob, &one).await.is(204);
        for answer in [c.get(&bob, &one).await, c.delete(&bob, &one).await] {
            answer.says(404, &format!("Could not find credential: {access}."));
        }
        c.get(&admin, &path).await.is(404);
    })
    .await;
}

#[tokio::test]
async fn a_signature_gets_a_token() {
    each(async |c| {
        let admin = c.admin().await;
        let heat = service(c, &admin).await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let pair = pair(c, &bob, &user, &project).await;
        for name in ["ec2Credentials", "credentials", "credential"] {
            let answer = c.post(&heat, "/v3/ec2tokens", json!({name: signed(&pair)})).await.is(200);
            let token = answer.token.clone().unwrap();
            let body = answer.json()["token"].clone();
            assert_eq!(body["methods"], json!(["ec2credential"]));
            assert_eq!((&body["user"]["id"], &body["project"]["id"]), (&json!(user), &json!(project)));
            let roles: Vec<&str> =
                body["roles"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
            assert_eq!(roles, ["member", "reader"]);
            assert!(body["catalog"].is_array() && body["audit_ids"].as_array().unwrap().len() == 1);
            assert_eq!(
                c.validate(&admin, &token).await.is(200).json()["token"]["methods"],
                json!(["ec2credential"])
            );
        }
        let answer = c.post(&admin, "/v3/s3tokens", json!({"credentials": signed_s3(&pair)})).await.is(200);
        assert!(answer.token.is_none() && !answer.text.contains("eyJ"), "no token for S3: {}", answer.text);
        assert_eq!(answer.json()["token"]["user"]["id"], json!(user));
        // A replica knows the credential too.
        let (replica, running) = c.replica().await;
        c.post(&heat, &format!("{replica}/v3/ec2tokens"), json!({"ec2Credentials": signed(&pair)}))
            .await
            .is(200);
        running.stop().await;
        for path in ["/v3/ec2tokens", "/v3/s3tokens"] {
            for method in ["GET", "HEAD", "PUT", "DELETE"] {
                assert_eq!(c.call(&heat, method, path, None).await.status, 405, "{method} {path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn bad_signatures() {
    each(async |c| {
        let admin = c.admin().await;
        let heat = service(c, &admin).await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let pair = pair(c, &bob, &user, &project).await;
        let good = signed(&pair);
        redeem(c, &heat, good.clone()).await.is(200);
        let mut bad = vec![json!({}), json!("x"), json!([]), json!(null), json!({"access": pair.access})];
        for (member, values) in [
            (
                "access",
                vec![
                    json!("nosuch"),
                    json!(5),
                    json!(null),
                    json!("x".repeat(9000)),
                    json!(ec2_id(&pair.access)),
                ],
            ),
            ("signature", vec![json!("x"), json!(""), json!(5), json!(null), json!("x".repeat(9000))]),
            ("verb", vec![json!("POST"), json!(5)]),
            ("host", vec![json!("other"), json!({})]),
            ("path", vec![json!("/other"), json!([])]),
            (
                "params",
                vec![
                    json!({}),
                    json!(5),
                    json!([]),
                    json!(null),
                    json!({"SignatureVersion": "0", "Action": "", "Timestamp": ""}),
                ],
            ),
        ] {
            for value in values {
                let mut request = good.clone();
                request[member] = value;
                bad.push(request);
            }
        }
        for (name, value) in [
            ("Action", json!("Other")),
            ("Timestamp", json!(null)),
            ("SignatureVersion", json!("1")),
            ("SignatureVersion", json!("9")),
        ] {
            let mut request = good.clone();
            request["params"][name] = value;
            bad.push(request);
        }
        for request in bad {
            for (path, name) in [("/v3/ec2tokens", "ec2Credentials"), ("/v3/s3tokens", "credentials")] {
                let answer = c.post(&heat, path, json!({name: request.clone()})).await;
                assert_eq!(answer.status, 401, "{path} {request}: {}", answer.text);
                assert!(answer.token.is_none() && !answer.text.contains(&pair.secret));
            }
        }
        for body in [json!({}), json!([]), json!("x"), Value::Null] {
            c.post(&heat, "/v3/ec2tokens", body).await.says(400, "request must include a request body");
        }
        // Only of type ec2, and only with the access key that the blob still has.
        let other = json!({"user_id": user, "type": "EC2", "project_id": project,
            "blob": json!({"access": "AKX", "secret": "s"}).to_string()});
        c.post(&bob, "/v3/credentials", json!({"credential": other})).await.is(201);
        redeem(c, &heat, signed(&Pair { access: "AKX".into(), secret: "s".into() })).await.is(401);
        let path = format!("/v3/credentials/{}", ec2_id(&pair.access));
        let blob = json!({"access": "AKY", "secret": pair.secret}).to_string();
        c.patch(&bob, &path, json!({"credential": {"blob": blob}})).await.is(200);
        for access in [&pair.access, "AKY"] {
            redeem(c, &heat, signed(&Pair { access: access.into(), secret: pair.secret.clone() }))
                .await
                .is(401);
        }
        // No secret is no secret.
        for blob in [
            json!({"access": pair.access}),
            json!({"access": pair.access, "secret": ""}),
            json!({"access": pair.access, "secret": 5}),
        ] {
            c.patch(&bob, &path, json!({"credential": {"blob": blob.to_string()}})).await.is(200);
            redeem(c, &heat, signed(&Pair { access: pair.access.clone(), secret: String::new() }))
                .await
                .is(401);
        }
        c.delete(&bob, &path).await.is(204);
        redeem(c, &heat, signed(&pair)).await.is(401);
    })
    .await;
}

/// S-2012-018: the roles must still be there.
#[tokio::test]
async fn ossa_2012_018_a_removed_role_ends_ec2_credentials() {
    each(async |c| {
        let admin = c.admin().await;
        let heat = service(c, &admin).await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let pair = pair(c, &bob, &user, &project).await;
        redeem(c, &heat, signed(&pair)).await.is(200);
        let member = c.role(&admin, "member").await;
        let grant = format!("/v3/projects/{project}/users/{user}/roles/{member}");
        c.delete(&admin, &grant).await.is(204);
        redeem(c, &heat, signed(&pair)).await.is(401);
        c.post(&heat, "/v3/s3tokens", json!({"credentials": signed_s3(&pair)})).await.is(401);
        c.put(&admin, &grant).await.is(204);
        redeem(c, &heat, signed(&pair)).await.is(200);
    })
    .await;
}

/// S-2013-005: user, project and domain must be enabled.
#[tokio::test]
async fn ossa_2013_005_what_is_disabled_gets_no_token_for_ec2() {
    each(async |c| {
        let admin = c.admin().await;
        let heat = service(c, &admin).await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let project = c.make(&admin, "projects", json!({"name": "p", "domain_id": domain})).await;
        let user_domain = c.make(&admin, "domains", json!({"name": "u"})).await;
        let user =
            c.make(&admin, "users", json!({"name": "bob", "password": "pw", "domain_id": user_domain})).await;
        let member = c.role(&admin, "member").await;
        c.put(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{member}")).await.is(204);
        let pair = pair(c, &admin, &user, &project).await;
        redeem(c, &heat, signed(&pair)).await.is(200);
        for (noun, id) in
            [("user", &user), ("project", &project), ("domain", &domain), ("domain", &user_domain)]
        {
            let path = format!("/v3/{noun}s/{id}");
            c.patch(&admin, &path, json!({noun: {"enabled": false}})).await.is(200);
            redeem(c, &heat, signed(&pair)).await.is(401);
            c.post(&heat, "/v3/s3tokens", json!({"credentials": signed_s3(&pair)})).await.is(401);
            c.patch(&admin, &path, json!({noun: {"enabled": true}})).await.is(200);
            redeem(c, &heat, signed(&pair)).await.is(200);
        }
        // Nor does a domain act as a project.
        c.put(&admin, &format!("/v3/domains/{domain}/users/{user}/roles/{member}")).await.is(204);
        let made = self::pair(c, &admin, &user, &domain).await;
        redeem(c, &heat, signed(&made)).await.is(401);
    })
    .await;
}

/// S-2020-003: a signature holds for fifteen minutes, either way.
#[tokio::test]
async fn ossa_2020_003_a_signature_does_not_hold_for_ever() {
    each(async |c| {
        let admin = c.admin().await;
        let heat = service(c, &admin).await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let pair = pair(c, &bob, &user, &project).await;
        for (minutes, status) in
            [(0, 200), (-14, 200), (14, 200), (-16, 401), (16, 401), (-60 * 24 * 365, 401), (60 * 24, 401)]
        {
            let request = signed_at(&pair, Utc::now() + Duration::minutes(minutes));
            assert_eq!(redeem(c, &heat, request).await.status, status, "{minutes} minutes");
        }
    })
    .await;
    each_with(
        |s| s.identity.ec2_auth_ttl_seconds = 60,
        async |c| {
            let admin = c.admin().await;
            let (project, user) = c.person(&admin, "bob", "member").await;
            let pair = pair(c, &admin, &user, &project).await;
            redeem(c, &admin, signed_at(&pair, Utc::now() - Duration::minutes(2))).await.is(401);
            redeem(c, &admin, signed(&pair)).await.is(200);
        },
    )
    .await;
}

/// S-2025-002: a signature alone is worth nothing; the caller must be a service or an admin.
#[tokio::test]
async fn ossa_2025_002_only_services_redeem_signatures() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        c.person(&admin, "man", "manager").await;
        let manager = c.token("man", "pw", "man-project").await;
        let unscoped = c.login("admin", "secret", json!("unscoped")).await.is(201).token.unwrap();
        let pair = pair(c, &bob, &user, &project).await;
        for (path, body) in [
            ("/v3/ec2tokens", json!({"ec2Credentials": signed(&pair)})),
            ("/v3/s3tokens", json!({"credentials": signed_s3(&pair)})),
        ] {
            let bare = c.send(reqwest::Method::POST, path, &[], Some(&body)).await.is(401);
            assert!(bare.token.is_none() && bare.headers.contains_key("www-authenticate"));
            for (token, status) in
                [("", 401), ("garbage", 401), (&bob, 403), (&manager, 403), (&unscoped, 403), (&admin, 200)]
            {
                let answer = c.post(token, path, body.clone()).await;
                assert_eq!(answer.status, status, "{path}: {}", answer.text);
                assert_eq!(answer.token.is_some(), status == 200 && path == "/v3/ec2tokens");
            }
        }
        // Its own EC2 token does not make the user a service.
        let token = redeem(c, &admin, signed(&pair)).await.is(200).token.unwrap();
        redeem(c, &token, signed(&pair)).await.is(403);
        // A revoked caller is none.
        let heat = service(c, &admin).await;
        redeem(c, &heat, signed(&pair)).await.is(200);
        let headers = [("x-auth-token", heat.as_str()), ("x-subject-token", heat.as_str())];
        c.send(reqwest::Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        redeem(c, &heat, signed(&pair)).await.is(401);
    })
    .await;
}

/// M06, S-2020-004: a token for an EC2 signature makes nothing that outlives it, and stays in its project.
#[tokio::test]
async fn ossa_2020_004_an_ec2_token_makes_no_credentials() {
    each(async |c| {
        let admin = c.admin().await;
        let heat = service(c, &admin).await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let pair = pair(c, &admin, &user, &project).await;
        let token = redeem(c, &heat, signed(&pair)).await.is(200).token.unwrap();
        let all = format!("/v3/users/{user}/credentials/OS-EC2");
        c.post(&token, &all, json!({"tenant_id": project})).await.is(403);
        c.get(&token, &all).await.is(403);
        let cert = json!({"user_id": user, "type": "cert", "blob": "x"});
        c.post(&token, "/v3/credentials", json!({"credential": cert})).await.is(403);
        let list = c.get(&admin, &format!("/v3/credentials?user_id={user}")).await.is(200).json();
        assert_eq!(list["credentials"].as_array().unwrap().len(), 1);
    })
    .await;
}

/// A credential with members in its blob besides the keys.
async fn lent(c: &Cloud, token: &str, user: &str, project: &str, more: Value) -> Pair {
    let pair = Pair { access: ferrostack_model::id::hex(), secret: "s".into() };
    let mut blob = json!({"access": pair.access, "secret": pair.secret});
    for (name, value) in more.as_object().unwrap() {
        blob[name] = value.clone();
    }
    let body = json!({"user_id": user, "type": "ec2", "project_id": project, "blob": blob.to_string()});
    c.post(token, "/v3/credentials", json!({"credential": body})).await.is(201);
    pair
}

fn role_names(token: &Value) -> Vec<&str> {
    token["roles"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect()
}

/// S-2013-032: what was lent is not more than what was lent. A credential that names a trust gets what the trust gives.
#[tokio::test]
async fn ossa_2013_032_the_scope_of_a_trust_is_kept() {
    each(async |c| {
        let cast = Cast::of(c).await;
        let heat = service(c, &cast.admin).await;
        let toms = c.token("tom", "pw", "tom-project").await;
        for (impersonation, user) in [(true, &cast.ann), (false, &cast.tom)] {
            let trust = cast.trust(c, json!({"impersonation": impersonation})).await;
            let named = json!({"trust_id": trust["id"]});
            let pair = lent(c, &toms, &cast.tom, &cast.project, named.clone()).await;
            let answer = redeem(c, &heat, signed(&pair)).await.is(200);
            let body = answer.json()["token"].clone();
            assert_eq!(body["methods"], json!(["ec2credential"]));
            assert_eq!((&body["user"]["id"], &body["OS-TRUST:trust"]["id"]), (&json!(user), &trust["id"]));
            assert_eq!(role_names(&body), ["member", "reader"], "Ann is a manager, and lent less");
            // The trustor's credential that a trustee made in its name.
            let anns = lent(c, &cast.admin, &cast.ann, &cast.project, named.clone()).await;
            assert_eq!(redeem(c, &heat, signed(&anns)).await.status, if impersonation { 200 } else { 401 });
            // Not for strangers, nor for another project.
            let stranger =
                lent(c, &cast.admin, body_user(c, &cast.admin).await.as_str(), &cast.project, named.clone())
                    .await;
            redeem(c, &heat, signed(&stranger)).await.says(401, UNAUTHORIZED);
            let other =
                c.make(&cast.admin, "projects", json!({"name": format!("other-{impersonation}")})).await;
            let elsewhere = lent(c, &toms, &cast.tom, &other, named).await;
            redeem(c, &heat, signed(&elsewhere)).await.says(401, UNAUTHORIZED);
            // Its token makes nothing, and ends with the trust.
            let token = answer.token.unwrap();
            let all = format!("/v3/users/{}/credentials/OS-EC2", user);
            c.post(&token, &all, json!({"tenant_id": cast.project})).await.is(403);
            c.delete(&cast.ann_token, &format!("/v3/OS-TRUST/trusts/{}", trust["id"].as_str().unwrap()))
                .await
                .is(204);
            redeem(c, &heat, signed(&pair)).await.says(401, UNAUTHORIZED);
            c.get(&token, "/v3/auth/projects").await.is(401);
        }
        // Its uses are counted.
        let trust = cast.trust(c, json!({"remaining_uses": 1})).await;
        let pair = lent(c, &toms, &cast.tom, &cast.project, json!({"trust_id": trust["id"]})).await;
        redeem(c, &heat, signed(&pair)).await.is(200);
        redeem(c, &heat, signed(&pair)).await.says(401, UNAUTHORIZED);
    })
    .await;
}

/// The id of a user without any part in the play.
async fn body_user(c: &Cloud, admin: &str) -> String {
    c.make(admin, "users", json!({"name": ferrostack_model::id::hex()})).await
}

/// S-2026-015 (d): a credential that names an application credential has its roles, in its project and no other.
#[tokio::test]
async fn ossa_2026_015_an_application_credential_stays_in_its_project() {
    each(async |c| {
        let admin = c.admin().await;
        let heat = service(c, &admin).await;
        let (project, user) = c.person(&admin, "bob", "manager").await;
        let (other, eve) = c.person(&admin, "eve", "member").await;
        let member = c.role(&admin, "member").await;
        c.put(&admin, &format!("/v3/projects/{other}/users/{user}/roles/{member}")).await.is(204);
        let bob = c.token("bob", "pw", "bob-project").await;
        let (cred, _) = make_cred(c, &bob, &user, json!({"name": "a", "roles": [{"name": "reader"}]})).await;
        let named = json!({"app_cred_id": cred});
        let pair = lent(c, &bob, &user, &project, named.clone()).await;
        let body = redeem(c, &heat, signed(&pair)).await.is(200).json()["token"].clone();
        assert_eq!(role_names(&body), ["reader"]);
        assert_eq!(body["application_credential"]["id"], json!(cred));
        let elsewhere = lent(c, &bob, &user, &other, named.clone()).await;
        redeem(c, &heat, signed(&elsewhere)).await.says(401, UNAUTHORIZED);
        let foreign = lent(c, &admin, &eve, &project, named).await;
        redeem(c, &heat, signed(&foreign)).await.says(401, UNAUTHORIZED);
        for bad in [
            json!({"app_cred_id": "nosuch"}),
            json!({"app_cred_id": 5}),
            json!({"trust_id": "nosuch"}),
            json!({"trust_id": {"a": 1}}),
            json!({"access_token_id": "x"}),
            json!({"app_cred_id": cred, "trust_id": "x"}),
        ] {
            let pair = lent(c, &bob, &user, &project, bad).await;
            redeem(c, &heat, signed(&pair)).await.says(401, UNAUTHORIZED);
            c.post(&heat, "/v3/s3tokens", json!({"credentials": signed_s3(&pair)})).await.is(401);
        }
        c.delete(&bob, &format!("/v3/users/{user}/application_credentials/{cred}")).await.is(204);
        redeem(c, &heat, signed(&pair)).await.says(401, UNAUTHORIZED);
    })
    .await;
}
