//! Token keys change while tokens are issued and verified everywhere.

use super::support::*;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ferrostack_client::{LocalVerifier, ServiceClient};
use ferrostack_http::TokenVerifier;
use ferrostack_identity::token_keys::{self, KeyState};
use reqwest::Method;
use serde_json::json;
use std::{
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// A service's verifier that asks `base`.
fn verifier(c: &Cloud, base: &str, stop: &CancellationToken) -> Arc<LocalVerifier> {
    let mut credentials = c.settings.credentials.clone();
    credentials.auth_url = format!("{base}/v3");
    LocalVerifier::start(ServiceClient::new(&credentials).unwrap(), &c.settings.tokens, stop.clone())
}

/// R70, G16: three identity processes, two services, a new key every 200 ms that signs at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_false_401_while_keys_rotate() {
    rotate_under_load(0, Duration::from_millis(200), Duration::from_secs(4)).await;
}

/// The same with keys that mature first, as in a real cloud, while somebody asks for keys that do not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_false_401_while_keys_rotate_and_mature() {
    rotate_under_load(1, Duration::from_millis(400), Duration::from_secs(4)).await;
}

async fn rotate_under_load(mature_after: i64, every: Duration, during: Duration) {
    each_with(
        |s| s.identity.key_maturity_seconds = mature_after,
        async |c| {
            let (second, running) = c.replica().await;
            let (third, running3) = c.replica().await;
            let stop = CancellationToken::new();
            let services = [verifier(c, &c.base, &stop), verifier(c, &second, &stop)];
            let admin = c.admin().await;
            for service in &services {
                eventually("the service reads identity", async || service.verify(&admin).await.is_ok()).await;
            }
            let bases = [c.base.clone(), second.clone(), third.clone()];
            let (checks, keys_seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let done = AtomicBool::new(false);
            let issued = Mutex::new(vec![admin.clone()]);
            let work = async |n: usize| {
                let mut kids = std::collections::BTreeSet::new();
                let mut last = String::new();
                while !done.load(Ordering::Relaxed) {
                    // Issued here, verified by every process and every service at once.
                    let url = format!("{}/v3/auth/tokens", bases[n % bases.len()]);
                    let identity = if last.is_empty() { by_name("admin", "secret") } else { by_token(&last) };
                    let scope = json!({"project": {"name": "admin", "domain": {"id": "default"}}});
                    let body = json!({"auth": {"identity": identity, "scope": scope}});
                    let token = c.send(Method::POST, &url, &[], Some(&body)).await.is(201).token.unwrap();
                    kids.insert(token.split('.').next().unwrap().to_owned());
                    issued.lock().unwrap().push(token.clone());
                    for service in &services {
                        service.verify(&token).await.unwrap_or_else(|e| panic!("{}", e.for_log()));
                    }
                    for base in &bases {
                        let url = format!("{base}/v3/auth/tokens?nocatalog");
                        let headers = [("x-auth-token", token.as_str()), ("x-subject-token", admin.as_str())];
                        c.send(Method::GET, &url, &headers, None).await.is(200);
                    }
                    checks.fetch_add(services.len() + bases.len(), Ordering::Relaxed);
                    last = token;
                }
                keys_seen.fetch_max(kids.len(), Ordering::Relaxed);
            };
            let rotations = async {
                let end = Instant::now() + during;
                let mut count = 0;
                while Instant::now() < end {
                    token_keys::rotate(&c.settings.identity).unwrap();
                    assert!(token_keys::prune(&c.settings.identity).unwrap().is_empty());
                    count += 1;
                    tokio::time::sleep(every).await;
                }
                done.store(true, Ordering::Relaxed);
                count
            };
            let forger = async {
                // Tokens of unknown keys use up the questions for keys; nobody else must suffer from it.
                while mature_after > 0 && !done.load(Ordering::Relaxed) {
                    let header = json!({"alg": "ES256", "typ": "JWT", "kid": ferrostack_model::id::hex()});
                    let forged =
                        format!("{}.e30.{}", URL_SAFE_NO_PAD.encode(header.to_string()), "A".repeat(86));
                    tokio::task::yield_now().await;
                    for service in &services {
                        assert_eq!(service.verify(&forged).await.err().map(|e| e.kind.http()), Some(401));
                    }
                }
            };
            let (count, ..) = tokio::join!(rotations, work(0), work(1), work(2), forger);
            let (checks, seen) = (checks.load(Ordering::Relaxed), keys_seen.load(Ordering::Relaxed));
            eprintln!("{count} rotations, {checks} verifications, tokens of {seen} keys");
            assert!(count > 5 && checks > 100 && seen > 3, "{count} {checks} {seen}");
            // Tokens of every key are still good everywhere.
            let issued = issued.into_inner().unwrap();
            for token in issued.iter().step_by(1 + issued.len() / 50) {
                for base in &bases {
                    let url = format!("{base}/v3/auth/tokens?nocatalog");
                    let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
                    c.send(Method::GET, &url, &headers, None).await.is(200);
                }
            }
            for n in 0..5_000 {
                for service in &services {
                    service.verify(&issued[n % issued.len()]).await.unwrap();
                }
            }
            stop.cancel();
            running.stop().await;
            running3.stop().await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_new_key_is_published_at_once_and_a_lost_one_refused_at_once() {
    each(async |c| {
        let stop = CancellationToken::new();
        let service = verifier(c, &c.base, &stop);
        let settings = c.settings.identity.clone();
        let admin = c.admin().await;
        eventually("the service reads identity", async || service.verify(&admin).await.is_ok()).await;
        let first = token_keys::list(&settings).unwrap()[0].id.clone();
        let second = token_keys::rotate(&settings).unwrap();
        let published = async |id: &str| {
            let keys = c.get("", "/v3/ferrostack/token-keys").await.is(200).json();
            keys["keys"].as_array().unwrap().iter().any(|k| k["kid"] == id)
        };
        assert!(published(&first).await);
        eventually("the new key is published", async || published(&second).await).await;
        let states: Vec<KeyState> = token_keys::list(&settings).unwrap().iter().map(|k| k.state).collect();
        assert_eq!(states[0], KeyState::Signing);
        assert!(matches!(states[1], KeyState::Waiting(_)));
        // The operator takes a stolen key away: its tokens are refused, in caches too.
        std::fs::remove_file(settings.key_directory.join(format!("{first}.pem"))).unwrap();
        eventually("its tokens are refused by identity", async || {
            c.get(&admin, "/v3/users").await.status == 401
        })
        .await;
        eventually("its tokens are refused by a service", async || service.verify(&admin).await.is_err())
            .await;
        let again = c.admin().await;
        c.get(&again, "/v3/users").await.is(200);
        eventually("new ones are good", async || service.verify(&again).await.is_ok()).await;
        stop.cancel();
    })
    .await;
}

#[tokio::test]
async fn ossa_2013_010_identity_does_not_start_on_keys_that_others_can_exchange() {
    let mut cloud = Cloud::start(None, &|_| {}).await;
    let directory = cloud.settings.identity.key_directory.clone();
    cloud.pause().await;
    let start = async |settings: &ferrostack_settings::Settings| {
        ferrostack_identity::start(settings, cloud.bus.clone(), CancellationToken::new()).await
    };
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = start(&cloud.settings).await.err().unwrap();
    assert!(error.for_log().to_string().contains("lets others write"), "{}", error.for_log());
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut linked = cloud.settings.clone();
    linked.identity.key_directory = directory.with_file_name("link");
    std::os::unix::fs::symlink(&directory, &linked.identity.key_directory).unwrap();
    let error = start(&linked).await.err().unwrap();
    assert!(error.for_log().to_string().contains("symbolic link"), "{}", error.for_log());
    start(&cloud.settings).await.unwrap().stop().await;
    cloud.end().await;
}
