//! What makes tokens invalid, and how the other services learn it.

use super::support::*;
use ferrostack_bus::{Handler, Source, Verdict};
use ferrostack_client::{LocalVerifier, RevocationPage, ServiceClient};
use ferrostack_http::TokenVerifier;
use ferrostack_model::message::{Envelope, Revocations};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

async fn feed(c: &Cloud, token: &str, after: i64) -> RevocationPage {
    let body = c.get(token, &format!("/v3/ferrostack/revocations?after={after}")).await.is(200).json();
    serde_json::from_value(body).unwrap()
}

#[tokio::test]
async fn a_deleted_token_and_only_that() {
    each(async |c| {
        let (admin, other) = (c.admin().await, c.admin().await);
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", other.as_str())];
        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        c.get(&other, "/v3/users").await.says(401, UNAUTHORIZED);
        c.validate(&admin, &other).await.says(404, "Could not recognize Fernet token");
        c.authenticate(by_token(&other), json!("unscoped")).await.is(404);
        c.get(&admin, "/v3/users").await.is(200);
        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(404);
        let page = feed(c, &admin, 0).await;
        assert_eq!((page.events.len(), page.last_seq, page.events[0].seq), (1, 1, 1));
        assert!(page.events[0].audit_id.is_some());
        assert!(feed(c, &admin, 1).await.events.is_empty());
        c.get(&admin, "/v3/ferrostack/revocations?after=x").await.is(400);
        c.get(&admin, "/v3/ferrostack/revocations?after=-1").await.is(400);
    })
    .await;
}

/// Every change that takes rights away does so at once; a new login works at once.
#[tokio::test]
async fn every_loss_of_rights() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let (member, reader) = (c.role(&admin, "member").await, c.role(&admin, "reader").await);
        let scope = json!({"project": {"id": project}});
        let mut password = "pw".to_owned();
        let grant = format!("/v3/projects/{project}/users/{user}/roles/{member}");
        let probe = format!("/v3/projects/{project}");
        let (own, mine) = (format!("/v3/users/{user}"), format!("/v3/projects/{project}"));
        for step in ["password", "own password", "user", "project", "domain", "grant", "token"] {
            let bob = c.login("bob", &password, scope.clone()).await.is(201).token.unwrap();
            c.get(&bob, &probe).await.is(200);
            let back: Option<(&str, Value)> = match step {
                "password" => {
                    password = "new".into();
                    c.patch(&admin, &own, json!({"user": {"password": "new"}})).await.is(200);
                    None
                }
                "own password" => {
                    let body = json!({"user": {"original_password": "new", "password": "newer"}});
                    c.post(&bob, &format!("{own}/password"), body).await.is(204);
                    password = "newer".into();
                    None
                }
                "user" => {
                    c.patch(&admin, &own, json!({"user": {"enabled": false}})).await.is(200);
                    Some((own.as_str(), json!({"user": {"enabled": true}})))
                }
                "project" => {
                    c.patch(&admin, &mine, json!({"project": {"enabled": false}})).await.is(200);
                    Some((mine.as_str(), json!({"project": {"enabled": true}})))
                }
                "domain" => continue, // below, in a domain of its own
                "grant" => {
                    c.put(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{reader}"))
                        .await
                        .is(204);
                    c.delete(&admin, &grant).await.is(204);
                    None
                }
                _ => {
                    let headers = [("x-auth-token", bob.as_str()), ("x-subject-token", bob.as_str())];
                    c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
                    None
                }
            };
            assert_eq!(c.get(&bob, &probe).await.status, 401, "{step}");
            c.validate(&admin, &bob).await.is(404);
            if let Some((path, body)) = back {
                c.patch(&admin, path, body).await.is(200);
                assert_eq!(c.get(&bob, &probe).await.status, 401, "{step}, enabled again");
            }
            let again = c.login("bob", &password, scope.clone()).await.is(201).token.unwrap();
            assert_eq!(c.get(&again, &probe).await.status, 200, "{step}, new login");
            assert_eq!(c.get(&admin, &probe).await.status, 200, "{step}, others");
        }
        let bob = c.login("bob", &password, scope).await.is(201).token.unwrap();
        c.delete(&admin, &own).await.is(204);
        c.get(&bob, &probe).await.says(401, UNAUTHORIZED);
        let seqs: Vec<i64> = feed(c, &admin, 0).await.events.iter().map(|e| e.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn domains_roles_and_groups_take_their_tokens_along() {
    each(async |c| {
        let admin = c.admin().await;
        let domain = c.make(&admin, "domains", json!({"name": "d"})).await;
        let project = c.make(&admin, "projects", json!({"name": "p", "domain_id": domain})).await;
        let user = c.make(&admin, "users", json!({"name": "u", "domain_id": domain, "password": "pw"})).await;
        let group = c.make(&admin, "groups", json!({"name": "g", "domain_id": domain})).await;
        let role = c.make(&admin, "roles", json!({"name": "operator"})).await;
        let member = c.role(&admin, "member").await;
        let identity = json!({"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}});
        let scope = json!({"project": {"id": project}});
        let login = async || c.authenticate(identity.clone(), scope.clone()).await;
        let probe = format!("/v3/projects/{project}");

        // Through a group.
        c.put(&admin, &format!("/v3/projects/{project}/groups/{group}/roles/{member}")).await.is(204);
        login().await.says(401, UNAUTHORIZED);
        let membership = format!("/v3/groups/{group}/users/{user}");
        c.put(&admin, &membership).await.is(204);
        let token = login().await.is(201).token.unwrap();
        c.get(&token, &probe).await.is(200);
        c.delete(&admin, &membership).await.is(204);
        c.get(&token, &probe).await.says(401, UNAUTHORIZED);
        c.put(&admin, &membership).await.is(204);
        let token = login().await.is(201).token.unwrap();
        c.delete(&admin, &format!("/v3/projects/{project}/groups/{group}/roles/{member}")).await.is(204);
        c.get(&token, &probe).await.says(401, UNAUTHORIZED);

        // A role that goes, and an implication.
        let grant = format!("/v3/projects/{project}/users/{user}/roles/{role}");
        c.put(&admin, &grant).await.is(204);
        let implication = format!("/v3/roles/{role}/implies/{member}");
        c.put(&admin, &implication).await.is(201);
        let issued = login().await.is(201);
        assert_eq!(issued.json()["token"]["roles"].as_array().unwrap().len(), 3); // operator, member, reader
        c.delete(&admin, &implication).await.is(204);
        let issued = login().await.is(201);
        assert_eq!(issued.json()["token"]["roles"].as_array().unwrap().len(), 1);
        let admin = c.admin().await; // it had member by implication, too
        c.delete(&admin, &format!("/v3/roles/{role}")).await.is(204);
        c.get(&issued.token.unwrap(), &probe).await.says(401, UNAUTHORIZED);

        // Inherited from the domain.
        let inherited =
            format!("/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/{member}/inherited_to_projects");
        c.put(&admin, &inherited).await.is(204);
        let token = login().await.is(201).token.unwrap();
        c.get(&token, &probe).await.is(200);
        c.authenticate(identity.clone(), json!({"domain": {"id": domain}})).await.says(401, UNAUTHORIZED);
        c.delete(&admin, &inherited).await.is(204);
        c.get(&token, &probe).await.says(401, UNAUTHORIZED);

        // The domain itself.
        c.put(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{member}")).await.is(204);
        let token = login().await.is(201).token.unwrap();
        let path = format!("/v3/domains/{domain}");
        c.delete(&admin, &path)
            .await
            .says(403, "Cannot delete a domain that is enabled, please disable it first.");
        c.patch(&admin, &path, json!({"domain": {"enabled": false}})).await.is(200);
        c.get(&token, &probe).await.says(401, UNAUTHORIZED);
        login().await.says(401, UNAUTHORIZED);
        c.delete(&admin, &path).await.is(204);
        for gone in [&path, &probe, &format!("/v3/users/{user}"), &format!("/v3/groups/{group}")] {
            c.get(&admin, gone).await.is(404);
        }
    })
    .await;
}

/// What is revoked is announced on the bus at once.
#[tokio::test]
async fn the_bus_hears_at_once() {
    struct Inbox(tokio::sync::mpsc::UnboundedSender<Envelope>);
    #[async_trait::async_trait]
    impl Handler for Inbox {
        async fn handle(&self, message: Envelope) -> Verdict {
            self.0.send(message).map_or(Verdict::Retry, |()| Verdict::Ack)
        }
    }
    each(async |c| {
        let (sender, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        c.bus.consume(Source::Revocations, 1, Arc::new(Inbox(sender)), stop.clone()).await.unwrap();
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        c.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"enabled": false}})).await.is(200);
        let message =
            tokio::time::timeout(std::time::Duration::from_secs(5), inbox.recv()).await.unwrap().unwrap();
        let events = message.open::<Revocations>().unwrap().events;
        assert_eq!((events.len(), events[0].user_id.as_deref()), (1, Some(user.as_str())));
        assert_eq!(events, feed(c, &admin, 0).await.events);
        stop.cancel();
    })
    .await;
}

/// The other services' verifier follows the feed and goes by it without asking.
#[tokio::test]
async fn the_local_verifier_agrees() {
    each(async |c| {
        let admin = c.admin().await;
        let mut credentials = c.settings.credentials.clone();
        credentials.auth_url = format!("{}/v3", c.base);
        let stop = CancellationToken::new();
        let client = ServiceClient::new(&credentials).unwrap();
        assert!(client.endpoint("compute").await.is_ok_and(|url| url.ends_with(":8774/v2.1")));
        let verifier: Arc<LocalVerifier> = LocalVerifier::start(client, &c.settings.tokens, stop.clone());
        eventually("the verifier knows the keys", async || verifier.verify(&admin).await.is_ok()).await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let bob = c.token("bob", "pw", "bob-project").await;
        let caller = verifier.verify(&bob).await.unwrap();
        assert_eq!((caller.user_id(), caller.project_id()), (user.as_str(), project.as_str()));
        assert_eq!(caller.claims.roles, ["member", "reader"]);
        c.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"password": "x"}})).await.is(200);
        let fresh = c.token("bob", "x", "bob-project").await;
        eventually("the verifier hears", async || verifier.verify(&bob).await.is_err()).await;
        assert!(verifier.verify(&fresh).await.is_ok() && verifier.verify(&admin).await.is_ok());
        stop.cancel();
    })
    .await;
}

#[tokio::test]
async fn a_replica_hears_by_polling() {
    each(async |c| {
        let (second, running) = c.replica().await;
        let admin = c.admin().await;
        let users = format!("{second}/v3/users");
        c.get(&admin, &users).await.is(200);
        let other = c.admin().await;
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", other.as_str())];
        c.get(&other, &users).await.is(200);
        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        c.get(&other, "/v3/users").await.is(401);
        eventually("the replica polls", async || c.get(&other, &users).await.status == 401).await;
        // Validation knows within a second, too.
        let new = c.admin().await;
        c.validate(&admin, &new).await.is(200);
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", new.as_str())];
        c.send(Method::DELETE, &format!("{second}/v3/auth/tokens"), &headers, None).await.is(204);
        eventually("validation hears", async || c.validate(&admin, &new).await.status == 404).await;
        running.stop().await;
    })
    .await;
}

/// Rules made at once by many: numbers without gaps, and a reader who follows them misses none.
#[tokio::test]
async fn a_reader_of_the_feed_misses_nothing() {
    each(async |c| {
        let admin = c.admin().await;
        let mut users = Vec::new();
        for n in 0..24 {
            users.push(c.make(&admin, "users", json!({"name": format!("u{n}")})).await);
        }
        let done = std::sync::atomic::AtomicBool::new(false);
        let reader = async {
            let (mut cursor, mut seen) = (0, Vec::new());
            loop {
                let last = done.load(std::sync::atomic::Ordering::SeqCst);
                let page = feed(c, &admin, cursor).await;
                seen.extend(page.events.iter().map(|e| e.seq));
                cursor = page.last_seq;
                if last {
                    return (seen, cursor);
                }
            }
        };
        let writers = async {
            let (admin, c) = (&admin, &c);
            let all = users.iter().map(|user| async move {
                for enabled in [false, true, false] {
                    let path = format!("/v3/users/{user}");
                    c.patch(admin, &path, json!({"user": {"enabled": enabled}})).await.is(200);
                }
            });
            futures_util::future::join_all(all).await;
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        };
        let ((seen, cursor), ()) = tokio::join!(reader, writers);
        assert_eq!(cursor, 48);
        assert_eq!(seen, (1..=48).collect::<Vec<i64>>());
    })
    .await;
}

/// A login that runs beside a change of the password never leaves a token of the old one behind.
#[tokio::test]
async fn logins_beside_a_password_change() {
    each(async |c| {
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let path = format!("/v3/users/{user}");
        for round in 0..8 {
            let (old, new) =
                (if round == 0 { "pw".to_owned() } else { format!("p{round}") }, format!("p{}", round + 1));
            let logins = futures_util::future::join_all((0..6).map(|_| c.login("bob", &old, Value::Null)));
            let change = c.patch(&admin, &path, json!({"user": {"password": new}}));
            let (logins, change) = tokio::join!(logins, change);
            change.is(200);
            for login in logins {
                if let Some(token) = login.token {
                    assert_eq!(c.get(&token, &path).await.status, 401, "round {round}");
                }
            }
            let token = c.login("bob", &new, Value::Null).await.is(201).token.unwrap();
            c.get(&token, &path).await.is(200);
        }
    })
    .await;
}

/// Fifty re-scopings live no longer than the first token, and all die with the user's password.
#[tokio::test]
async fn a_chain_of_tokens_ends_with_its_user() {
    each(async |c| {
        let admin = c.admin().await;
        let (project, user) = c.person(&admin, "bob", "member").await;
        let first = c.login("bob", "pw", json!("unscoped")).await.is(201);
        let expiry = first.json()["token"]["expires_at"].clone();
        let mut chain = vec![first.token.unwrap()];
        for n in 0..50 {
            let scope = if n % 2 == 0 { json!({"project": {"id": project}}) } else { json!("unscoped") };
            let next = c.authenticate(by_token(chain.last().unwrap()), scope).await.is(201);
            let body = next.json();
            assert_eq!(body["token"]["expires_at"], expiry);
            assert_eq!(body["token"]["audit_ids"].as_array().unwrap().len(), 2);
            chain.push(next.token.unwrap());
        }
        c.patch(&admin, &format!("/v3/users/{user}"), json!({"user": {"password": "new"}})).await.is(200);
        for token in &chain {
            c.get(token, &format!("/v3/users/{user}")).await.is(401);
            c.validate(&admin, token).await.is(404);
        }
    })
    .await;
}

/// Many changes that revoke and many logins at once get through, on a pool of four connections too.
#[tokio::test]
async fn logins_and_revocations_do_not_wait_for_each_other() {
    each(async |c| {
        let (c, admin) = (&*c, &c.admin().await);
        let mut users = Vec::new();
        for n in 0..16 {
            users.push(c.make(admin, "users", json!({"name": format!("u{n}"), "password": "pw"})).await);
        }
        let changes = users.iter().map(|user| async move {
            for enabled in [false, true, false, true] {
                c.patch(admin, &format!("/v3/users/{user}"), json!({"user": {"enabled": enabled}}))
                    .await
                    .is(200);
            }
        });
        let logins = (0..40).map(|_| async { c.login("admin", "secret", json!("unscoped")).await.is(201) });
        let all = async {
            tokio::join!(futures_util::future::join_all(changes), futures_util::future::join_all(logins))
        };
        assert!(tokio::time::timeout(std::time::Duration::from_secs(25), all).await.is_ok());
    })
    .await;
}
