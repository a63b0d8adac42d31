//! What answers look like when something is wrong, and which headers and methods count.

use super::*;
use async_trait::async_trait;
use ferrostack_bus::{Address, Bus, DeadLetter, Handler, LocalBus, Settle, Source};
use ferrostack_http::{HealthCheck, Route, ServiceSpec, Style};
use ferrostack_model::{Caller, Error, Result, message::Envelope};
use std::sync::Mutex;

/// What this process logs, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// From now on. The first in a process wins, so each test has to be alone in one, or to find nothing.
    fn begin() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let _ = tracing_subscriber::fmt()
            .with_env_filter("trace")
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .try_init();
        log
    }
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

struct Trusting;

#[async_trait]
impl ferrostack_http::TokenVerifier for Trusting {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        if token == "zq7tokencanary" {
            let claims = TokenClaims { sub: "bob".into(), ..Default::default() };
            return Ok(Arc::new(Caller { claims, token: ferrostack_model::auth::Secret(token.into()) }));
        }
        Err(Error::unauthorized())
    }
    fn auth_uri(&self) -> String {
        "http://127.0.0.1/v3".into()
    }
}

#[async_trait]
impl HealthCheck for Trusting {
    async fn check(&self) -> Vec<(&'static str, Result<()>)> {
        Vec::new()
    }
}

/// A handler that panics with what it was sent in its text.
#[tokio::test]
async fn ossa_2017_001_a_panic_is_a_plain_500() {
    use ferrostack_http::actix_web::{HttpRequest, HttpResponse, web};
    async fn burst(req: HttpRequest, body: String) -> HttpResponse {
        let token = req.headers().get("x-auth-token").unwrap().to_str().unwrap();
        panic!("cannot handle {token} with {body}");
    }
    async fn fine() -> HttpResponse {
        HttpResponse::NoContent().finish()
    }
    ferrostack_settings::init_telemetry(&ferrostack_settings::Log::default()).unwrap();
    for style in [Style::Keystone, Style::Nova, Style::Glance, Style::Neutron] {
        let path = match style {
            Style::Nova => "/v2.1/burst",
            Style::Glance => "/v2/burst",
            _ => "/v2.0/burst",
        };
        let spec = ServiceSpec {
            name: "identity",
            style,
            routes: vec![
                Route::post(path, || web::route().to(burst)),
                Route::get(path, || web::route().to(fine)),
            ],
            verifier: Arc::new(Trusting),
            policy: Arc::new(ferrostack_policy::Enforcer::new(ferrostack_identity::RULES).unwrap()),
            health: Arc::new(Trusting),
            state: Arc::new(|_| {}),
            workers: 1,
        };
        let running = ferrostack_http::serve(spec, "127.0.0.1:0".parse().unwrap()).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}{path}", running.address);
        for _ in 0..3 {
            let answer = http
                .post(&url)
                .header("x-auth-token", "zq7tokencanary")
                .header("accept", "application/json")
                .body("zq7bodycanary")
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 500);
            let id = answer.headers()["x-openstack-request-id"].to_str().unwrap().to_owned();
            assert!(id.starts_with("req-"));
            let text = answer.text().await.unwrap();
            assert!(!text.contains("zq7") && !text.contains("panic") && !text.contains(".rs"), "{text}");
            let body: Value = serde_json::from_str(&text).unwrap();
            assert!(body.is_object());
            // The worker lives.
            let fine = http.get(&url).header("x-auth-token", "zq7tokencanary").send().await.unwrap();
            assert_eq!(fine.status(), 204);
        }
        running.stop().await;
    }
}

/// A bus that fails with everything it was given in its words.
struct Broken(LocalBus);

#[async_trait]
impl Bus for Broken {
    async fn publish(&self, _: &Address, _: &Envelope) -> Result<()> {
        Err(Error::unavailable("the broker is gone"))
    }
    async fn notify(&self, _: &ferrostack_bus::Topic, _: &[Vec<u8>]) -> ferrostack_model::Result<()> {
        Ok(())
    }
    async fn consume(
        &self,
        from: Source,
        prefetch: u16,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<()> {
        self.0.consume(from, prefetch, handler, stop).await
    }
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        self.0.dead_letters(limit).await
    }
    async fn settle(&self, id: Option<&str>, how: Settle) -> Result<usize> {
        self.0.settle(id, how).await
    }
    async fn ping(&self) -> Result<()> {
        Err(Error::unavailable("the broker is gone"))
    }
}

#[tokio::test]
async fn ossa_2017_002_a_broken_bus_is_no_reason_to_talk() {
    let log = Log::begin();
    once(async |c| {
        c.pause().await;
        c.bus = Arc::new(Broken(LocalBus::new()));
        c.resume().await;
        let admin = c.admin().await;
        let (_, user) = c.person(&admin, "bob", "member").await;
        let token = c.token("bob", "pw", "bob-project").await;
        let body = json!({"user": {"password": "zq7newpassword"}});
        c.patch(&admin, &format!("/v3/users/{user}"), body).await.is(200);
        c.get(&token, "/v3/auth/projects").await.is(401);
        let text = log.text();
        assert!(text.contains("revocations not announced"), "the bus was not used");
        for secret in [&admin, &token, "zq7newpassword", "admin-password-secret"] {
            assert!(!text.contains(secret), "a secret is in the log");
        }
    })
    .await;
}

/// A bus that remembers what was sent.
struct Recorder(LocalBus, Mutex<Vec<String>>);

#[async_trait]
impl Bus for Recorder {
    async fn publish(&self, to: &Address, message: &Envelope) -> Result<()> {
        self.1.lock().unwrap().push(serde_json::to_string(message).unwrap());
        self.0.publish(to, message).await
    }
    async fn notify(&self, _: &ferrostack_bus::Topic, _: &[Vec<u8>]) -> ferrostack_model::Result<()> {
        Ok(())
    }
    async fn consume(
        &self,
        from: Source,
        prefetch: u16,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<()> {
        self.0.consume(from, prefetch, handler, stop).await
    }
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        self.0.dead_letters(limit).await
    }
    async fn settle(&self, id: Option<&str>, how: Settle) -> Result<usize> {
        self.0.settle(id, how).await
    }
    async fn ping(&self) -> Result<()> {
        self.0.ping().await
    }
}

#[tokio::test]
async fn l15_no_token_or_password_travels_by_the_bus() {
    once(async |c| {
        c.pause().await;
        let recorder = Arc::new(Recorder(LocalBus::new(), Mutex::default()));
        c.bus = recorder.clone();
        c.resume().await;
        let admin = c.admin().await;
        let mut secrets = vec![admin.clone()];
        for n in 0..5 {
            let (project, user) = c.person(&admin, &format!("bob{n}"), "member").await;
            let token = c.token(&format!("bob{n}"), "pw", &format!("bob{n}-project")).await;
            let password = format!("zq7password{n}");
            let path = format!("/v3/users/{user}");
            c.patch(&admin, &path, json!({"user": {"password": password}})).await.is(200);
            let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", token.as_str())];
            c.send(Method::DELETE, "/v3/auth/tokens", &headers, None).await;
            let role = c.role(&admin, "member").await;
            c.delete(&admin, &format!("/v3/projects/{project}/users/{user}/roles/{role}")).await.is(204);
            c.delete(&admin, &path).await.is(204);
            c.delete(&admin, &format!("/v3/projects/{project}")).await.is(204);
            secrets.extend([token, password]);
        }
        let sent = recorder.1.lock().unwrap().join("\n");
        assert!(sent.lines().count() >= 15, "{sent}");
        for secret in secrets {
            assert!(!sent.contains(&secret), "{secret} is in {sent}");
            let (_, signature) = secret.rsplit_once('.').unwrap_or(("", &secret));
            assert!(!sent.contains(signature));
        }
    })
    .await;
}

#[tokio::test]
async fn l18_nothing_is_taken_for_a_page() {
    once(async |c| {
        let admin = c.admin().await;
        let page = "<script>alert(1)</script>";
        let (_, user) = c.person(&admin, page, "member").await;
        for (method, path, body) in [
            ("GET", "/".to_owned(), None),
            ("GET", "/v3".into(), None),
            ("GET", format!("/v3/users/{user}"), None),
            ("GET", format!("/v3/users?name={page}"), None),
            ("GET", format!("/v3/users/{page}"), None),
            ("GET", format!("/v3/{page}"), None),
            ("GET", format!("/{page}"), None),
            ("PUT", "/v3/users".into(), None),
            ("POST", "/v3/users".into(), Some(json!({"user": {"name": 5, page: page}}))),
            ("POST", "/v3/users".into(), Some(json!({"user": {"name": page}}))),
            ("POST", "/v3/auth/tokens".into(), Some(json!({"auth": {"identity": {"methods": [page]}}}))),
        ] {
            for token in [admin.as_str(), "", page] {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let headers = [("x-auth-token", token), ("accept", "text/html,*/*")];
                let answer = c.send(method, &path, &headers, body.as_ref()).await;
                assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
                let kind = answer.headers.get("content-type").map(|v| v.to_str().unwrap().to_owned());
                match kind.as_deref() {
                    None => assert!(answer.text.is_empty(), "{path}: {}", answer.text),
                    Some("application/json") => {
                        answer.json();
                    }
                    // Keystone's own page, in which nothing of the request is.
                    Some("text/html; charset=utf-8") => {
                        assert_eq!(answer.status, 404, "{path}");
                        assert!(!answer.text.contains("script"), "{}", answer.text);
                    }
                    Some(other) => panic!("{path}: {other}"),
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn l08_a_strange_auth_header_is_none() {
    once(async |c| {
        let admin = c.admin().await;
        let good = admin.as_str();
        let sets: Vec<Vec<(&str, &str)>> = vec![
            vec![],
            vec![("x-auth-token", "")],
            vec![("x-auth-token", " ")],
            vec![("x-auth-token", "\t")],
            vec![("x-auth-token", good), ("x-auth-token", good)],
            vec![("x-auth-token", good), ("x-auth-token", "")],
            vec![("x-auth-token", ""), ("x-auth-token", good)],
            vec![("x-auth-token", "garbage"), ("x-auth-token", good)],
            vec![("x-auth-token", good), ("X-Auth-Token", "garbage")],
            vec![("x-service-token", good)],
            vec![("x-storage-token", good)],
            vec![("authorization", good)],
            vec![("x_auth_token", good)],
            vec![("x-identity-status", "Confirmed"), ("x-user-id", "admin"), ("x-roles", "admin")],
            vec![("x-auth-token", "garbage"), ("x-identity-status", "Confirmed"), ("x-roles", "admin")],
            vec![("openstack.context", "admin"), ("keystone.token_auth", good)],
        ];
        for route in ferrostack_identity::routes::table() {
            if route.access == ferrostack_http::Access::Public {
                continue;
            }
            let path = fill(route.path, &[]);
            let method = Method::from_bytes(route.method.as_str().as_bytes()).unwrap();
            for headers in &sets {
                let mut request = c.http.request(method.clone(), format!("{}{path}", c.base));
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let status = request.send().await.unwrap().status();
                assert_eq!(status, 401, "{method} {path} {headers:?}");
            }
        }
        // The token that is asked about.
        for headers in [
            vec![("x-subject-token", "")],
            vec![("x-subject-token", " ")],
            vec![("x-subject-token", good), ("x-subject-token", good)],
            vec![("x-subject-token", good), ("x-subject-token", "")],
        ] {
            let mut request = c.http.get(format!("{}/v3/auth/tokens", c.base)).header("x-auth-token", good);
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let status = request.send().await.unwrap().status();
            assert_eq!(status, 404, "{headers:?}");
        }
    })
    .await;
}

/// Nothing that was sent becomes a header line of its own.
#[tokio::test]
async fn l11_no_header_is_forged() {
    once(async |c| {
        let admin = c.admin().await;
        for forged in [
            "%0d%0aX-Forged:%201",
            "%0aX-Forged:%201",
            "x%0d%0a%0d%0a<p>",
            "%e5%98%8d%e5%98%8aX-Forged:1",
            "%c0%8aX",
        ] {
            for path in [
                format!("/v3/users/{forged}"),
                format!("/v3/{forged}"),
                format!("/v3/users?marker={forged}"),
                format!("/v3/regions/{forged}"),
                format!("/{forged}"),
                format!("/v3/auth/tokens?{forged}"),
            ] {
                let answer = c.get(&admin, &path).await;
                assert!(answer.status < 500, "{path}: {}", answer.status);
                assert!(!answer.headers.contains_key("x-forged"), "{path}");
                for (name, value) in &answer.headers {
                    assert!(value.as_bytes().iter().all(|b| (b' '..0x7f).contains(b)), "{path}: {name}");
                }
            }
        }
        // What is echoed is checked.
        for id in ["req-1", "req-../../x", &format!("req-{}", "a".repeat(36)), "x", &"a".repeat(8000)] {
            let headers = [("x-auth-token", admin.as_str()), ("x-openstack-request-id", id)];
            let answer = c.send(Method::GET, "/v3/users", &headers, None).await;
            let mine = answer.headers["x-openstack-request-id"].to_str().unwrap();
            assert!(mine != id && mine.len() == 40, "{mine}");
        }
    })
    .await;
}

#[tokio::test]
async fn ossn_0048_a_wrong_verb_is_405_with_allow() {
    once(async |c| {
        let admin = c.admin().await;
        let table = ferrostack_identity::routes::table();
        let mut paths: Vec<&str> = table.iter().map(|r| r.path).collect();
        paths.sort_unstable();
        paths.dedup();
        // A path whose `{name}` another fixed one could be is the fixed one's.
        for path in paths {
            let mut allowed: Vec<&str> =
                table.iter().filter(|r| r.path == path).map(|r| r.method.as_str()).collect();
            if allowed.contains(&"GET") && !allowed.contains(&"HEAD") {
                allowed.push("HEAD");
            }
            let filled = fill(path, &[]);
            for method in
                ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECTX", "PROPFIND", "get"]
            {
                if allowed.contains(&method) {
                    continue;
                }
                let answer = c.call(&admin, method, &filled, None).await;
                assert_eq!(answer.status, 405, "{method} {path}");
                let mut named: Vec<&str> = answer.headers["allow"].to_str().unwrap().split(", ").collect();
                named.sort_unstable();
                named.retain(|m| *m != "OPTIONS");
                let mut wanted = allowed.clone();
                wanted.sort_unstable();
                wanted.dedup();
                assert_eq!(named, wanted, "{method} {path}");
            }
        }
    })
    .await;
}

/// Requests without a token leave nothing behind.
#[tokio::test]
async fn l12_strangers_write_nothing() {
    each(async |c| {
        let before = digest(c).await;
        for n in 0..4 {
            for route in ferrostack_identity::routes::table() {
                let path = format!("{}?n={n}", fill(route.path, &[("user_id", &format!("stranger{n}"))]));
                let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
                    "name": format!("stranger{n}"), "domain": {"name": format!("d{n}")}, "password": "x"}}}}});
                let status = c.call(&format!("t{n}"), route.method.as_str(), &path, Some(body)).await.status;
                assert!(status < 500, "{path}: {status}");
            }
        }
        let after: Vec<String> =
            digest(c).await.into_iter().filter(|row| !before.contains(row)).collect();
        assert_eq!(after, Vec::<String>::new());
    })
    .await;
}
