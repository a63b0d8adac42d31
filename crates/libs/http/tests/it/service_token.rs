//! X-Service-Token: a service that works on a user's behalf, with a token that expired meanwhile.

use async_trait::async_trait;
use ferrostack_http::{
    ApiResult, Ctx, HealthCheck, Route, Running, ServiceSpec, Style, TokenVerifier, actix_web::web, json,
    serve,
};
use ferrostack_model::{Caller, Error, Result, TokenClaims, auth::Secret};
use ferrostack_policy::Enforcer;
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::{Arc, Mutex},
};
use tracing_subscriber::fmt::MakeWriter;

/// Tokens are `STATE USER ROLE…`; an `expired` one is good only where a service vouches.
struct Tokens;

impl Tokens {
    fn read(token: &str, vouched: bool) -> Result<Arc<Caller>> {
        let mut words = token.split(' ');
        match words.next() {
            Some("valid") => {}
            Some("expired") if vouched => {}
            Some("unknown") => return Err(Error::unavailable("identity is away")),
            _ => return Err(Error::unauthorized()),
        }
        let mut claims = bare();
        claims.sub = words.next().unwrap_or_default().into();
        claims.roles = words.map(Into::into).collect();
        Ok(Arc::new(Caller { claims, token: Secret(token.into()) }))
    }
}

fn bare() -> TokenClaims {
    serde_json::from_value(json!({
        "sub": "", "name": "", "dom": {"id": "", "name": ""}, "iat_us": 0, "exp_us": 0, "aud_ids": [], "methods": [],
    }))
    .unwrap()
}

#[async_trait]
impl TokenVerifier for Tokens {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        Self::read(token, false)
    }
    async fn verify_vouched(&self, token: &str) -> Result<Arc<Caller>> {
        Self::read(token, true)
    }
    fn auth_uri(&self) -> String {
        "http://identity/v3".into()
    }
}

struct Healthy;

#[async_trait]
impl HealthCheck for Healthy {
    async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        vec![]
    }
}

async fn who(ctx: Ctx) -> ApiResult {
    let caller = ctx.caller().ok();
    json(&json!({"user": caller.map(|c| c.user_id()), "roles": caller.map(|c| &c.claims.roles)}))
}

fn start(style: Style, path: &'static str, open: &'static str) -> Running {
    let routes =
        vec![Route::get(path, || web::route().to(who)), Route::get(open, || web::route().to(who)).public()];
    let spec = ServiceSpec {
        name: "test",
        style,
        routes,
        verifier: Arc::new(Tokens),
        policy: Arc::new(Enforcer::new(&[]).unwrap()),
        health: Arc::new(Healthy),
        state: Arc::new(|_| {}),
        workers: 1,
    };
    serve(spec, "127.0.0.1:0".parse().unwrap()).unwrap()
}

async fn ask(url: &str, user: Option<&str>, service: Option<&str>) -> (u16, Value) {
    let mut request = reqwest::Client::builder().no_proxy().build().unwrap().get(url);
    for (name, value) in [("X-Auth-Token", user), ("x-service-token", service)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    // What middleware of another kind would have written for its application counts for nothing.
    request = request.header("X-Service-Roles", "service").header("X-Service-Identity-Status", "Confirmed");
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_service_vouches_for_an_expired_token_and_gives_nothing_else() {
    // Compute, image, network and identity.
    for (style, path, open) in [
        (Style::Nova, "/v2.1/servers", "/v2.1/"),
        (Style::Glance, "/v2/images", "/open"),
        (Style::Neutron, "/v2.0/networks", "/open"),
        (Style::Keystone, "/v3/users", "/open"),
    ] {
        let running = start(style, path, open);
        let url = format!("http://{}{path}", running.address);
        let (user, service) = (Some("valid bob reader"), Some("valid nova service admin"));
        let bob = json!({"user": "bob", "roles": ["reader"]});
        assert_eq!(ask(&url, user, None).await, (200, bob.clone()));
        assert_eq!(ask(&url, user, service).await, (200, bob.clone()), "{style:?}: the user's roles only");
        let expired = Some("expired bob reader");
        assert_eq!(ask(&url, expired, None).await.0, 401);
        assert_eq!(ask(&url, expired, service).await, (200, bob));
        // A token that is no service's, or a bad one, spoils the request.
        assert_eq!(ask(&url, expired, Some("valid eve admin")).await.0, 401);
        assert_eq!(ask(&url, expired, Some("")).await.0, 401);
        assert_eq!(ask(&url, user, Some("")).await.0, 200);
        assert_eq!(ask(&url, user, Some("valid eve admin")).await.0, 401);
        for bad in ["expired nova service", "forged nova service"] {
            assert_eq!(ask(&url, user, Some(bad)).await.0, 401, "{style:?} {bad}");
            assert_eq!(ask(&url, expired, Some(bad)).await.0, 401, "{style:?} {bad}");
        }
        assert_eq!(ask(&url, user, Some("unknown nova service")).await.0, 503);
        assert_eq!(ask(&url, Some("forged bob"), service).await.0, 401);
        assert_eq!(ask(&url, None, service).await.0, 401, "{style:?}: a service is nobody by itself");
        // Open routes stay open.
        let url = format!("http://{}{open}", running.address);
        assert_eq!(ask(&url, expired, Some("forged")).await.0, 200);
        assert_eq!(ask(&url, None, service).await.1["user"], Value::Null);
        running.stop().await;
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A token in a path or a header is in no log line, whatever the answer.
#[tokio::test]
async fn ossn_0023_no_token_in_the_log() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let running = start(Style::Keystone, "/v2.0/tokens/{token_id}", "/open");
    let canary = format!("eyJcanary{}", "Z".repeat(300));
    for path in [
        format!("/v2.0/tokens/{canary}"),
        format!("/v2.0//tokens/{canary}/endpoints"),
        format!("/x/{canary}"),
    ] {
        for token in ["valid bob", "forged canary"] {
            ask(&format!("http://{}{path}", running.address), Some(token), Some("forged canary")).await;
        }
    }
    running.stop().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/v2.0/tokens/***"), "{text}");
    let access: Vec<&str> = text.lines().filter(|l| l.contains("canary")).collect();
    assert!(access.is_empty(), "{access:?}");
}
