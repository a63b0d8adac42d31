//! What logins tell and cost, who is locked out, and who is not. Work is counted, not timed.

use super::support::{Answer, Cloud, UNAUTHORIZED, by_name, each, each_with, eventually};
use ferrostack_settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

/// Slow hashes computed by this process for checks so far.
async fn checks(c: &Cloud) -> u64 {
    let text = c.send(Method::GET, "/metrics", &[], None).await.is(200).text;
    let line = text
        .lines()
        .find(|l| l.starts_with("ferrostack_identity_password_hashes_total{for=\"check\"}"))
        .expect("the metric is there");
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

/// A login that comes through our proxy from an address.
async fn from(c: &Cloud, address: &str, identity: Value) -> Answer {
    let body = json!({"auth": {"identity": identity}});
    c.send(Method::POST, "/v3/auth/tokens", &[("x-forwarded-for", address)], Some(&body)).await
}

fn by_id(id: &str, password: &str) -> Value {
    json!({"methods": ["password"], "password": {"user": {"id": id, "password": password}}})
}

fn locking(settings: &mut Settings) {
    settings.identity.security.lockout_failure_attempts = Some(3);
    settings.identity.security.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
}

/// All that a client can see but the request's id.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-openstack-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, answer.text.clone())
}

/// Unknown, wrong, locked, disabled, expired: one answer after one hash, and one write where users are locked out.
/// Also CVE-2018-20170: an unknown user is not answered sooner.
#[tokio::test]
async fn ossa_2021_003_no_answer_tells_why_a_login_failed() {
    each_with(locking, async |c| {
        let admin = c.admin().await;
        for name in ["bob", "locked", "disabled", "expired", "idle"] {
            c.make(&admin, "users", json!({"name": name, "password": "pw"})).await;
        }
        c.make(&admin, "users", json!({"name": "off", "password": "pw", "enabled": false})).await;
        c.make(&admin, "users", json!({"name": "none"})).await;
        let domain = c.make(&admin, "domains", json!({"name": "closed"})).await;
        let closed =
            c.make(&admin, "users", json!({"name": "c", "password": "pw", "domain_id": domain})).await;
        c.patch(&admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}}))
            .await
            .is(200);
        c.sql("UPDATE account SET password_expires_at = 1 WHERE name = 'expired' RETURNING id").await;
        for _ in 0..3 {
            from(c, "192.0.2.9", by_name("locked", "no")).await.says(401, UNAUTHORIZED);
        }
        let foreign = json!({"methods": ["password"],
            "password": {"user": {"name": "bob", "domain": {"name": "nosuch"}, "password": "pw"}}});
        let mut all = Vec::new();
        for (what, identity) in [
            ("wrong password", by_name("bob", "no")),
            ("unknown name", by_name("nosuch", "pw")),
            ("unknown id", by_id("0123456789abcdef0123456789abcdef", "pw")),
            ("unknown domain", foreign),
            ("locked, right", by_name("locked", "pw")),
            ("locked, wrong", by_name("locked", "no")),
            ("disabled, right", by_name("off", "pw")),
            ("disabled, wrong", by_name("off", "no")),
            ("disabled domain, right", by_id(&closed, "pw")),
            ("disabled domain, wrong", by_id(&closed, "no")),
            ("no password set", by_name("none", "pw")),
            ("expired, wrong", by_name("expired", "no")),
        ] {
            let before = checks(c).await;
            let answer = from(c, "192.0.2.1", identity).await;
            assert_eq!(checks(c).await - before, 1, "{what}");
            all.push((what, seen(&answer)));
        }
        for (what, answer) in &all {
            assert_eq!(*answer, all[0].1, "{what}");
        }
        assert_eq!(all[0].1.0, 401);
        // The same where users change their password.
        let id =
            c.get(&admin, "/v3/users?name=bob").await.json()["users"][0]["id"].as_str().unwrap().to_owned();
        let off =
            c.get(&admin, "/v3/users?name=off").await.json()["users"][0]["id"].as_str().unwrap().to_owned();
        let mut all = Vec::new();
        for (id, password) in
            [(id.as_str(), "no"), ("nosuch", "pw"), (off.as_str(), "pw"), (off.as_str(), "no")]
        {
            let before = checks(c).await;
            let body = json!({"user": {"original_password": password, "password": "new"}});
            let answer = c.send(Method::POST, &format!("/v3/users/{id}/password"), &[], Some(&body)).await;
            assert_eq!(checks(c).await - before, 1, "{id}");
            all.push(seen(&answer));
        }
        assert!(all.iter().all(|answer| *answer == all[0] && answer.0 == 401));
        // That a password has expired is told to who knows it, who is to change it.
        let told = from(c, "192.0.2.1", by_name("expired", "pw")).await.is(401).json();
        let told = told["error"]["message"].as_str().unwrap().to_owned();
        assert!(told.starts_with("The password is expired and needs to be changed for user: "), "{told}");
    })
    .await;
}

#[tokio::test]
async fn ossa_2012_002_a_very_long_password_is_refused_without_a_hash() {
    each(async |c| {
        let admin = c.admin().await;
        let id = c.make(&admin, "users", json!({"name": "bob", "password": "pw"})).await;
        let before = checks(c).await;
        for (length, statuses) in [(4097, &[401][..]), (1 << 20, &[400, 401, 413]), (100 << 20, &[400, 413])] {
            for user in [format!(r#""id":"{id}""#), r#""name":"nosuch","domain":{"id":"default"}"#.to_owned()] {
                let long = "x".repeat(length);
                let body = format!(
                    r#"{{"auth":{{"identity":{{"methods":["password"],"password":{{"user":{{{user},"password":"{long}"}}}}}}}}}}"#
                );
                let request = c.http.post(format!("{}/v3/auth/tokens", c.base));
                // A server that stops reading may close the connection before all is sent.
                match request.header("content-type", "application/json").body(body).send().await {
                    Ok(answer) => {
                        assert!(statuses.contains(&answer.status().as_u16()), "{length} {}", answer.status());
                    }
                    Err(error) => assert!(length > 1 << 20 && error.is_request(), "{error}"),
                }
            }
        }
        assert_eq!(checks(c).await, before);
        c.login("bob", "pw", Value::Null).await.is(201);
    })
    .await;
}

#[tokio::test]
async fn ossa_2013_015_no_empty_password_logs_in() {
    each(async |c| {
        let admin = c.admin().await;
        let refused = "Password validation error: The password is empty.";
        c.post(&admin, "/v3/users", json!({"user": {"name": "eve", "password": ""}})).await.says(400, refused);
        let without = c.make(&admin, "users", json!({"name": "without"})).await;
        let null = c.make(&admin, "users", json!({"name": "null", "password": null})).await;
        let bob = c.make(&admin, "users", json!({"name": "bob", "password": "pw"})).await;
        c.patch(&admin, &format!("/v3/users/{bob}"), json!({"user": {"password": ""}})).await.says(400, refused);
        for id in [&without, &null, &bob, &"nosuch".to_owned()] {
            for password in [json!(""), json!(null), json!([]), json!({}), json!(0), json!(false), json!([""])] {
                let identity = json!({"methods": ["password"], "password": {"user": {"id": id, "password": password}}});
                let answer = c.authenticate(identity, Value::Null).await;
                assert!(matches!(answer.status, 400 | 401), "{id} {password}: {}", answer.status);
                let body = json!({"user": {"original_password": password, "password": "new"}});
                let answer = c.send(Method::POST, &format!("/v3/users/{id}/password"), &[], Some(&body)).await;
                assert!(matches!(answer.status, 400 | 401), "{id} {password}: {}", answer.status);
            }
            let missing = json!({"methods": ["password"], "password": {"user": {"id": id}}});
            c.authenticate(missing, Value::Null).await.is(400);
        }
        for secret in [json!(""), json!(null), json!([]), json!({}), json!(0), json!(false)] {
            for identity in [
                json!({"methods": ["token"], "token": {"id": secret}}),
                json!({"methods": ["application_credential"], "application_credential": {"id": "x", "secret": secret}}),
                json!({"methods": ["totp"], "totp": {"user": {"id": bob, "passcode": secret}}}),
            ] {
                let answer = c.authenticate(identity.clone(), Value::Null).await;
                assert!(matches!(answer.status, 400 | 401 | 404), "{identity}: {}", answer.status);
                assert!(answer.token.is_none());
            }
        }
    })
    .await;
}

#[tokio::test]
async fn ossa_2014_013_one_request_does_one_hash() {
    each(async |c| {
        c.admin().await;
        let unknown: Vec<String> = (0..1000).map(|n| format!("method{n}")).collect();
        let mut mixed = unknown.clone();
        mixed.insert(0, "password".into());
        let user = json!({"user": {"name": "admin", "domain": {"id": "default"}, "password": "wrong"}});
        for (methods, most) in [(vec!["password".to_owned(); 1000], 1), (unknown, 0), (mixed, 1)] {
            let before = checks(c).await;
            let identity = json!({"methods": methods, "password": user});
            let answer = c.authenticate(identity, Value::Null).await;
            assert!(matches!(answer.status, 400 | 401), "{}", answer.status);
            assert!(checks(c).await - before <= most, "{} methods", methods.len());
        }
        // A good login is one as well.
        let before = checks(c).await;
        let user = json!({"user": {"name": "admin", "domain": {"id": "default"}, "password": "secret"}});
        let identity = json!({"methods": vec!["password"; 1000], "password": user});
        c.authenticate(identity, Value::Null).await.is(201);
        assert_eq!(checks(c).await - before, 1);
    })
    .await;
}

#[tokio::test]
async fn too_many_wrong_passwords_lock_a_user_out() {
    each_with(
        |s| {
            locking(s);
            s.identity.security.lockout_duration = 2;
        },
        async |c| {
            let admin = c.admin().await;
            let id = c.make(&admin, "users", json!({"name": "bob", "password": "pw"})).await;
            let wrong = async |n| {
                for _ in 0..n {
                    c.login("bob", "no", Value::Null).await.says(401, UNAUTHORIZED);
                }
            };
            // A right one in between starts the count anew.
            for _ in 0..2 {
                wrong(2).await;
                c.login("bob", "pw", Value::Null).await.is(201);
            }
            wrong(3).await;
            c.login("bob", "pw", Value::Null).await.says(401, UNAUTHORIZED);
            let body = json!({"user": {"original_password": "pw", "password": "new"}});
            c.send(Method::POST, &format!("/v3/users/{id}/password"), &[], Some(&body))
                .await
                .says(401, UNAUTHORIZED);
            // It ends by itself, and attempts meanwhile do not prolong it.
            eventually("the lock ends", async || c.login("bob", "pw", Value::Null).await.status == 201).await;
            wrong(3).await;
            // Replicas and restarts see it too.
            let (base, replica) = c.replica().await;
            let body = json!({"auth": {"identity": by_name("bob", "pw")}});
            c.send(Method::POST, &format!("{base}/v3/auth/tokens"), &[], Some(&body))
                .await
                .says(401, UNAUTHORIZED);
            replica.stop().await;
            // An administrator's update lets the user in.
            c.patch(&admin, &format!("/v3/users/{id}"), json!({"user": {"enabled": true}})).await.is(200);
            c.login("bob", "pw", Value::Null).await.is(201);
            let exempt = json!({"user": {"options": {"ignore_lockout_failure_attempts": true}}});
            c.patch(&admin, &format!("/v3/users/{id}"), exempt).await.is(200);
            wrong(5).await;
            c.login("bob", "pw", Value::Null).await.is(201);
            c.delete(&admin, &format!("/v3/users/{id}")).await.is(204);
            assert_eq!(
                c.sql(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM login_failure WHERE user_id = '{id}'"))
                    .await,
                "0"
            );
            assert_eq!(
                c.sql(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM login_source WHERE user_id = '{id}'"))
                    .await,
                "0"
            );
        },
    )
    .await;
}

/// Of guesses that run at once no more count than of guesses in a row, and good logins at once are no guesses.
#[tokio::test]
async fn logins_at_once_are_counted_like_logins_in_a_row() {
    each_with(locking, async |c| {
        let admin = c.admin().await;
        let id = c.make(&admin, "users", json!({"name": "bob", "password": "pw"})).await;
        let at_once = async |password: &str| {
            let tries = (0..20).map(|_| from(c, "192.0.2.1", by_name("bob", password)));
            futures_util::future::join_all(tries).await.into_iter().map(|a| a.status).collect::<Vec<_>>()
        };
        assert_eq!(at_once("pw").await, [201; 20]);
        assert_eq!(at_once("no").await, [401; 20]);
        let count = format!("SELECT CAST(SUM(failures) AS TEXT) FROM login_failure WHERE user_id = '{id}'");
        assert_eq!(c.sql(&count).await, "3");
        assert_eq!(at_once("pw").await, [401; 20]);
        assert_eq!(c.sql(&count).await, "3");
    })
    .await;
}

/// The right password does not buy more guesses at the second factor.
#[tokio::test]
async fn wrong_passcodes_beside_the_right_password_lock_a_user_out() {
    each_with(locking, async |c| {
        let admin = c.admin().await;
        let both = json!({"multi_factor_auth_enabled": true, "multi_factor_auth_rules": [["password", "totp"]]});
        let bob = json!({"name": "bob", "password": "pw", "options": both});
        let id = c.make(&admin, "users", bob).await;
        let seed = json!({"credential": {"type": "totp", "user_id": id, "blob": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}});
        c.post(&admin, "/v3/credentials", seed).await.is(201);
        let failures = format!("SELECT COALESCE(CAST(SUM(failures) AS TEXT), '0') FROM login_failure WHERE user_id = '{id}'");
        for n in 1..=3 {
            let guess = json!({"methods": ["password", "totp"], "password": {"user": {"id": id, "password": "pw"}},
                "totp": {"user": {"id": id, "passcode": "x00000"}}});
            from(c, "192.0.2.1", guess).await.says(401, UNAUTHORIZED);
            assert_eq!(c.sql(&failures).await, n.to_string());
            if n < 3 {
                // Half a login: a receipt, and nothing is forgiven nor known.
                let half = from(c, "192.0.2.1", by_id(&id, "pw")).await.is(401);
                assert!(half.headers.contains_key("openstack-auth-receipt"));
                assert_eq!(c.sql(&failures).await, n.to_string());
            }
        }
        from(c, "192.0.2.1", by_id(&id, "pw")).await.says(401, UNAUTHORIZED);
        let known = format!("SELECT CAST(COUNT(*) AS TEXT) FROM login_source WHERE user_id = '{id}'");
        assert_eq!(c.sql(&known).await, "0");
        // Who needs no second factor is let in by an administrator and by the password.
        let alone = json!({"user": {"options": {"multi_factor_auth_enabled": false}}});
        c.patch(&admin, &format!("/v3/users/{id}"), alone).await.is(200);
        from(c, "192.0.2.1", by_id(&id, "pw")).await.is(201);
        assert_eq!(c.sql(&failures).await, "0");
    })
    .await;
}

#[tokio::test]
async fn strangers_do_not_lock_a_user_out_where_it_is_known() {
    each_with(locking, async |c| {
        let admin = c.admin().await;
        let id = c.make(&admin, "users", json!({"name": "bob", "password": "pw"})).await;
        let (home, office, evil) = ("198.51.100.1", "198.51.100.2", "192.0.2.66");
        from(c, home, by_name("bob", "pw")).await.is(201);
        from(c, office, by_name("bob", "pw")).await.is(201);
        for n in 0..9 {
            // From as many places as one likes: strangers count together.
            from(c, &format!("192.0.2.{n}"), by_name("bob", "no")).await.says(401, UNAUTHORIZED);
        }
        from(c, evil, by_name("bob", "pw")).await.says(401, UNAUTHORIZED);
        from(c, home, by_name("bob", "pw")).await.is(201);
        from(c, office, by_id(&id, "pw")).await.is(201);
        // A login where the user is known does not open the door for strangers.
        from(c, evil, by_name("bob", "pw")).await.says(401, UNAUTHORIZED);
        // Each place has a lock of its own.
        for _ in 0..3 {
            from(c, home, by_name("bob", "no")).await.says(401, UNAUTHORIZED);
        }
        from(c, home, by_name("bob", "pw")).await.says(401, UNAUTHORIZED);
        from(c, office, by_name("bob", "pw")).await.is(201);
        // Another user at the same place is not concerned.
        c.make(&admin, "users", json!({"name": "eve", "password": "pw"})).await;
        from(c, home, by_name("eve", "pw")).await.is(201);
        // Nor is it forgotten by a restart.
        c.pause().await;
        c.resume().await;
        from(c, office, by_name("bob", "pw")).await.is(201);
        from(c, home, by_name("bob", "pw")).await.says(401, UNAUTHORIZED);
        from(c, evil, by_name("bob", "pw")).await.says(401, UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn what_a_client_forwards_itself_is_not_its_source() {
    each_with(
        |s| s.identity.security.lockout_failure_attempts = Some(3),
        async |c| {
            let admin = c.admin().await;
            c.make(&admin, "users", json!({"name": "bob", "password": "pw"})).await;
            for n in 0..3 {
                from(c, &format!("192.0.2.{n}"), by_name("bob", "no")).await.is(401);
            }
            from(c, "198.51.100.1", by_name("bob", "pw")).await.says(401, UNAUTHORIZED);
        },
    )
    .await;
}

#[tokio::test]
async fn failed_logins_are_limited_and_good_ones_are_not() {
    let limits = |s: &mut Settings| {
        s.identity.security.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        s.identity.security.failed_logins_per_source_per_minute = 6;
        s.identity.security.failed_logins_per_user_per_minute = 4;
    };
    each_with(limits, async |c| {
        let admin = c.admin().await;
        for name in ["bob", "eve", "joe"] {
            c.make(&admin, "users", json!({"name": name, "password": "pw"})).await;
        }
        for _ in 0..20 {
            from(c, "198.51.100.1", by_name("bob", "pw")).await.is(201);
        }
        // A user, known or not, is limited for strangers together, and costs no hash then.
        for name in ["bob", "nosuch"] {
            for n in 0..4 {
                from(c, &format!("192.0.2.{n}"), by_name(name, "no")).await.says(401, UNAUTHORIZED);
            }
            let before = checks(c).await;
            let answer = from(c, "192.0.2.9", by_name(name, "no")).await;
            answer.says(429, "Too many failed logins. Please try again later.");
            let wait: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=15).contains(&wait), "{wait}");
            assert_eq!(checks(c).await, before);
        }
        from(c, "192.0.2.9", by_name("bob", "pw")).await.is(429);
        // Where it is known the user logs in as before.
        from(c, "198.51.100.1", by_name("bob", "pw")).await.is(201);
        // A source is limited whatever it tries, the right password too; others go on.
        for n in 0..6 {
            from(c, "203.0.113.5", by_name(&format!("guess{n}"), "no")).await.says(401, UNAUTHORIZED);
        }
        from(c, "203.0.113.5", by_name("eve", "pw")).await.is(429);
        from(c, "203.0.113.6", by_name("eve", "pw")).await.is(201);
        let body = json!({"user": {"original_password": "pw", "password": "new"}});
        let path = "/v3/users/nosuch/password";
        c.send(Method::POST, path, &[("x-forwarded-for", "203.0.113.5")], Some(&body)).await.is(429);
        // Tokens are exchanged for tokens as before.
        let token = from(c, "203.0.113.6", by_name("joe", "pw")).await.is(201).token.unwrap();
        let exchange = json!({"methods": ["token"], "token": {"id": token}});
        from(c, "203.0.113.5", exchange).await.is(201);
    })
    .await;
}

/// A storm of logins: every one is answered, a few hashes at a time, and nothing else waits for them.
#[tokio::test]
async fn r74_a_login_storm_starves_nobody() {
    let small = |s: &mut Settings| {
        s.identity.hash_parallelism = 1;
        s.identity.hash_queue = 8;
        // How many fail depends on the machine; the user may still come in from elsewhere.
        s.identity.security.failed_logins_per_user_per_minute = 10_000;
        s.identity.security.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    };
    each_with(small, async |c| {
        let admin = c.admin().await;
        let before = checks(c).await;
        // 200 logins from 50 places, of which 8 can wait, beside validations.
        let storm =
            (0..200).map(async |n| from(c, &format!("192.0.2.{}", n % 50), by_name("admin", "no")).await);
        let (answers, ()) = tokio::join!(futures_util::future::join_all(storm), async {
            for _ in 0..20 {
                c.validate(&admin, &admin).await.is(200);
            }
        });
        let mut hashed = 0;
        for answer in answers {
            match answer.status {
                401 => hashed += 1,
                503 => assert!(answer.headers.contains_key("retry-after")),
                429 => {}
                other => panic!("{other} {}", answer.text),
            }
        }
        assert!(hashed >= 1);
        assert_eq!(checks(c).await - before, hashed);
        // When it is over all is as before.
        from(c, "198.51.100.1", by_name("admin", "secret")).await.is(201);
    })
    .await;
}
