//! Answers about tokens are kept, and never outlive what they say.

use super::support::*;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Two processes on one database and no bus between them: whatever takes a right away in one is in force in the
/// other within a second, though both keep answers.
#[tokio::test]
async fn a_change_in_one_replica_is_in_force_in_the_other_within_a_second() {
    each_with(
        |settings| settings.tokens.feed_poll_ms = 1000,
        async |c| {
            let (second, running) = c.lone_replica().await;
            let admin = c.admin().await;
            let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
            let role = c.role(&admin, "member").await;
            let group = c.make(&admin, "groups", json!({"name": "g"})).await;
            let other_role = c.make(&admin, "roles", json!({"name": "operator"})).await;
            let implied = format!("/v3/roles/{role}/implies/{other_role}");
            for (n, what) in
                ["token", "user", "password", "project", "domain", "role", "group", "implied", "name"]
                    .into_iter()
                    .enumerate()
            {
                let name = format!("{what}{n}");
                let body = json!({"name": name, "domain_id": domain});
                let project = c.make(&admin, "projects", body).await;
                let body = json!({"name": name, "domain_id": domain, "password": "pw"});
                let user = c.make(&admin, "users", body).await;
                let grant = format!("/v3/projects/{project}/users/{user}/roles/{role}");
                match what {
                    "group" => {
                        c.put(&admin, &format!("/v3/groups/{group}/users/{user}")).await.is(204);
                        c.put(&admin, &format!("/v3/projects/{project}/groups/{group}/roles/{role}"))
                            .await
                            .is(204);
                    }
                    _ => {
                        c.put(&admin, &grant).await.is(204);
                    }
                }
                let identity =
                    json!({"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}});
                let issued = c.authenticate(identity, json!({"project": {"id": project}})).await.is(201);
                let token = issued.token.unwrap();
                let validate = async || {
                    let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
                    c.send(Method::GET, &format!("{second}/v3/auth/tokens"), &headers, None).await
                };
                for _ in 0..3 {
                    assert_eq!(validate().await.is(200).json()["token"]["user"]["name"], name);
                }
                let user_path = format!("/v3/users/{user}");
                match what {
                    "token" => {
                        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
                        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204)
                    }
                    "user" => c.patch(&admin, &user_path, json!({"user": {"enabled": false}})).await.is(200),
                    "password" => {
                        c.patch(&admin, &user_path, json!({"user": {"password": "x"}})).await.is(200)
                    }
                    "project" => {
                        let body = json!({"project": {"enabled": false}});
                        c.patch(&admin, &format!("/v3/projects/{project}"), body).await.is(200)
                    }
                    "domain" => {
                        let body = json!({"domain": {"enabled": false}});
                        c.patch(&admin, &format!("/v3/domains/{domain}"), body).await.is(200)
                    }
                    "role" => c.delete(&admin, &grant).await.is(204),
                    "group" => c.delete(&admin, &format!("/v3/groups/{group}/users/{user}")).await.is(204),
                    "implied" => c.put(&admin, &implied).await.is(201),
                    _ => c.patch(&admin, &user_path, json!({"user": {"name": "renamed"}})).await.is(200),
                };
                let changed = Instant::now();
                let in_force = |answer: &Answer| match what {
                    "implied" => answer.text.contains("operator"),
                    "name" => answer.text.contains("renamed"),
                    _ => answer.status == 404,
                };
                loop {
                    let asked = changed.elapsed();
                    let answer = validate().await;
                    if in_force(&answer) {
                        break;
                    }
                    assert!(asked < Duration::from_secs(1), "{what}: {} after {asked:?}", answer.status);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                // At once where it was done.
                assert!(in_force(&c.validate(&admin, &token).await), "{what}");
                if what == "domain" {
                    let body = json!({"domain": {"enabled": true}});
                    c.patch(&admin, &format!("/v3/domains/{domain}"), body).await.is(200);
                }
            }
            running.stop().await;
        },
    )
    .await;
}

/// A change of the catalog shows in the next answer.
#[tokio::test]
async fn the_catalog_is_never_an_old_one() {
    each(async |c| {
        let admin = c.admin().await;
        let types = async || {
            let body = c.validate(&admin, &admin).await.is(200).json();
            let catalog = body["token"]["catalog"].as_array().unwrap().clone();
            catalog.iter().map(|s| s["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(!types().await.contains(&"dns".to_owned()));
        let service = c.make(&admin, "services", json!({"type": "dns"})).await;
        assert!(types().await.contains(&"dns".to_owned()));
        let path = format!("/v3/services/{service}");
        c.patch(&admin, &path, json!({"service": {"enabled": false}})).await.is(200);
        assert!(!types().await.contains(&"dns".to_owned()));
        let plain = async || {
            let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", admin.as_str())];
            c.send(Method::GET, "/v3/auth/tokens?nocatalog", &headers, None).await.is(200).json()
        };
        assert!(
            plain().await["token"].get("catalog").is_none()
                && plain().await["token"].get("catalog").is_none()
        );
        c.delete(&admin, &path).await.is(204);
    })
    .await;
}

/// An answer that is kept is still only for those who may have it.
#[tokio::test]
async fn kept_answers_keep_the_policy() {
    each(async |c| {
        let admin = c.admin().await;
        c.person(&admin, "bob", "member").await;
        c.person(&admin, "eve", "member").await;
        let (bob, eve) =
            (c.token("bob", "pw", "bob-project").await, c.token("eve", "pw", "eve-project").await);
        for _ in 0..3 {
            c.validate(&admin, &bob).await.is(200);
            c.validate(&bob, &bob).await.is(200);
            c.validate(&eve, &bob).await.is(403);
            let spoiled = format!("{}x", &bob[..bob.len() - 1]);
            c.validate(&admin, &spoiled).await.is(404);
            c.validate(&admin, &format!("x{}", &bob[1..])).await.is(404);
        }
    })
    .await;
}

/// OSSA 2014-007: under many requests at once nobody is ever shown, or taken for, somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ossa_2014_007_every_answer_names_its_own_user() {
    const USERS: usize = 200;
    const REQUESTS: usize = 5_000;
    const AT_ONCE: usize = 32;
    each_with(
        |settings| settings.identity.workers = 2,
        async |c| {
            let admin = c.admin().await;
            let mut people = Vec::new();
            let role = c.role(&admin, "member").await;
            for n in 0..USERS {
                let name = format!("u{n}");
                let project = c.make(&admin, "projects", json!({"name": name})).await;
                let user = c.make(&admin, "users", json!({"name": name, "password": "pw"})).await;
                c.put(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{role}")).await.is(204);
                people.push((user, project, c.token(&name, "pw", &name).await));
            }
            let (c, admin, people) = (&*c, &admin, &people);
            let walk = async |start: usize| {
                for n in 0..REQUESTS / AT_ONCE {
                    let (user, project, token) = &people[(start * 37 + n * 101) % USERS];
                    match n % 3 {
                        // Validated by the admin, shown to oneself, and taken for oneself.
                        0 | 1 => {
                            let by = if n % 3 == 0 { admin } else { token };
                            let body = c.validate(by, token).await.is(200).json();
                            assert_eq!(body["token"]["user"]["id"], **user);
                            assert_eq!(body["token"]["project"]["id"], **project);
                        }
                        _ => {
                            let body = c.get(token, "/v3/auth/projects").await.is(200).json();
                            assert_eq!(body["projects"][0]["id"], **project);
                            assert_eq!(body["projects"].as_array().unwrap().len(), 1);
                        }
                    }
                    if start == 0 && n % 10 == 0 {
                        // Something changes now and then, so that answers are also made anew.
                        let body: Value = json!({"user": {"description": n.to_string()}});
                        c.patch(admin, &format!("/v3/users/{}", people[n % USERS].0), body).await.is(200);
                    }
                }
            };
            futures_util::future::join_all((0..AT_ONCE).map(walk)).await;
        },
    )
    .await;
}

/// Sixty-four logins at cost 12 wait for their hashes; validations are answered meanwhile.
#[tokio::test]
async fn hashing_blocks_nobody_else() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    each_with(
        |settings| settings.identity.bcrypt_cost = 12,
        async |c| {
            let admin = c.admin().await;
            let done = AtomicUsize::new(0);
            let logins = (0..64).map(|_| async {
                let answer = c.login("admin", "secret", Value::Null).await;
                // The queue for hashes may be full; nothing else may go wrong.
                assert!(matches!(answer.status, 201 | 429 | 503), "{}", answer.text);
                done.fetch_add(1, Ordering::SeqCst);
            });
            let validations = async {
                let mut beside = 0;
                for _ in 0..100 {
                    let before = done.load(Ordering::SeqCst);
                    c.validate(&admin, &admin).await.is(200);
                    beside += usize::from(before < 64);
                }
                (beside, done.load(Ordering::SeqCst))
            };
            let (_, (beside, logged_in)) = tokio::join!(futures_util::future::join_all(logins), validations);
            // One worker thread: were it held by hashes, the logins would all be over first.
            assert!(beside >= 50 && logged_in < 64, "{beside} validations beside, {logged_in} logins over");
        },
    )
    .await;
}
