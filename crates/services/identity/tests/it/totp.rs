//! Logins with one-time passwords.

use super::support::*;
use aws_lc_rs::hmac;
use serde_json::{Value, json};

/// Base32 of the bytes 0, 1, … n times over.
pub const SECRETS: [&str; 3] = [
    "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU",
];

fn bytes(base32: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let value = |c: u8| digits.iter().position(|d| *d == c).unwrap();
    let bits: Vec<usize> =
        base32.bytes().flat_map(|c| (0..5).rev().map(move |n| value(c) >> n & 1)).collect();
    bits.chunks_exact(8).map(|c| c.iter().fold(0, |n, b| n << 1 | *b as u8)).collect()
}

/// The passcode of a secret, so many 30-second steps from now.
pub fn passcode(secret: &str, steps: i64) -> String {
    let step = chrono::Utc::now().timestamp().div_euclid(30) + steps;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes(secret));
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

pub fn by_totp(user: &str, code: &str) -> Value {
    json!({"methods": ["totp"], "totp": {"user": {"id": user, "passcode": code}}})
}

/// Password and passcode of a user in Default.
pub fn by_both(name: &str, user: &str, code: &str) -> Value {
    json!({"methods": ["password", "totp"], "totp": {"user": {"id": user, "passcode": code}},
        "password": {"user": {"name": name, "domain": {"id": "default"}, "password": "pw"}}})
}

/// Adds a secret to a user; the credential's id.
pub async fn enroll(c: &Cloud, admin: &str, user: &str, blob: &str) -> String {
    let body = json!({"credential": {"user_id": user, "type": "totp", "blob": blob}});
    c.post(admin, "/v3/credentials", body).await.is(201).json()["credential"]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_passcode_logs_in() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        for secret in SECRETS {
            enroll(c, &admin, &user, secret).await;
        }
        let answer = c.authenticate(by_totp(&user, &passcode(SECRETS[0], 0)), json!({"project": {"id": project}})).await;
        let body = answer.is(201).json();
        assert_eq!(body["token"]["methods"], json!(["totp"]));
        assert_eq!((&body["token"]["user"]["id"], &body["token"]["project"]["id"]), (&json!(user), &json!(project)));
        // Several credentials; with the password; by name.
        let body = c.authenticate(by_both("bob", &user, &passcode(SECRETS[1], 0)), Value::Null).await.is(201).json();
        assert_eq!(body["token"]["methods"], json!(["password", "totp"]));
        let named = json!({"methods": ["totp"],
            "totp": {"user": {"name": "bob", "domain": {"name": "Default"}, "passcode": passcode(SECRETS[2], 0)}}});
        let token = c.authenticate(named, Value::Null).await.is(201).token.unwrap();
        // It is a full login: the user may read its own credentials.
        assert_eq!(c.get(&token, "/v3/credentials").await.is(200).json()["credentials"].as_array().unwrap().len(), 3);
    })
    .await;
}

/// X37: the methods of a login are of one user.
#[tokio::test]
async fn lp_1656076_the_methods_of_a_login_are_of_one_user() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, bob) = c.person(&admin, "bob", "member").await;
        let (_, eve) = c.person(&admin, "eve", "member").await;
        enroll(c, &admin, &eve, SECRETS[0]).await;
        enroll(c, &admin, &bob, SECRETS[1]).await;
        let code = passcode(SECRETS[0], 0);
        for methods in [["password", "totp"], ["totp", "password"]] {
            let mut identity = by_both("bob", &eve, &code);
            identity["methods"] = json!(methods);
            c.authenticate(identity, Value::Null).await.says(401, UNAUTHORIZED);
        }
        // One's own secret in another's name is none.
        c.authenticate(by_both("bob", &bob, &code), Value::Null).await.says(401, UNAUTHORIZED);
        // A token of one and the passcode of the other.
        let token = c.token("bob", "pw", "bob-project").await;
        let mut identity = by_totp(&eve, &code);
        identity["methods"] = json!(["token", "totp"]);
        identity["token"] = json!({"id": token});
        c.authenticate(identity, Value::Null).await.says(401, UNAUTHORIZED);
        // None of it has used the passcode up.
        c.authenticate(by_totp(&eve, &code), Value::Null).await.is(201);
    })
    .await;
}

/// A passcode counts once, on whichever replica, in however many credentials its secret lies.
#[tokio::test]
async fn a_passcode_counts_once() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, bob) = c.person(&admin, "bob", "member").await;
        let first = enroll(c, &admin, &bob, SECRETS[0]).await;
        let code = passcode(SECRETS[0], 0);
        // A wrong password beside it does not use it up.
        let mut slip = by_both("bob", &bob, &code);
        slip["password"]["user"]["password"] = json!("wrong");
        c.authenticate(slip, Value::Null).await.is(401);
        let (replica, running) = c.replica().await;
        let login = async |base: &str, code: &str| {
            let auth = json!({"auth": {"identity": by_totp(&bob, code)}});
            c.send(reqwest::Method::POST, &format!("{base}/v3/auth/tokens"), &[], Some(&auth)).await.status
        };
        let tries = (0..8).map(|n| login(if n % 2 == 0 { &c.base } else { &replica }, &code));
        let statuses = futures_util::future::join_all(tries).await;
        assert_eq!(statuses.iter().filter(|s| **s == 201).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|s| matches!(s, 201 | 401)), "{statuses:?}");
        assert_eq!((login(&c.base, &code).await, login(&replica, &code).await), (401, 401));
        running.stop().await;
        // Nor is the one before it good any more, or the same secret a second time.
        assert_eq!(login(&c.base, &passcode(SECRETS[0], -1)).await, 401);
        enroll(c, &admin, &bob, SECRETS[0]).await;
        assert_eq!(login(&c.base, &code).await, 401);
        // Writing the secret anew does not help either, nor does a restart.
        let path = format!("/v3/credentials/{first}");
        c.patch(&admin, &path, json!({"credential": {"blob": SECRETS[0]}})).await.is(200);
        c.pause().await;
        c.resume().await;
        c.authenticate(by_totp(&bob, &code), Value::Null).await.is(401);
    })
    .await;
}

/// Guessing is limited, more tightly than for passwords, and locks out where users are locked out. A good login from
/// a known place is not hindered by what others try elsewhere.
#[tokio::test]
async fn guessing_is_limited() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, bob) = c.person(&admin, "bob", "member").await;
        enroll(c, &admin, &bob, SECRETS[0]).await;
        let wrong = if passcode(SECRETS[0], 0).starts_with('0') { "123456" } else { "023456" };
        let mut statuses = Vec::new();
        for _ in 0..12 {
            statuses.push(c.authenticate(by_totp(&bob, wrong), Value::Null).await.status);
        }
        assert_eq!(statuses[..6], [401; 6]);
        assert!(statuses.contains(&429), "{statuses:?}");
        // The same of a user who does not exist.
        let mut unknown = Vec::new();
        for _ in 0..12 {
            unknown.push(c.authenticate(by_totp("nosuch", wrong), Value::Null).await.status);
        }
        assert_eq!(unknown[..6], [401; 6]);
        assert!(unknown.contains(&429), "{unknown:?}");
    })
    .await;
    each_with(
        |s| s.identity.security.lockout_failure_attempts = Some(3),
        async |c| {
            let admin = c.admin().await;
            let (_, bob) = c.person(&admin, "bob", "member").await;
            enroll(c, &admin, &bob, SECRETS[0]).await;
            enroll(c, &admin, &bob, SECRETS[1]).await;
            for _ in 0..2 {
                c.authenticate(by_totp(&bob, "x"), Value::Null).await.says(401, UNAUTHORIZED);
            }
            // Forgiven by a good login.
            c.authenticate(by_totp(&bob, &passcode(SECRETS[0], 0)), Value::Null).await.is(201);
            for _ in 0..3 {
                c.authenticate(by_totp(&bob, "x"), Value::Null).await.says(401, UNAUTHORIZED);
            }
            let code = passcode(SECRETS[1], 0);
            c.authenticate(by_totp(&bob, &code), Value::Null).await.says(401, UNAUTHORIZED);
            c.authenticate(by_both("bob", &bob, &code), Value::Null).await.says(401, UNAUTHORIZED);
        },
    )
    .await;
}

#[tokio::test]
async fn windows_are_a_setting() {
    for (windows, good, bad) in
        [(1, vec![0], vec![-3, 2, -100]), (3, vec![-2, 0], vec![-5, 2]), (0, vec![], vec![-2, 2])]
    {
        let change =
            |s: &mut ferrostack_settings::Settings| s.identity.totp_included_previous_windows = windows;
        each_with(change, async |c| {
            let admin = c.admin().await;
            let (_, bob) = c.person(&admin, "bob", "member").await;
            enroll(c, &admin, &bob, SECRETS[0]).await;
            for steps in &bad {
                let code = passcode(SECRETS[0], *steps);
                c.authenticate(by_totp(&bob, &code), Value::Null).await.says(401, UNAUTHORIZED);
            }
            for steps in &good {
                let code = passcode(SECRETS[0], *steps);
                assert_eq!(
                    c.authenticate(by_totp(&bob, &code), Value::Null).await.status,
                    201,
                    "{steps} of {windows}"
                );
            }
        })
        .await;
    }
}

#[tokio::test]
async fn wrong_passcodes_and_bad_secrets() {
    each_with(
        |s| s.identity.security.failed_logins_per_user_per_minute = 0,
        async |c| {
            let admin = c.admin().await;
            let (project, bob) = c.person(&admin, "bob", "member").await;
            let refused = async |user: &str, code: &str| {
                c.authenticate(by_totp(user, code), Value::Null).await.says(401, UNAUTHORIZED);
            };
            refused(&bob, &passcode(SECRETS[0], 0)).await;
            refused("nosuch", &passcode(SECRETS[0], 0)).await;
            // Too short, no base32, not of this type, of a project: none of it shows passcodes, nor breaks others.
            for blob in
                ["", "GEZDGNBVGY3TQOJQ", "{\"seed\": \"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\"}", "1", "ÄÖ"]
            {
                enroll(c, &admin, &bob, blob).await;
            }
            let other = json!({"user_id": bob, "type": "TOTP", "blob": SECRETS[0]});
            c.post(&admin, "/v3/credentials", json!({"credential": other})).await.is(201);
            refused(&bob, &passcode(SECRETS[0], 0)).await;
            for code in ["", "000000", "００００００", "x", &"1".repeat(5000)] {
                if code != passcode(SECRETS[1], 0) {
                    refused(&bob, code).await;
                }
            }
            let id = enroll(c, &admin, &bob, SECRETS[1]).await;
            // A row that was tampered with is no credential, and does not break the others.
            enroll(c, &admin, &bob, SECRETS[2]).await;
            c.sql(&format!("UPDATE credential SET blob = 'v1.x.y' WHERE id = '{id}' RETURNING id")).await;
            refused(&bob, &passcode(SECRETS[1], 0)).await;
            c.authenticate(by_totp(&bob, &passcode(SECRETS[2], 0)), Value::Null).await.is(201);
            for bad in [
                json!({"methods": ["totp"]}),
                json!({"methods": ["totp"], "totp": {}}),
                json!({"methods": ["totp"], "totp": {"user": {"passcode": "hunter2"}}}),
                json!({"methods": ["totp"], "totp": {"user": {"id": bob}}}),
                json!({"methods": ["totp"], "totp": {"user": {"id": bob, "passcode": 123_456}}}),
                json!({"methods": ["totp"], "totp": {"user": {"id": bob, "passcode": ["hunter2"]}}}),
                json!({"methods": ["totp"], "totp": "hunter2"}),
                json!({"methods": ["totp"], "totp": {"user": {"name": "bob", "passcode": "hunter2"}}}),
            ] {
                let answer = c.authenticate(bad.clone(), Value::Null).await;
                assert_eq!(answer.status, 400, "{bad}: {}", answer.text);
                assert!(
                    !answer.text.contains("hunter2") && !answer.text.contains("123456"),
                    "{}",
                    answer.text
                );
            }
            // What is gone or disabled.
            let (_, eve) = c.person(&admin, "eve", "member").await;
            enroll(c, &admin, &eve, SECRETS[0]).await;
            c.patch(&admin, &format!("/v3/users/{eve}"), json!({"user": {"enabled": false}})).await.is(200);
            refused(&eve, &passcode(SECRETS[0], 0)).await;
            c.patch(&admin, &format!("/v3/users/{eve}"), json!({"user": {"enabled": true}})).await.is(200);
            let scope = json!({"project": {"id": project}});
            c.authenticate(by_totp(&eve, &passcode(SECRETS[0], 0)), scope).await.says(401, UNAUTHORIZED);
        },
    )
    .await;
}
