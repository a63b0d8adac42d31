//! A started service, fake tokens, an identity that knows some projects, and short ways to call.

use crate::oracle_data;
use async_trait::async_trait;
use ferrostack_bus::LocalBus;
use ferrostack_db::{Db, sqlx};
use ferrostack_http::{Running, Schema, TokenVerifier};
use ferrostack_model::{
    Caller, Error, Result, Timestamp, TokenClaims,
    auth::{DomainRef, ProjectRef, Secret},
    id,
};
use ferrostack_settings::Settings;
use reqwest::{Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub const PROJECT_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const PROJECT_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// In another domain.
pub const PROJECT_C: &str = "cccccccccccccccccccccccccccccccc";
/// The microversions at which shapes are checked: where something of this crate changes, and the ends.
pub const VERSIONS: [u16; 21] =
    [1, 2, 7, 10, 11, 27, 28, 33, 35, 36, 39, 50, 53, 55, 57, 61, 75, 86, 88, 92, 96];

struct Tokens(HashMap<&'static str, Arc<Caller>>);

#[async_trait]
impl TokenVerifier for Tokens {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        self.0.get(token).cloned().ok_or_else(Error::unauthorized)
    }
    fn auth_uri(&self) -> String {
        "http://identity.example:5000/v3".into()
    }
}

/// The id of a persona's user.
pub fn user_id(persona: &str) -> String {
    format!("{:0>32}", persona.bytes().map(|b| format!("{b:02x}")).collect::<String>())
}

fn caller(name: &str, project: &str, roles: &[&str]) -> Arc<Caller> {
    let domain = DomainRef { id: "default".into(), name: "Default".into() };
    let scope = ProjectRef { id: project.into(), name: project[..1].into(), domain: domain.clone() };
    Arc::new(Caller {
        claims: TokenClaims {
            sub: user_id(name),
            name: name.into(),
            dom: domain,
            iat_us: Timestamp::now(),
            exp_us: Timestamp::now().plus_seconds(3600),
            aud_ids: vec![id::hex()],
            methods: vec!["password".into()],
            project: Some(scope),
            domain: None,
            system: false,
            roles: roles.iter().map(|r| (*r).to_owned()).collect(),
            ..Default::default()
        },
        token: Secret("x".into()),
    })
}

/// A caller whose token is for something else than a project of the default domain.
fn other_scope(name: &str, roles: &[&str], change: impl FnOnce(&mut TokenClaims)) -> Arc<Caller> {
    let mut claims = caller(name, PROJECT_A, roles).claims.clone();
    change(&mut claims);
    Arc::new(Caller { claims, token: Secret("x".into()) })
}

fn far() -> DomainRef {
    DomainRef { id: "far".into(), name: "Far".into() }
}

/// Callers for the matrix of routes: other roles, other projects, other domains, other scopes.
fn more_tokens() -> Vec<(&'static str, Arc<Caller>)> {
    let admin = &["admin", "manager", "member", "reader"][..];
    let elsewhere = |claims: &mut TokenClaims| {
        claims.dom = far();
        claims.project = Some(ProjectRef { id: PROJECT_C.into(), name: "c".into(), domain: far() });
    };
    vec![
        ("manager", caller("manager", PROJECT_A, &["manager", "member", "reader"])),
        ("reader of B", caller("readerb", PROJECT_B, &["reader"])),
        ("manager of B", caller("managerb", PROJECT_B, &["manager", "member", "reader"])),
        ("admin of B", caller("adminb", PROJECT_B, admin)),
        ("member far away", other_scope("memberc", &["member", "reader"], elsewhere)),
        ("admin far away", other_scope("adminc", admin, elsewhere)),
        ("service", caller("service", PROJECT_C, &["service"])),
        ("unscoped", other_scope("unscoped", &[], |claims| claims.project = None)),
        (
            "domain admin",
            other_scope("domainadmin", admin, |claims| {
                claims.project = None;
                claims.domain = Some(far());
            }),
        ),
        (
            "system admin",
            other_scope("systemadmin", admin, |claims| {
                claims.project = None;
                claims.system = true;
            }),
        ),
        (
            "system reader",
            other_scope("systemreader", &["reader"], |claims| {
                claims.project = None;
                claims.system = true;
            }),
        ),
    ]
}

fn tokens() -> Arc<dyn TokenVerifier> {
    let admin = &["admin", "manager", "member", "reader"][..];
    let mut tokens = HashMap::from([
        ("admin", caller("admin", PROJECT_A, admin)),
        ("manager", caller("manager", PROJECT_A, &["manager", "member", "reader"])),
        ("member", caller("member", PROJECT_A, &["member", "reader"])),
        ("reader", caller("reader", PROJECT_A, &["reader"])),
        ("nobody", caller("nobody", PROJECT_A, &[])),
        ("other", caller("other", PROJECT_B, &["member", "reader"])),
    ]);
    tokens.extend(more_tokens());
    Arc::new(Tokens(tokens))
}

/// A database for one service.
pub struct Database {
    pub url: String,
    admin: Option<(String, String)>,
}

impl Database {
    async fn postgres(admin: String) -> Self {
        let name = format!("it_compute_{}", id::hex());
        run(&admin, format!("CREATE DATABASE {name}")).await;
        let mut url = url::Url::parse(&admin).unwrap();
        url.set_path(&name);
        Self { url: url.to_string(), admin: Some((admin, name)) }
    }
    /// A fresh one on the PostgreSQL that is given.
    pub async fn test_postgres() -> Option<Self> {
        match std::env::var("FERROSTACK_TEST_POSTGRES") {
            Ok(admin) => Some(Self::postgres(admin).await),
            Err(_) => None,
        }
    }
    pub async fn drop(self) {
        if let Some((admin, name)) = self.admin {
            run(&admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

async fn run(url: &str, statement: String) {
    use sqlx::{Connection, Executor};
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
}

/// An identity service that logs everybody in and knows the two projects.
pub fn identity() -> String {
    use actix_web::{App, HttpResponse, HttpServer, web};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v3", listener.local_addr().unwrap());
    let server = HttpServer::new(|| {
        App::new()
            .route(
                "/v3/auth/tokens",
                web::post().to(|| async {
                    HttpResponse::Created().insert_header(("X-Subject-Token", "service")).json(json!({
                        "token": {"expires_at": "2099-01-01T00:00:00.000000Z", "user": {"id": "u"}}}))
                }),
            )
            .route(
                "/v3/projects/{id}",
                web::get().to(|id: web::Path<String>| async move {
                    if [PROJECT_A, PROJECT_B].contains(&id.as_str()) {
                        HttpResponse::Ok().json(json!({"project": {"id": *id}}))
                    } else {
                        HttpResponse::NotFound().json(json!({"error": {"message": "no"}}))
                    }
                }),
            )
    })
    .workers(1)
    .disable_signals()
    .listen(listener)
    .unwrap()
    .run();
    tokio::spawn(server);
    url
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Answer {
    /// The body, if the status is as wanted.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }
    /// The fault's message, if the status is as wanted.
    #[track_caller]
    pub fn fault(self, status: u16) -> String {
        let body = self.expect(status);
        let (_, fault) = body.as_object().unwrap().iter().next().unwrap();
        assert_eq!(fault["code"], status, "{body}");
        fault["message"].as_str().unwrap().to_owned()
    }
}

/// A running compute API.
pub struct Cloud {
    pub base: String,
    pub http: reqwest::Client,
    pub settings: Settings,
    /// What the service talks over.
    pub bus: Arc<LocalBus>,
    database: Database,
    running: Option<Running>,
    stop: CancellationToken,
    directory: TempDir,
}

/// Runs `test` on every database there is.
pub async fn each<F: AsyncFn(&mut Cloud)>(test: F) {
    each_with(|_| {}, test).await;
}

pub async fn each_with<F: AsyncFn(&mut Cloud)>(change: impl Fn(&mut Settings), test: F) {
    for postgres in postgres_too() {
        let mut cloud = Cloud::start(postgres, Arc::default(), &change).await;
        test(&mut cloud).await;
        cloud.end().await;
    }
}

/// The databases to test on: SQLite (`None`) and the PostgreSQL that is given.
pub fn postgres_too() -> Vec<Option<String>> {
    let mut all = vec![None];
    all.extend(std::env::var("FERROSTACK_TEST_POSTGRES").ok().map(Some));
    all
}

impl Cloud {
    pub async fn start(
        postgres: Option<String>,
        bus: Arc<LocalBus>,
        change: &impl Fn(&mut Settings),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = match postgres {
            Some(admin) => Database::postgres(admin).await,
            None => Database { url: format!("sqlite:{}/db", directory.path().display()), admin: None },
        };
        let mut settings = Settings::default();
        settings.database.url = database.url.clone();
        settings.compute.listen = "127.0.0.1:0".parse().unwrap();
        settings.credentials.auth_url = identity();
        settings.credentials.password_file = directory.path().join("password");
        std::fs::write(&settings.credentials.password_file, "secret").unwrap();
        settings.compute.default_flavors = false;
        change(&mut settings);
        let mut cloud = Self {
            base: String::new(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            settings,
            bus,
            database,
            running: None,
            stop: CancellationToken::new(),
            directory,
        };
        cloud.boot().await;
        cloud
    }

    pub async fn boot(&mut self) {
        self.stop = CancellationToken::new();
        let bus = self.bus.clone();
        let running =
            ferrostack_compute_api::start(&self.settings, bus, tokens(), self.stop.clone()).await.unwrap();
        self.base = format!("http://{}", running.address);
        self.running = Some(running);
    }

    pub async fn shut(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    pub async fn end(mut self) {
        self.shut().await;
        self.database.drop().await;
        drop(self.directory);
    }

    /// The service's tables, beside the service.
    pub async fn db(&self) -> Db {
        Db::open(&self.settings.database.url, "compute", 2, &ferrostack_compute_api::MIGRATIONS)
            .await
            .unwrap()
    }

    /// A request of a whole path with a persona's token.
    pub fn request(&self, who: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        if who.is_empty() { request } else { request.header("X-Auth-Token", who) }
    }

    /// A persona at a microversion 2.`version`.
    pub fn at<'a>(&'a self, who: &'a str, version: u16) -> Client<'a> {
        Client { cloud: self, who, version }
    }
}

/// A persona at a microversion.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    cloud: &'a Cloud,
    who: &'a str,
    pub version: u16,
}

impl Client<'_> {
    /// Calls a path below `/v2.1`. What succeeds must be an answer that Nova could have given.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let asked = method.clone();
        let mut request = self
            .cloud
            .request(self.who, method, &format!("/v2.1{path}"))
            .header("OpenStack-API-Version", format!("compute 2.{}", self.version));
        if let Some(body) = body {
            request = request.json(body);
        }
        let given = answer(request).await;
        if let Some(fault) = oracle_data::fault(&asked, path, body, self.version, &given) {
            panic!("{fault}");
        }
        given
    }
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(&body)).await
    }
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(&body)).await
    }
    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// Checks an answer's body against Nova's response schema of this microversion.
    #[track_caller]
    pub fn conforms(&self, key: &str, body: &Value) {
        conforms(key, self.version, body);
    }
}

pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
}

type Rows = HashMap<String, Vec<(u16, u16, Value)>>;

/// Nova's response schemas, by parts of the API.
const RESPONSE_FILES: &[&str] = &[
    include_str!("../schemas/resources.json"),
    include_str!("../schemas/servers.json"),
    include_str!("../schemas/migrations.json"),
    include_str!("../schemas/groups.json"),
    include_str!("../schemas/around.json"),
    include_str!("../schemas/states.json"),
];

static RESPONSES: LazyLock<Rows> = LazyLock::new(|| {
    let mut all = Rows::new();
    for text in RESPONSE_FILES {
        all.extend(serde_json::from_str::<Rows>(text).unwrap());
    }
    all
});

#[track_caller]
pub fn conforms(key: &str, version: u16, body: &Value) {
    let rows = RESPONSES.get(key).unwrap_or_else(|| panic!("no response schema {key}"));
    let row = rows.iter().find(|r| r.0 <= version && version <= r.1);
    let (_, _, schema) = row.unwrap_or_else(|| panic!("no {key} at 2.{version}"));
    let complaints = Schema::nova(schema).unwrap().complaints(body);
    assert!(complaints.is_empty(), "{key} at 2.{version}: {complaints:?}\n{body:#}");
}
