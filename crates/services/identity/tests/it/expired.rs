//! Tokens that have expired: good only for services that work on a user's behalf, for a while.

use super::support::*;
use ferrostack_client::{LocalVerifier, RevocationPage, ServiceClient};
use ferrostack_http::TokenVerifier;
use ferrostack_model::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const TTL: i64 = 2;

async fn show(c: &Cloud, method: Method, caller: &str, subject: &str, query: &str) -> u16 {
    let headers = [("x-auth-token", caller), ("x-subject-token", subject)];
    c.send(method, &format!("/v3/auth/tokens{query}"), &headers, None).await.status
}

/// A token of a service user.
async fn service(c: &Cloud) -> String {
    let password = std::fs::read_to_string(&c.settings.credentials.password_file).unwrap();
    c.token("nova", password.trim(), "service").await
}

async fn until(time: Timestamp) {
    eventually("the token expires", async || Timestamp::now() > time).await;
}

#[tokio::test]
async fn shown_to_services_that_ask_for_it() {
    each_with(
        |s| {
            s.identity.token_ttl_seconds = TTL;
            s.identity.allow_expired_window_seconds = 4;
        },
        async |c| {
            let admin = c.admin().await;
            let (_, user) = c.person(&admin, "bob", "member").await;
            let (_, other) = c.person(&admin, "carol", "member").await;
            let bob = c.token("bob", "pw", "bob-project").await;
            let revoked = c.token("bob", "pw", "bob-project").await;
            let carol = c.token("carol", "pw", "carol-project").await;
            let issued = Timestamp::now();
            let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", revoked.as_str())];
            c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);

            until(issued.plus_seconds(TTL)).await;
            let nova = service(c).await;
            for method in [Method::GET, Method::HEAD] {
                // Services may only GET (policy check_token has no service role), admins both.
                let caller = if method == Method::GET { nova.clone() } else { c.admin().await };
                assert_eq!(show(c, method.clone(), &caller, &bob, "").await, 404);
                for no in ["?allow_expired=0", "?allow_expired=", "?allow_expired=no", "?allow_expire=1"] {
                    assert_eq!(show(c, method.clone(), &caller, &bob, no).await, 404, "{no}");
                }
                for yes in ["?allow_expired=1", "?nocatalog&allow_expired=True"] {
                    assert_eq!(show(c, method.clone(), &caller, &bob, yes).await, 200, "{yes}");
                }
                // S-2013-014: expiry does not un-revoke.
                assert_eq!(show(c, method, &caller, &revoked, "?allow_expired=1").await, 404);
            }
            let shown = c
                .send(
                    Method::GET,
                    "/v3/auth/tokens?allow_expired=1",
                    &[("x-auth-token", &nova), ("x-subject-token", &bob)],
                    None,
                )
                .await
                .is(200);
            assert_eq!(shown.json()["token"]["user"]["name"], "bob");
            assert_eq!(shown.token.as_deref(), Some(bob.as_str()));
            // Not for its holder, nor for anything but showing.
            let carol_now = c.token("carol", "pw", "carol-project").await;
            assert_eq!(show(c, Method::GET, &carol_now, &bob, "?allow_expired=1").await, 403);
            assert_eq!(show(c, Method::GET, &bob, &bob, "?allow_expired=1").await, 401);
            assert_eq!(show(c, Method::DELETE, &c.admin().await, &bob, "?allow_expired=1").await, 404);
            c.authenticate(by_token(&bob), json!("unscoped")).await.is(404);
            c.get(&bob, "/v3/auth/projects?allow_expired=1").await.is(401);
            // A change after the expiry counts.
            assert_eq!(show(c, Method::GET, &nova, &carol, "?allow_expired=1").await, 200);
            c.patch(&c.admin().await, &format!("/v3/users/{other}"), json!({"user": {"enabled": false}}))
                .await
                .is(200);
            assert_eq!(show(c, Method::GET, &nova, &carol, "?allow_expired=1").await, 404);
            c.delete(&c.admin().await, &format!("/v3/users/{user}")).await.is(204);
            assert_eq!(show(c, Method::GET, &service(c).await, &bob, "?allow_expired=1").await, 404);

            // The window ends.
            let last = c.admin().await;
            until(Timestamp::now().plus_seconds(TTL + 4)).await;
            assert_eq!(show(c, Method::GET, &service(c).await, &last, "?allow_expired=1").await, 404);
        },
    )
    .await;
}

/// Image and compute verify by themselves; they learn the window from identity's feed.
#[tokio::test]
async fn services_take_them_where_a_service_vouches() {
    each_with(
        |s| {
            s.identity.token_ttl_seconds = TTL;
            s.identity.allow_expired_window_seconds = 5;
            s.tokens.feed_max_age_seconds = 3600;
        },
        async |c| {
            let stop = CancellationToken::new();
            let mut credentials = c.settings.credentials.clone();
            credentials.auth_url = format!("{}/v3", c.base);
            let client = ServiceClient::new(&credentials).unwrap();
            let verifier = LocalVerifier::start(client, &c.settings.tokens, stop.clone());
            let ready = async || verifier.verify(&c.admin().await).await.is_ok();
            eventually("the service reads identity", ready).await;
            let admin = c.admin().await;
            c.person(&admin, "bob", "member").await;
            let bob = c.token("bob", "pw", "bob-project").await;
            let revoked = c.token("bob", "pw", "bob-project").await;
            let issued = Timestamp::now();
            let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", revoked.as_str())];
            c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
            verifier.verify(&bob).await.unwrap();

            until(issued.plus_seconds(TTL)).await;
            let kind =
                |r: ferrostack_model::Result<_>| r.err().map(|e: ferrostack_model::Error| e.kind.http());
            assert_eq!(kind(verifier.verify(&bob).await), Some(401));
            assert_eq!(verifier.verify_vouched(&bob).await.unwrap().claims.name, "bob");
            let refused = async || kind(verifier.verify_vouched(&revoked).await) == Some(401);
            eventually("the revoked one is refused", refused).await;
            until(issued.plus_seconds(TTL + 5)).await;
            assert_eq!(kind(verifier.verify_vouched(&bob).await), Some(401));
            stop.cancel();
        },
    )
    .await;
}

#[tokio::test]
async fn rules_live_as_long_as_what_they_refuse() {
    each(async |c| {
        let (admin, other) = (c.admin().await, c.admin().await);
        let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", other.as_str())];
        c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await.is(204);
        let body: Value = c.get(&admin, "/v3/ferrostack/revocations?after=0").await.is(200).json();
        let page: RevocationPage = serde_json::from_value(body).unwrap();
        assert_eq!(page.allow_expired_window_seconds, 172_800);
        let life = c.settings.identity.token_ttl_seconds + page.allow_expired_window_seconds;
        assert!(page.events[0].expires_at > page.events[0].issued_before.plus_seconds(life));
    })
    .await;
}
