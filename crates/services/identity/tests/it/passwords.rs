//! Password hashes of any origin, and Keystone's rules for passwords.

use super::support::{Cloud, UNAUTHORIZED, each, each_with, eventually};
use reqwest::Method;
use serde_json::{Value, json};

/// Hashes of `secret` that a Keystone database may hold, made with passlib 1.7.4.
const KEYSTONES: &[&str] = &[
    "$2b$04$7ovIsAAe/9cJRiXrNrV5r.JGSKTzt0SEyiL9SX30B8X3so7lXWIZG",
    "$bcrypt-sha256$2b,5$61gp7A.1/YwxOMYtVdDk1.$axshZujs6REKvSUEDS01O2CilmqeCLi",
    "$bcrypt-sha256$v=2,t=2b,r=5$p/9l4iI3OvO7eWbViYcZM.$TEzfCtMdRXKIfdCXANbCCNVHMxfB3g2",
    "$scrypt$ln=4,r=8,p=1$AgDgfC9lzNm7996b0zpHyA$0BUhqR+3JsxpX5bKCgNxIrfJNW6+/h63U29a9n1ngYI",
    "$pbkdf2-sha512$100$eY/xXmvNec/ZuzeGsDZmDA$FQnr2MCvvHo2qtAu6JLcI1b3lv/yqgSaNjp9c66XvDRajFdgS2cmmKzRO.EOeiWf58azm3kl3EEpMhXtFduL0w",
];

const DAY_US: i64 = 86_400_000_000;

async fn change(c: &Cloud, user: &str, old: &str, new: &str) -> super::support::Answer {
    let body = json!({"user": {"original_password": old, "password": new}});
    c.send(Method::POST, &format!("/v3/users/{user}/password"), &[], Some(&body)).await
}

async fn user(c: &Cloud, admin: &str, id: &str) -> Value {
    c.get(admin, &format!("/v3/users/{id}")).await.is(200).json()["user"].clone()
}

#[tokio::test]
async fn ossn_0081_keystones_hashes_log_in_and_are_replaced() {
    each(async |c| {
        let admin = c.admin().await;
        for (n, stored) in KEYSTONES.iter().enumerate() {
            let name = format!("user{n}");
            let id = c.make(&admin, "users", json!({"name": name, "password": "pw"})).await;
            c.sql(&format!("UPDATE account SET password_hash = '{stored}' WHERE id = '{id}' RETURNING id"))
                .await;
            let hash = format!("SELECT password_hash FROM account WHERE id = '{id}'");
            let generation = format!("SELECT CAST(generation AS TEXT) FROM account WHERE id = '{id}'");
            let before = c.sql(&generation).await;
            c.login(&name, "Secret", Value::Null).await.says(401, UNAUTHORIZED);
            c.login(&name, "pw", Value::Null).await.says(401, UNAUTHORIZED);
            assert_eq!(c.sql(&hash).await, *stored);
            let token = c.login(&name, "secret", Value::Null).await.is(201).token.unwrap();
            let replaced = c.sql(&hash).await;
            assert!(replaced.starts_with("$bcrypt-sha256$v=2,t=2b,r=4$"), "{replaced}");
            assert_ne!(c.sql(&generation).await, before);
            // Nothing but the hash has changed: the token holds, the password works, no second replacement.
            c.validate(&token, &token).await.is(200);
            c.login(&name, "secret", Value::Null).await.is(201);
            c.login(&name, "secret2", Value::Null).await.says(401, UNAUTHORIZED);
            assert_eq!(c.sql(&hash).await, replaced);
        }
        let id = c.make(&admin, "users", json!({"name": "broken", "password": "pw"})).await;
        for stored in ["$6$salt$digest", "rubbish", "$2b$"] {
            c.sql(&format!("UPDATE account SET password_hash = '{stored}' WHERE id = '{id}' RETURNING id"))
                .await;
            c.login("broken", stored, Value::Null).await.says(401, UNAUTHORIZED);
        }
    })
    .await;
}

#[tokio::test]
async fn cve_2021_3563_no_password_is_cut_off() {
    each(async |c| {
        let admin = c.admin().await;
        let (start, id) = ("x".repeat(72), c.make(&admin, "users", json!({"name": "bob"})).await);
        let path = format!("/v3/users/{id}");
        for length in [72, 73, 1024, 4096] {
            let password = start.clone() + &"y".repeat(length - 72);
            c.patch(&admin, &path, json!({"user": {"password": password}})).await.is(200);
            c.login("bob", &password, Value::Null).await.is(201);
            c.login("bob", &(password.clone() + "z"), Value::Null).await.says(401, UNAUTHORIZED);
            c.login("bob", &password[..password.len() - 1], Value::Null).await.says(401, UNAUTHORIZED);
        }
        let longer = "y".repeat(4097);
        let sentence = "The password length must be less than or equal to 4096. The server could not comply with the request because the password is invalid.";
        c.patch(&admin, &path, json!({"user": {"password": longer}})).await.says(400, sentence);
        c.post(&admin, "/v3/users", json!({"user": {"name": "eve", "password": longer}})).await.says(400, sentence);
        // A NUL is refused rather than taken for the end.
        c.patch(&admin, &path, json!({"user": {"password": "a\u{0}b"}})).await.is(400);
        c.login("bob", "x\u{0}y", Value::Null).await.is(400);
    })
    .await;
}

#[tokio::test]
async fn a_password_must_match_the_regex() {
    let rules = |s: &mut ferrostack_settings::Settings| {
        s.identity.security.password_regex = Some(r"^(?=.*\d)(?=.*[a-zA-Z]).{7,}$".into());
        s.identity.security.password_regex_description = "seven characters with a letter and a digit".into();
    };
    each_with(rules, async |c| {
        let refusal =
            "The password does not match the requirements: seven characters with a letter and a digit.";
        let admin = c.admin().await;
        c.post(&admin, "/v3/users", json!({"user": {"name": "bob", "password": "short"}}))
            .await
            .says(400, refusal);
        assert_eq!(c.get(&admin, "/v3/users?name=bob").await.json()["users"], json!([]));
        let id = c.make(&admin, "users", json!({"name": "bob", "password": "abcdef1"})).await;
        let path = format!("/v3/users/{id}");
        let weak = json!({"user": {"password": "abcdefg", "enabled": false}});
        c.patch(&admin, &path, weak).await.says(400, refusal);
        c.patch(&admin, &path, json!({"user": {"password": null}}))
            .await
            .says(400, "Password validation error: Password must be a string type.");
        change(c, &id, "abcdef1", "1234567").await.says(400, refusal);
        // The right password first: nobody else learns the rules.
        change(c, &id, "wrong", "1234567").await.says(401, UNAUTHORIZED);
        c.login("bob", "abcdef1", Value::Null).await.is(201);
        change(c, &id, "abcdef1", "abcdef2").await.is(204);
        c.patch(&admin, &path, json!({"user": {"password": "abcdef3"}})).await.is(200);
        c.login("bob", "abcdef3", Value::Null).await.is(201);
        // Users without a password may be made.
        c.make(&admin, "users", json!({"name": "none"})).await;
    })
    .await;
}

#[tokio::test]
async fn a_bad_regex_refuses_to_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = ferrostack_settings::Settings::default();
    settings.identity.listen = "127.0.0.1:0".parse().unwrap();
    settings.identity.key_directory = directory.path().join("keys");
    settings.database.url = format!("sqlite:{}", directory.path().join("db").display());
    settings.identity.security.password_regex = Some("(unclosed".into());
    let bus = std::sync::Arc::new(ferrostack_bus::LocalBus::new());
    let started = ferrostack_identity::start(&settings, bus, Default::default()).await;
    let error = started.err().unwrap().for_log();
    assert!(error.contains("identity.security.password_regex"), "{error}");
}

#[tokio::test]
async fn a_user_does_not_go_back_to_an_earlier_password() {
    each_with(
        |s| s.identity.security.unique_last_password_count = 3,
        async |c| {
            let admin = c.admin().await;
            let id = c.make(&admin, "users", json!({"name": "bob", "password": "p0"})).await;
            let refusal = "The new password cannot be identical to a previous password. The total number which includes the new password must be unique is 3.";
            change(c, &id, "p0", "p0").await.says(400, refusal);
            change(c, &id, "p0", "p1").await.is(204);
            change(c, &id, "p1", "p2").await.is(204);
            for earlier in ["p0", "p1", "p2"] {
                change(c, &id, "p2", earlier).await.says(400, refusal);
            }
            c.login("bob", "p2", Value::Null).await.is(201);
            change(c, &id, "p2", "p3").await.is(204);
            change(c, &id, "p3", "p0").await.is(204);
            // An administrator may set any, and what it sets counts for the user.
            let path = format!("/v3/users/{id}");
            c.patch(&admin, &path, json!({"user": {"password": "p0"}})).await.is(200);
            c.patch(&admin, &path, json!({"user": {"password": "p9"}})).await.is(200);
            change(c, &id, "p9", "p0").await.says(400, refusal);
            // Only as many are kept as are asked for, and none outlives its user.
            assert_eq!(c.sql("SELECT CAST(COUNT(*) AS TEXT) FROM password_history").await, "2");
            c.delete(&admin, &path).await.is(204);
            assert_eq!(c.sql("SELECT CAST(COUNT(*) AS TEXT) FROM password_history").await, "0");
        },
    )
    .await;
}

#[tokio::test]
async fn a_users_own_password_is_kept_for_the_minimum_age() {
    each_with(
        |s| s.identity.security.minimum_password_age = 2,
        async |c| {
            let admin = c.admin().await;
            let id = c.make(&admin, "users", json!({"name": "bob", "password": "p0"})).await;
            // An administrator's may be changed at once, even twice.
            change(c, &id, "p0", "p1").await.is(204);
            let refusal = "You cannot change your password at this time due to the minimum password age. Once you change your password, it must be used for 2 day(s) before it can be changed. Please try again in 1 day(s) or contact your administrator to reset your password.";
            change(c, &id, "p1", "p2").await.says(400, refusal);
            c.sql(&format!("UPDATE account SET password_created_at = password_created_at - {} WHERE id = '{id}' RETURNING id", 2 * DAY_US)).await;
            change(c, &id, "p1", "p2").await.is(204);
            let path = format!("/v3/users/{id}");
            c.patch(&admin, &path, json!({"user": {"password": "p3"}})).await.is(200);
            change(c, &id, "p3", "p4").await.is(204);
        },
    )
    .await;
}

#[tokio::test]
async fn a_locked_password_is_not_changed_by_its_user() {
    each(async |c| {
        let admin = c.admin().await;
        let id = c.make(&admin, "users", json!({"name": "bob", "password": "p0", "options": {"lock_password": true}})).await;
        let refusal = "You cannot change your password at this time due to password policy disallowing password changes. Please contact your administrator to reset your password.";
        change(c, &id, "p0", "p1").await.says(400, refusal);
        change(c, &id, "px", "p1").await.says(401, UNAUTHORIZED);
        c.patch(&admin, &format!("/v3/users/{id}"), json!({"user": {"password": "p2"}})).await.is(200);
        c.login("bob", "p2", Value::Null).await.is(201);
    })
    .await;
}

#[tokio::test]
async fn an_expired_password_only_serves_to_set_another() {
    each_with(
        |s| s.identity.security.password_expires_days = Some(7),
        async |c| {
            let admin = c.admin().await;
            let id = c.make(&admin, "users", json!({"name": "bob", "password": "p0"})).await;
            let shown = user(c, &admin, &id).await["password_expires_at"].as_str().unwrap().to_owned();
            assert_eq!((shown.len(), &shown[19..]), (26, ".000000"));
            let token = c.login("bob", "p0", Value::Null).await.is(201);
            assert_eq!(token.json()["token"]["user"]["password_expires_at"], shown.as_str());
            c.sql(&format!(
                "UPDATE account SET password_expires_at = 1000000 WHERE id = '{id}' RETURNING id"
            ))
            .await;
            let sentence = format!("The password is expired and needs to be changed for user: {id}.");
            c.login("bob", "p0", Value::Null).await.says(401, &sentence);
            c.login("bob", "px", Value::Null).await.says(401, UNAUTHORIZED);
            assert_eq!(user(c, &admin, &id).await["password_expires_at"], "1970-01-01T00:00:01.000000");
            let option = |on: Value| json!({"user": {"options": {"ignore_password_expiry": on}}});
            let path = format!("/v3/users/{id}");
            c.patch(&admin, &path, option(json!(true))).await.is(200);
            c.login("bob", "p0", Value::Null).await.is(201);
            c.patch(&admin, &path, option(Value::Null)).await.is(200);
            c.login("bob", "p0", Value::Null).await.says(401, &sentence);
            change(c, &id, "px", "p1").await.says(401, UNAUTHORIZED);
            change(c, &id, "p0", "p1").await.is(204);
            c.login("bob", "p1", Value::Null).await.is(201);
            // What a caller writes into the field does not matter.
            let body = json!({"user": {"password_expires_at": "2000-01-01T00:00:00.000000"}});
            let shown = c.patch(&admin, &path, body).await.is(200).json();
            assert_ne!(shown["user"]["password_expires_at"], "2000-01-01T00:00:00.000000");
            // Taking the password away takes the date away.
            let shown = c.patch(&admin, &path, json!({"user": {"password": null}})).await.is(200).json();
            assert_eq!(shown["user"]["password_expires_at"], Value::Null);
        },
    )
    .await;
}

#[tokio::test]
async fn users_are_listed_by_when_their_password_expires() {
    each(async |c| {
        let admin = c.admin().await;
        let group = c.make(&admin, "groups", json!({"name": "g"})).await;
        for (name, at) in [("a", 1_000_000), ("b", 2_000_000), ("never", 0)] {
            let id = c.make(&admin, "users", json!({"name": name, "password": "pw"})).await;
            c.put(&admin, &format!("/v3/groups/{group}/users/{id}")).await.is(204);
            c.sql(&format!("UPDATE account SET password_expires_at = {at} WHERE id = '{id}' RETURNING id"))
                .await;
        }
        let names = async |path: &str, filter: &str| -> Vec<String> {
            let body = c.get(&admin, &format!("{path}?password_expires_at={filter}")).await.is(200).json();
            let users = body["users"].as_array().unwrap();
            let mut names: Vec<_> = users.iter().map(|u| u["name"].as_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        let members = format!("/v3/groups/{group}/users");
        for path in ["/v3/users", members.as_str()] {
            assert_eq!(names(path, "lt:1970-01-01T00:00:02Z").await, ["a"]);
            assert_eq!(names(path, "lte:1970-01-01T00:00:02Z").await, ["a", "b"]);
            assert_eq!(names(path, "gt:1970-01-01T00:00:01Z").await, ["b"]);
            assert_eq!(names(path, "gte:1970-01-01T00:00:01Z").await, ["a", "b"]);
            assert_eq!(names(path, "eq:1970-01-01T00:00:01Z").await, ["a"]);
            assert_eq!(names(path, "neq:1970-01-01T00:00:01Z").await, ["b"]);
            assert_eq!(
                names(path, "gt:1970-01-01T00:00:00Z&password_expires_at=lt:1970-01-01T00:00:02Z").await,
                ["a"]
            );
        }
        for wrong in ["le:1970-01-01T00:00:01Z", "lt:yesterday", "1970-01-01T00:00:01Z", "", "lt:"] {
            c.get(&admin, &format!("/v3/users?password_expires_at={wrong}")).await.is(400);
        }
    })
    .await;
}

#[tokio::test]
async fn an_administrators_password_is_changed_upon_first_use() {
    each_with(
        |s| s.identity.security.change_password_upon_first_use = true,
        async |c| {
            let admin = c.admin().await;
            let id = c.make(&admin, "users", json!({"name": "bob", "password": "p0"})).await;
            let sentence = format!("The password is expired and needs to be changed for user: {id}.");
            c.login("bob", "p0", Value::Null).await.says(401, &sentence);
            change(c, &id, "p0", "p1").await.is(204);
            c.login("bob", "p1", Value::Null).await.is(201);
            let path = format!("/v3/users/{id}");
            c.patch(&admin, &path, json!({"user": {"description": "d"}})).await.is(200);
            c.login("bob", "p1", Value::Null).await.is(201);
            c.patch(&admin, &path, json!({"user": {"password": "p2"}})).await.is(200);
            c.login("bob", "p2", Value::Null).await.says(401, &sentence);
            let exempt = json!({"user": {"password": "p3", "options": {"ignore_change_password_upon_first_use": true}}});
            c.patch(&admin, &path, exempt).await.is(200);
            c.login("bob", "p3", Value::Null).await.is(201);
        },
    )
    .await;
}

#[tokio::test]
async fn who_is_away_for_too_long_is_disabled() {
    each_with(
        |s| s.identity.security.disable_user_account_days_inactive = Some(5),
        async |c| {
            let admin = c.admin().await;
            let bob = c.make(&admin, "users", json!({"name": "bob", "password": "pw"})).await;
            let free = json!({"name": "free", "password": "pw", "options": {"ignore_user_inactivity": true}});
            let free = c.make(&admin, "users", free).await;
            let token = c.login("bob", "pw", Value::Null).await.is(201).token.unwrap();
            for id in [&bob, &free] {
                c.sql(&format!(
                    "UPDATE account SET last_active_at = {} WHERE id = '{id}' RETURNING id",
                    4 * DAY_US
                ))
                .await;
            }
            c.login("bob", "pw", Value::Null).await.says(401, UNAUTHORIZED);
            c.login("free", "pw", Value::Null).await.is(201);
            eventually("the idle user is shown as disabled and its token refused", async || {
                user(c, &admin, &bob).await["enabled"] == false
                    && c.get(&token, "/v3/auth/projects").await.status == 401
            })
            .await;
            assert_eq!(user(c, &admin, &free).await["enabled"], true);
            let path = format!("/v3/users/{bob}");
            c.patch(&admin, &path, json!({"user": {"enabled": true}})).await.is(200);
            c.login("bob", "pw", Value::Null).await.is(201);
        },
    )
    .await;
}

#[tokio::test]
async fn a_changed_password_ends_the_users_tokens() {
    each(async |c| {
        let admin = c.admin().await;
        let id = c.make(&admin, "users", json!({"name": "bob", "password": "p0"})).await;
        let path = format!("/v3/users/{id}");
        let token = async |password: &str| c.login("bob", password, Value::Null).await.is(201).token.unwrap();
        let first = token("p0").await;
        change(c, &id, "p0", "p1").await.is(204);
        c.get(&first, &path).await.is(401);
        let second = token("p1").await;
        c.patch(&admin, &path, json!({"user": {"password": "p2"}})).await.is(200);
        c.get(&second, &path).await.is(401);
        // One that is refused ends none.
        let third = token("p2").await;
        change(c, &id, "wrong", "p3").await.is(401);
        change(c, &id, "p2", &"x".repeat(4097)).await.is(400);
        change(c, &id, "p2", "").await.is(400);
        c.get(&third, &path).await.is(200);
        c.call(&third, "HEAD", &format!("{path}/password"), None).await.is(405);
        c.get(&third, &format!("{path}/password")).await.is(405);
    })
    .await;
}

#[tokio::test]
async fn ossn_0004_nobody_changes_a_password_without_the_old_one() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, id) = c.person(&admin, "bob", "member").await;
        let bob = c.login("bob", "pw", json!({"project": {"id": project}})).await.is(201).token.unwrap();
        let path = format!("/v3/users/{id}");
        c.patch(&bob, &path, json!({"user": {"password": "new"}})).await.is(403);
        c.patch(&bob, &path, json!({"user": {"password": "new", "original_password": "pw"}})).await.is(403);
        for body in [
            json!({"password": "new"}),
            json!({"password": "new", "original_password": null}),
            json!({"password": "new", "original_password": ""}),
            json!({"password": "new", "original_password": ["pw"]}),
            json!({"password": "new", "original_password": "wrong"}),
            json!({"password": ["new"], "original_password": "pw"}),
            json!({"password": null, "original_password": "pw"}),
        ] {
            let answer = c.post(&bob, &format!("{path}/password"), json!({"user": body})).await;
            assert!(matches!(answer.status, 400 | 401), "{body}: {}", answer.status);
        }
        c.login("bob", "pw", Value::Null).await.is(201);
    })
    .await;
}
