//! The end of tokens: by time, by revocation, by what they were issued for; on every path and across restarts.

use super::*;
use ferrostack_model::{RevocationEvent, Timestamp};

/// Every way a token can be tried at this service, with what it answers.
pub async fn paths(c: &Cloud, admin: &str, token: &str) -> Vec<(&'static str, u16)> {
    let own = [("x-auth-token", token)];
    let shown = [("x-auth-token", admin), ("x-subject-token", token)];
    let itself = [("x-auth-token", token), ("x-subject-token", token)];
    let tokens = "/v3/auth/tokens";
    vec![
        ("validation", c.send(Method::GET, tokens, &shown, None).await.status),
        (
            "validation without a catalog",
            c.send(Method::GET, "/v3/auth/tokens?nocatalog", &shown, None).await.status,
        ),
        ("HEAD", c.send(Method::HEAD, tokens, &shown, None).await.status),
        ("validation by itself", c.send(Method::GET, tokens, &itself, None).await.status),
        ("HEAD by itself", c.send(Method::HEAD, tokens, &itself, None).await.status),
        ("a list", c.send(Method::GET, "/v3/auth/projects", &own, None).await.status),
        ("the catalog", c.send(Method::GET, "/v3/auth/catalog", &own, None).await.status),
        ("HEAD of a list", c.send(Method::HEAD, "/v3/auth/domains", &own, None).await.status),
        ("its revocation", c.send(Method::DELETE, tokens, &shown, None).await.status),
        ("a login by token", c.authenticate(by_token(token), json!("unscoped")).await.status),
    ]
}

/// A project, a user with a role there, and how to log in.
struct Person {
    project: String,
    user: String,
    identity: Value,
    scope: Value,
}

async fn person(c: &Cloud, admin: &str, name: &str) -> Person {
    let domain = c.make(admin, "domains", json!({"name": format!("{name}-domain")})).await;
    let project = c.make(admin, "projects", json!({"name": name, "domain_id": domain})).await;
    let user = c.make(admin, "users", json!({"name": name, "domain_id": domain, "password": "pw"})).await;
    let role = c.role(admin, "member").await;
    c.put(admin, &format!("/v3/projects/{project}/users/{user}/roles/{role}")).await.is(204);
    let identity = json!({"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}});
    let scope = json!({"project": {"id": project}});
    Person { project, user, identity, scope }
}

impl Person {
    async fn token(&self, c: &Cloud) -> String {
        c.authenticate(self.identity.clone(), self.scope.clone()).await.is(201).token.unwrap()
    }
}

#[tokio::test]
async fn ossa_2013_009_a_revoked_token_is_refused_on_every_path() {
    each(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        let bob = person(c, &admin, "bob").await;
        let token = bob.token(c).await;
        let rescoped = c.authenticate(by_token(&token), json!("unscoped")).await.is(201).token.unwrap();
        // In every cache first.
        for (path, status) in paths(c, &admin, &rescoped).await {
            assert!(matches!(status, 200 | 201 | 204 | 403 | 404), "{path} answered {status}");
        }
        assert!(other.accepts(&token).await);
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        refused_everywhere(c, &other, &admin, &token, "revoked").await;
        refused_everywhere(c, &other, &admin, &rescoped, "revoked before").await;
        assert!(other.accepts(&admin).await);
    })
    .await;
}

#[tokio::test]
async fn ossn_0034_0056_a_restart_forgets_no_revocation() {
    each(async |c| {
        let admin = c.admin().await;
        let bob = person(c, &admin, "bob").await;
        let mut dead = Vec::new();
        let token = bob.token(c).await;
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        dead.push(token);
        let token = bob.token(c).await;
        for enabled in [false, true] {
            let body = json!({"user": {"enabled": enabled}});
            c.patch(&admin, &format!("/v3/users/{}", bob.user), body).await.is(200);
        }
        dead.push(token);
        let alive = bob.token(c).await;
        c.pause().await;
        c.resume().await;
        // The first requests after the start, on caches that are empty.
        let other = Other::of(c, &admin).await;
        for token in &dead {
            refused_everywhere(c, &other, &admin, token, "revoked before the restart").await;
        }
        c.validate(&admin, &alive).await.is(200);
        // A verifier that starts anew while identity runs.
        let later = Other::of(c, &admin).await;
        for token in &dead {
            assert!(!later.accepts(token).await);
        }
        assert!(later.accepts(&alive).await);
    })
    .await;
}

/// A loss of rights, and whether it can be undone by the second body.
struct Loss {
    what: &'static str,
    method: &'static str,
    path: String,
    body: Option<Value>,
    undo: Option<Value>,
}

async fn losses(c: &Cloud, admin: &str, bob: &Person) -> Vec<Loss> {
    let (user, project) = (format!("/v3/users/{}", bob.user), format!("/v3/projects/{}", bob.project));
    let shown = c.get(admin, &project).await.json();
    let domain = format!("/v3/domains/{}", shown["project"]["domain_id"].as_str().unwrap());
    let role = c.role(admin, "member").await;
    let flag = |what, path: &str, noun: &str| Loss {
        what,
        method: "PATCH",
        path: path.into(),
        body: Some(json!({noun: {"enabled": false}})),
        undo: Some(json!({noun: {"enabled": true}})),
    };
    let gone = |what, path: String| Loss { what, method: "DELETE", path, body: None, undo: None };
    vec![
        flag("user disabled", &user, "user"),
        flag("project disabled", &project, "project"),
        flag("domain disabled", &domain, "domain"),
        Loss {
            what: "password changed",
            method: "PATCH",
            path: user.clone(),
            body: Some(json!({"user": {"password": "other"}})),
            undo: Some(json!({"user": {"password": "pw"}})),
        },
        gone("role taken", format!("{project}/users/{}/roles/{role}", bob.user)),
        gone("project deleted", project.clone()),
        gone("user deleted", user.clone()),
    ]
}

/// Every loss for a person of its own: each of its tokens dies everywhere, and an undone loss revives none.
async fn loses(wanted: &[&str]) {
    each(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        for (n, what) in wanted.iter().enumerate() {
            let bob = person(c, &admin, &format!("bob{n}")).await;
            let loss = losses(c, &admin, &bob).await.into_iter().find(|l| l.what == *what).unwrap();
            let first = bob.token(c).await;
            let second = c.authenticate(by_token(&first), bob.scope.clone()).await.is(201).token.unwrap();
            assert!(other.accepts(&first).await && other.accepts(&second).await);
            let status = c.call(&admin, loss.method, &loss.path, loss.body.clone()).await.status;
            assert!(matches!(status, 200 | 204), "{what}: {status}");
            let login = c.authenticate(bob.identity.clone(), bob.scope.clone()).await;
            assert_eq!(login.status, 401, "{what}: a login is answered {}", login.status);
            for token in [&first, &second] {
                refused_everywhere(c, &other, &admin, token, what).await;
            }
            if let Some(undo) = loss.undo {
                c.call(&admin, loss.method, &loss.path, Some(undo)).await.is(200);
                for token in [&first, &second] {
                    refused_everywhere(c, &other, &admin, token, &format!("{what} and back")).await;
                }
                let token = bob.token(c).await;
                assert!(other.accepts(&token).await, "{what} and back: a new token");
            }
            assert!(other.accepts(&admin).await, "{what}: others");
        }
    })
    .await;
}

#[tokio::test]
async fn ossa_2012_010_tokens_die_with_user_and_password() {
    loses(&["user disabled", "password changed", "user deleted"]).await;
}

#[tokio::test]
async fn ossa_2012_014_a_taken_role_takes_its_tokens() {
    loses(&["role taken"]).await;
}

#[tokio::test]
async fn ossa_2012_016_tokens_of_a_disabled_project() {
    loses(&["project disabled"]).await;
}

#[tokio::test]
async fn cve_2013_4222_a_disabled_project_or_domain_kills_tokens() {
    loses(&["project disabled", "domain disabled"]).await;
}

#[tokio::test]
async fn ossa_2013_011_deletions_kill_tokens() {
    loses(&["user deleted", "project deleted"]).await;
    // Groups and domains.
    each(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        let bob = person(c, &admin, "bob").await;
        let shown = c.get(&admin, &format!("/v3/users/{}", bob.user)).await.json();
        let domain = shown["user"]["domain_id"].as_str().unwrap().to_owned();
        let group = c.make(&admin, "groups", json!({"name": "g", "domain_id": domain})).await;
        c.put(&admin, &format!("/v3/groups/{group}/users/{}", bob.user)).await.is(204);
        let project = c.make(&admin, "projects", json!({"name": "of the group", "domain_id": domain})).await;
        let role = c.role(&admin, "reader").await;
        c.put(&admin, &format!("/v3/projects/{project}/groups/{group}/roles/{role}")).await.is(204);
        let scope = json!({"project": {"id": project}});
        let token = c.authenticate(bob.identity.clone(), scope.clone()).await.is(201).token.unwrap();
        c.delete(&admin, &format!("/v3/groups/{group}")).await.is(204);
        refused_everywhere(c, &other, &admin, &token, "group deleted").await;
        c.authenticate(bob.identity.clone(), scope).await.is(401);
        let token = bob.token(c).await;
        let path = format!("/v3/domains/{domain}");
        c.patch(&admin, &path, json!({"domain": {"enabled": false}})).await.is(200);
        refused_everywhere(c, &other, &admin, &token, "domain disabled").await;
        c.delete(&admin, &path).await.is(204);
        refused_everywhere(c, &other, &admin, &token, "domain deleted").await;
    })
    .await;
}

/// Within the second, also for a verifier that the bus does not reach, while others revoke and log in.
#[tokio::test]
async fn r72_revoked_under_load_is_refused_elsewhere_within_a_second() {
    each_with(
        |s| s.tokens.feed_poll_ms = 500,
        async |c| {
            let admin = c.admin().await;
            let heard = Other::of(c, &admin).await;
            // Reads the feed only.
            let mut settings = c.settings.clone();
            settings.credentials.auth_url = format!("{}/v3", c.base);
            let stop = CancellationToken::new();
            let deaf: Arc<dyn ferrostack_bus::Bus> = Arc::new(ferrostack_bus::LocalBus::new());
            let polling = Other { verifier: verifier(&settings, deaf, stop.clone()).await.unwrap(), stop };
            eventually("it knows the keys", async || polling.accepts(&admin).await).await;
            let (replica, running) = c.replica().await;
            let c = &*c;
            let people = futures_util::future::join_all((0..4).map(|n| person_of(c, &admin, n))).await;
            let done = std::sync::atomic::AtomicBool::new(false);
            let load = async {
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    c.login("admin", "secret", json!("unscoped")).await.is(201);
                }
            };
            let trial = async {
                for round in 0..3 {
                    for bob in &people {
                        let token = bob.token(c).await;
                        assert!(heard.accepts(&token).await && polling.accepts(&token).await);
                        let own = [("x-auth-token", token.as_str())];
                        let url = format!("{replica}/v3/auth/projects");
                        c.send(Method::GET, &url, &own, None).await.is(200);
                        let body = json!({"user": {"enabled": false}});
                        let path = format!("/v3/users/{}", bob.user);
                        let began = std::time::Instant::now();
                        c.patch(&admin, &path, body).await.is(200);
                        // The second is one of a machine that is not busy with other things: a request here takes
                        // milliseconds there.
                        let limit = 1000 + 20 * began.elapsed().as_millis();
                        let since = std::time::Instant::now();
                        loop {
                            let at_replica = c.send(Method::GET, &url, &own, None).await.status;
                            let open = heard.accepts(&token).await || polling.accepts(&token).await;
                            if at_replica == 401 && !open {
                                break;
                            }
                            assert!(
                                since.elapsed().as_millis() < limit,
                                "round {round}: accepted after {limit} ms"
                            );
                            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        }
                        c.patch(&admin, &path, json!({"user": {"enabled": true}})).await.is(200);
                    }
                }
                done.store(true, std::sync::atomic::Ordering::SeqCst);
            };
            tokio::join!(load, trial);
            running.stop().await;
        },
    )
    .await;
}

async fn person_of(c: &Cloud, admin: &str, n: usize) -> Person {
    person(c, admin, &format!("person{n}")).await
}

#[tokio::test]
async fn ossa_2013_014_expired_is_expired_in_every_cache() {
    each(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        let signer = Signer::of(c);
        let bob = person(c, &admin, "bob").await;
        let mut claims = claims_of(&bob.token(c).await);
        // Accepted first, so that every cache has it; then its time comes.
        claims.exp_us = Timestamp::now().plus_millis(1500);
        claims.aud_ids = vec!["expires-while-cached-00".into()];
        let short = signer.sign(&claims);
        c.get(&short, "/v3/auth/projects").await.is(200);
        c.validate(&admin, &short).await.is(200);
        assert!(other.accepts(&short).await);
        // One that was revoked before it expired.
        claims.aud_ids = vec!["revoked-and-expired-000".into()];
        let revoked = signer.sign(&claims);
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", revoked.as_str())];
        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        refused_everywhere(c, &other, &admin, &revoked, "revoked").await;
        let left = claims.exp_us.since(Timestamp::now()).max(0).unsigned_abs();
        tokio::time::sleep(std::time::Duration::from_micros(left + 1)).await;
        assert!(!other.accepts(&short).await);
        refused_everywhere(c, &other, &admin, &short, "expired").await;
        refused_everywhere(c, &other, &admin, &revoked, "revoked and expired").await;
    })
    .await;
}

/// Whatever field of a token a rule names, the token is refused, and only tokens the rule is about are.
#[tokio::test]
async fn ossa_2013_025_ten_thousand_tokens_and_their_revocations() {
    use ferrostack_model::{AppCredRef, DomainRef, ProjectRef, TrustRef, id};
    use rand::Rng;
    once(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        let signer = Signer::of(c);
        let mut rng = rand::rng();
        let now = Timestamp::now();
        let domain = |n: u32| DomainRef { id: format!("domain{n}"), name: format!("d{n}") };
        for (seq, n) in (1_000_000..).zip(0..10_000) {
            let mut claims = TokenClaims {
                sub: id::hex(),
                name: "x".into(),
                dom: domain(rng.random_range(0..5)),
                iat_us: Timestamp(now.0 - rng.random_range(0..1_000_000)),
                exp_us: now.plus_seconds(3600),
                aud_ids: vec![format!("own-{n}")],
                methods: vec!["password".into()],
                ..Default::default()
            };
            if rng.random_bool(0.5) {
                claims.aud_ids.push(format!("chain-{n}"));
            }
            match rng.random_range(0..4) {
                0 => {
                    claims.project =
                        Some(ProjectRef { id: id::hex(), name: "p".into(), domain: domain(n % 7 + 10) });
                }
                1 => claims.domain = Some(domain(n % 5 + 20)),
                2 => claims.system = true,
                _ => {}
            }
            claims.roles = vec![format!("role{n}"), "reader".into()];
            if rng.random_bool(0.2) {
                claims.app_cred = Some(AppCredRef { id: id::hex(), ..Default::default() });
            } else if rng.random_bool(0.2) {
                claims.trust = Some(TrustRef { id: id::hex(), ..Default::default() });
            }
            // A rule by one thing that the token says.
            let mut rule = RevocationEvent {
                seq,
                issued_before: claims.iat_us,
                expires_at: claims.exp_us,
                ..Default::default()
            };
            match rng.random_range(0..7) {
                0 => rule.user_id = Some(claims.sub.clone()),
                1 if claims.project.is_some() => rule.project_id = claims.project.clone().map(|p| p.id),
                2 => rule.role = Some(format!("role{n}")),
                3 if claims.app_cred.is_some() => rule.app_cred_id = claims.app_cred.clone().map(|a| a.id),
                4 if claims.trust.is_some() => rule.trust_id = claims.trust.clone().map(|t| t.id),
                5 => rule.audit_chain_id = claims.aud_ids.last().cloned(),
                _ => rule.audit_id = claims.aud_ids.first().cloned(),
            }
            let mut set = ferrostack_model::RevocationSet::default();
            set.add(vec![rule.clone()]);
            assert!(set.refuses(&claims), "{rule:?} does not refuse {claims:?}");
            let mut later = claims.clone();
            later.iat_us = Timestamp(claims.iat_us.0 + 1);
            assert!(!set.refuses(&later), "{rule:?} refuses a token issued after it");
            // A tenth of them signed and through the verifier of the other services, which has a cache.
            if n % 10 == 0 {
                let token = signer.sign(&claims);
                assert!(other.accepts(&token).await);
                other.verifier.revoke(vec![rule.clone()]);
                assert!(!other.accepts(&token).await, "{rule:?} does not refuse {claims:?}");
            }
        }
        assert!(other.accepts(&admin).await);
    })
    .await;
}

#[tokio::test]
async fn ossa_2014_026_times_are_exact_to_the_microsecond() {
    each(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        let signer = Signer::of(c);
        let bob = person(c, &admin, "bob").await;
        let issued = c.authenticate(bob.identity.clone(), bob.scope.clone()).await.is(201);
        let (body, token) = (issued.json(), issued.token.unwrap());
        let claims = claims_of(&token);
        let shown = c.validate(&admin, &token).await.is(200).json();
        for (field, time) in [("issued_at", claims.iat_us), ("expires_at", claims.exp_us)] {
            assert_eq!(body["token"][field], time.iso_micros());
            assert_eq!(shown["token"][field], time.iso_micros());
        }
        // The rule of a disabled user as the feed tells it; tokens one microsecond on either side of it.
        for enabled in [false, true] {
            let path = format!("/v3/users/{}", bob.user);
            c.patch(&admin, &path, json!({"user": {"enabled": enabled}})).await.is(200);
        }
        let feed = c.get(&admin, "/v3/ferrostack/revocations").await.is(200).json();
        let events: Vec<RevocationEvent> = serde_json::from_value(feed["events"].clone()).unwrap();
        let rule = events.iter().rfind(|e| e.user_id.as_deref() == Some(&bob.user)).unwrap();
        assert!(rule.issued_before >= claims.iat_us);
        for (offset, status) in [(-1, 404), (0, 404), (1, 200)] {
            let mut claims = claims.clone();
            claims.iat_us = Timestamp(rule.issued_before.0 + offset);
            claims.aud_ids = vec![format!("offset{offset}")];
            let token = signer.sign(&claims);
            c.validate(&admin, &token).await.is(status);
            assert_eq!(c.get(&token, "/v3/auth/projects").await.status == 200, status == 200, "{offset}");
            eventually("the rule is known", async || other.accepts(&token).await == (status == 200)).await;
        }
        // A new login is always above the rule.
        for round in 0..10 {
            let path = format!("/v3/users/{}", bob.user);
            for enabled in [false, true] {
                c.patch(&admin, &path, json!({"user": {"enabled": enabled}})).await.is(200);
            }
            let token = bob.token(c).await;
            assert_eq!(c.get(&token, "/v3/auth/projects").await.status, 200, "round {round}");
        }
        // A domain that is disabled: of its users, domain and project scoped.
        let role = c.role(&admin, "member").await;
        let domain = claims.dom.id.clone();
        c.put(&admin, &format!("/v3/domains/{domain}/users/{}/roles/{role}", bob.user)).await.is(204);
        let by_domain = json!({"domain": {"id": domain}});
        let tokens = [
            bob.token(c).await,
            c.authenticate(bob.identity.clone(), by_domain).await.is(201).token.unwrap(),
            c.authenticate(bob.identity.clone(), json!("unscoped")).await.is(201).token.unwrap(),
        ];
        c.patch(&admin, &format!("/v3/domains/{domain}"), json!({"domain": {"enabled": false}}))
            .await
            .is(200);
        for token in &tokens {
            refused_everywhere(c, &other, &admin, token, "domain disabled").await;
        }
    })
    .await;
}

/// Clocks that differ: a token from a little ahead is taken, an expired one never.
#[tokio::test]
async fn r71_clocks_that_differ_extend_no_token() {
    once(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        let signer = Signer::of(c);
        let claims = claims_of(&admin);
        for (skew, lifetime, good) in
            [(5, 3600, true), (1, 3600, true), (-60, 3600, true), (-3600, 3599, false), (-61, 60, false)]
        {
            let mut claims = claims.clone();
            claims.iat_us = Timestamp::now().plus_seconds(skew);
            claims.exp_us = claims.iat_us.plus_seconds(lifetime);
            claims.aud_ids = vec![format!("skew{skew}")];
            let token = signer.sign(&claims);
            assert_eq!(other.accepts(&token).await, good, "{skew} s, other service");
            assert_eq!(c.get(&token, "/v3/auth/projects").await.status == 200, good, "{skew} s");
            assert_eq!(c.validate(&admin, &token).await.status == 200, good, "{skew} s, validation");
            assert_eq!(
                c.authenticate(by_token(&token), json!("unscoped")).await.status == 201,
                good,
                "{skew} s"
            );
        }
    })
    .await;
}

/// What another process has changed in the database, as one that follows a directory would.
#[tokio::test]
async fn lp_2122615_validation_reads_the_user_anew() {
    each(async |c| {
        let admin = c.admin().await;
        let bob = person(c, &admin, "bob").await;
        let token = bob.token(c).await;
        c.validate(&admin, &token).await.is(200);
        // Whoever writes counts his writes.
        let write = async |statement: String| {
            sql(c, &statement).await;
            sql(c, "UPDATE revocation_clock SET changes = changes + 1 WHERE id = 1").await;
        };
        for (enabled, good) in [(0, false), (1, true)] {
            write(format!("UPDATE account SET enabled = {enabled} WHERE id = '{}'", bob.user)).await;
            eventually("validation sees it", async || {
                (c.validate(&admin, &token).await.status == 200) == good
            })
            .await;
            assert_eq!(c.authenticate(by_token(&token), json!("unscoped")).await.status == 201, good);
            assert_eq!(c.authenticate(bob.identity.clone(), Value::Null).await.status == 201, good);
        }
        write(format!("DELETE FROM assignment WHERE actor_id = '{}'", bob.user)).await;
        eventually("validation sees it", async || c.validate(&admin, &token).await.status == 404).await;
    })
    .await;
}

/// What is stored is no boolean: nobody gets in by it.
#[tokio::test]
async fn ossa_2026_007_a_strange_enabled_is_not_enabled() {
    each(async |c| {
        let admin = c.admin().await;
        let bob = person(c, &admin, "bob").await;
        for enabled in [2, -1, i64::MAX] {
            for (table, id) in [("account", &bob.user), ("project", &bob.project)] {
                sql(c, &format!("UPDATE {table} SET enabled = {enabled} WHERE id = '{id}'")).await;
                c.authenticate(bob.identity.clone(), bob.scope.clone()).await.is(401);
                sql(c, &format!("UPDATE {table} SET enabled = 1 WHERE id = '{id}'")).await;
                let token = bob.token(c).await;
                sql(c, &format!("UPDATE {table} SET enabled = {enabled} WHERE id = '{id}'")).await;
                c.validate(&admin, &token).await.is(404);
                sql(c, &format!("UPDATE {table} SET enabled = 1 WHERE id = '{id}'")).await;
            }
        }
        // By the API only true and false are booleans.
        let path = format!("/v3/users/{}", bob.user);
        for enabled in [json!("False"), json!("True"), json!("no"), json!(0), json!(1), json!(""), json!([])]
        {
            c.patch(&admin, &path, json!({"user": {"enabled": enabled}})).await.is(400);
        }
        bob.token(c).await;
    })
    .await;
}

/// Every token of a chain names the first one, so that one rule ends them all.
#[tokio::test]
async fn ossa_2016_008_a_chain_keeps_its_first_id() {
    once(async |c| {
        let admin = c.admin().await;
        let other = Other::of(c, &admin).await;
        let bob = person(c, &admin, "bob").await;
        let first = bob.token(c).await;
        let chain_id = claims_of(&first).aud_ids[0].clone();
        let mut chain = vec![first];
        for n in 0..6 {
            let scope = if n % 2 == 0 { json!("unscoped") } else { bob.scope.clone() };
            let next = c.authenticate(by_token(chain.last().unwrap()), scope).await.is(201);
            let shown = next.json()["token"]["audit_ids"].clone();
            let token = next.token.unwrap();
            let ids = claims_of(&token).aud_ids;
            assert_eq!(shown, json!(ids));
            assert!(ids.len() == 2 && ids[1] == chain_id && ids[0] != chain_id, "{ids:?}");
            let validated = c.validate(&admin, &token).await.is(200).json();
            assert_eq!(validated["token"]["audit_ids"], json!(ids));
            chain.push(token);
        }
        let apart = bob.token(c).await;
        other.verifier.revoke(vec![RevocationEvent {
            seq: 1_000_000,
            issued_before: Timestamp::now(),
            expires_at: Timestamp::now().plus_seconds(3600),
            audit_chain_id: Some(chain_id),
            ..Default::default()
        }]);
        for token in &chain {
            assert!(!other.accepts(token).await);
        }
        assert!(other.accepts(&apart).await && other.accepts(&admin).await);
    })
    .await;
}
