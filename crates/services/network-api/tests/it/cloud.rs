//! A started service with a table of tokens.

use async_trait::async_trait;
use ferrostack_bus::LocalBus;
use ferrostack_db::sqlx::{self, Connection};
use ferrostack_http::{Running, TokenVerifier};
use ferrostack_model::{Caller, DomainRef, Error, ProjectRef, Result, Timestamp, TokenClaims, auth::Secret};
use ferrostack_settings::Settings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Token, project id and roles. The token is also the user's id.
pub const TOKENS: &[(&str, &str, &[&str])] = &[
    ("admin", "p-admin", &["admin", "manager", "member", "reader"]),
    ("alice", "p-alice", &["member", "reader"]),
    ("manager", "p-alice", &["manager", "member", "reader"]),
    ("reader", "p-alice", &["reader"]),
    ("bob", "p-bob", &["member", "reader"]),
    ("service", "p-service", &["service"]),
    ("unscoped", "", &[]),
];

/// Verifies by [`TOKENS`].
pub struct Table;

#[async_trait]
impl TokenVerifier for Table {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        let (name, project, roles) =
            TOKENS.iter().find(|(name, ..)| *name == token).ok_or_else(Error::unauthorized)?;
        let dom = DomainRef { id: "default".into(), name: "Default".into() };
        let project = (!project.is_empty()).then(|| ProjectRef {
            id: (*project).into(),
            name: (*project).into(),
            domain: dom.clone(),
        });
        let claims = TokenClaims {
            sub: (*name).into(),
            name: (*name).into(),
            dom,
            iat_us: Timestamp::now(),
            exp_us: Timestamp::now().plus_seconds(600),
            aud_ids: vec![],
            methods: vec!["password".into()],
            project,
            domain: None,
            system: false,
            roles: roles.iter().map(|r| (*r).to_owned()).collect(),
            ..Default::default()
        };
        Ok(Arc::new(Caller { claims, token: Secret(token.into()) }))
    }
    fn auth_uri(&self) -> String {
        "http://127.0.0.1:5000/v3".into()
    }
}

/// Where the tables are; they go with it.
pub enum Store {
    Sqlite(TempDir),
    Postgres { admin: String, name: String },
}

impl Store {
    pub fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    /// A new database; `None` where there is no PostgreSQL to test with.
    pub async fn postgres() -> Option<Self> {
        let admin = std::env::var("FERROSTACK_TEST_POSTGRES").ok()?;
        let name = format!("network_{}", ferrostack_model::id::hex());
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&admin).await.unwrap();
        let sql = format!("CREATE DATABASE {name}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        Some(Self::Postgres { admin, name })
    }

    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(dir) => format!("sqlite:{}", dir.path().display()),
            Self::Postgres { admin, name } => {
                let mut url = url::Url::parse(admin).unwrap();
                url.set_path(name);
                url.into()
            }
        }
    }

    pub async fn drop(self) {
        if let Self::Postgres { admin, name } = self {
            let mut connection = sqlx::AnyConnection::connect(&admin).await.unwrap();
            let sql = format!("DROP DATABASE {name} WITH (FORCE)");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
    }
}

/// A running service.
pub struct Cloud {
    pub base: String,
    http: reqwest::Client,
    running: Running,
    stop: CancellationToken,
}

/// An answer: status and body.
pub type Answer = (u16, Value);

impl Cloud {
    pub async fn start(store: &Store) -> Self {
        Self::start_with(store, |_| {}).await
    }

    pub async fn start_with(store: &Store, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.database.url = store.url();
        settings.network.listen = "127.0.0.1:0".parse().unwrap();
        settings.network.workers = 2;
        settings.credentials.auth_url = "http://127.0.0.1:1/v3".into();
        change(&mut settings);
        let stop = CancellationToken::new();
        let running = ferrostack_network_api::start(
            &settings,
            Arc::new(LocalBus::new()),
            Arc::new(Table),
            stop.clone(),
        )
        .await
        .map_err(|e| e.for_log())
        .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: format!("http://{}", running.address), http, running, stop }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.running.stop().await;
    }

    pub fn request(&self, token: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.http.request(method, url).header("X-Auth-Token", token)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let status = response.status();
        assert!(!status.is_server_error(), "{status} {:?}", response.text().await);
        let text = response.text().await.unwrap();
        if status == StatusCode::NO_CONTENT {
            assert_eq!(text, "");
        }
        (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(self.request(token, Method::GET, path)).await
    }
    pub async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.send(self.request(token, Method::POST, path).json(&body)).await
    }
    pub async fn put(&self, token: &str, path: &str, body: Value) -> Answer {
        self.send(self.request(token, Method::PUT, path).json(&body)).await
    }
    pub async fn delete(&self, token: &str, path: &str) -> Answer {
        self.send(self.request(token, Method::DELETE, path)).await
    }

    /// Creates a network; its id.
    pub async fn network(&self, token: &str, name: &str) -> String {
        let (status, body) = self.post(token, "/v2.0/networks", json!({"network": {"name": name}})).await;
        assert_eq!(status, 201, "{body}");
        body["network"]["id"].as_str().unwrap().to_owned()
    }

    /// Creates an IPv4 subnet; its id.
    pub async fn subnet(&self, token: &str, network: &str, cidr: &str) -> String {
        let body = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": cidr}});
        let (status, body) = self.post(token, "/v2.0/subnets", body).await;
        assert_eq!(status, 201, "{body}");
        body["subnet"]["id"].as_str().unwrap().to_owned()
    }

    /// Tries to create a port.
    pub async fn port(&self, token: &str, network: &str, more: Value) -> Answer {
        let mut port = json!({"network_id": network});
        port.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post(token, "/v2.0/ports", json!({"port": port})).await
    }

    /// The bootstrapped network's id.
    pub async fn private(&self) -> String {
        let (_, body) = self.get("admin", "/v2.0/networks?name=private").await;
        body["networks"][0]["id"].as_str().unwrap().to_owned()
    }
}

/// The type in an error body.
pub fn error_type(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.1["NeutronError"]["type"].as_str().unwrap_or("?"))
}

/// The only address of a port.
pub fn ip(body: &Value) -> String {
    body["port"]["fixed_ips"][0]["ip_address"].as_str().unwrap_or("none").to_owned()
}

/// Makes a test of `async fn NAME(store: &Store)` for each database.
#[macro_export]
macro_rules! both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let store = $crate::cloud::Store::sqlite();
                super::$name(&store).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let Some(store) = $crate::cloud::Store::postgres().await else { return };
                super::$name(&store).await;
                store.drop().await;
            })*
        }
    };
}
