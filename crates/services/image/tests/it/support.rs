//! A started service, fake tokens, and short ways to call it.

use async_trait::async_trait;
use ferrostack_bus::LocalBus;
use ferrostack_http::{Running, TokenVerifier};
use ferrostack_image::task::{self, Task};
use ferrostack_model::{
    Caller, Error, Result, Timestamp, TokenClaims,
    auth::{DomainRef, ProjectRef, Secret},
    id,
};
use ferrostack_settings::Settings;
use futures_util::{StreamExt, stream};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub const PROJECT_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const PROJECT_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub const PROJECT_C: &str = "cccccccccccccccccccccccccccccccc";
pub const PROJECT_D: &str = "dddddddddddddddddddddddddddddddd";
pub const PROJECT_E: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

struct Tokens(HashMap<&'static str, Arc<Caller>>);

/// Tokens that are not good any more.
static EXPIRED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on `token` (one of `brief…`, which are a member's) is refused.
pub fn expire(token: &str) {
    EXPIRED.lock().unwrap().push(token.to_owned());
}

#[async_trait]
impl TokenVerifier for Tokens {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        if token.starts_with("brief") {
            let expired = EXPIRED.lock().unwrap().iter().any(|t| t == token);
            return if expired { Err(Error::unauthorized()) } else { self.verify("member").await };
        }
        self.0.get(token).cloned().ok_or_else(Error::unauthorized)
    }
    fn auth_uri(&self) -> String {
        "http://identity.example:5000/v3".into()
    }
}

fn caller(project: &str, roles: &[&str]) -> Arc<Caller> {
    let domain = DomainRef { id: "default".into(), name: "Default".into() };
    let scope = ProjectRef { id: project.into(), name: project[..1].into(), domain: domain.clone() };
    Arc::new(Caller {
        claims: TokenClaims {
            sub: id::hex(),
            name: "somebody".into(),
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

/// A token that is not for a project: of the system, of a domain, or of nothing.
fn elsewhere(scope: &str, roles: &[&str]) -> Arc<Caller> {
    let mut caller = Caller::clone(&caller(PROJECT_A, roles));
    caller.claims.project = None;
    caller.claims.system = scope == "system";
    caller.claims.domain = (scope == "domain").then(|| caller.claims.dom.clone());
    Arc::new(caller)
}

pub fn tokens() -> Arc<dyn TokenVerifier> {
    let admin = &["admin", "manager", "member", "reader"][..];
    Arc::new(Tokens(HashMap::from([
        ("admin", caller(PROJECT_A, admin)),
        ("member", caller(PROJECT_A, &["member", "reader"])),
        ("reader", caller(PROJECT_A, &["reader"])),
        ("nobody", caller(PROJECT_A, &[])),
        ("other", caller(PROJECT_B, &["member", "reader"])),
        ("manager", caller(PROJECT_A, &["manager", "member", "reader"])),
        ("admin elsewhere", caller(PROJECT_E, admin)),
        ("reader of B", caller(PROJECT_B, &["reader"])),
        ("member of C", caller(PROJECT_C, &["member", "reader"])),
        ("member of D", caller(PROJECT_D, &["member", "reader"])),
        ("stranger", caller(PROJECT_E, &["member", "reader"])),
        ("service", caller(PROJECT_E, &["service"])),
        ("system admin", elsewhere("system", admin)),
        ("system reader", elsewhere("system", &["reader"])),
        ("domain admin", elsewhere("domain", admin)),
        ("unscoped", elsewhere("", &[])),
    ])))
}

/// A database for one service.
pub struct Database {
    pub url: String,
    admin: Option<(String, String)>,
}

impl Database {
    async fn postgres(admin: String) -> Self {
        let name = format!("it_image_{}", id::hex());
        run(&admin, format!("CREATE DATABASE {name}")).await;
        let mut url = url::Url::parse(&admin).unwrap();
        url.set_path(&name);
        Self { url: url.to_string(), admin: Some((admin, name)) }
    }
    /// Runs a statement from outside, on PostgreSQL; `{}` in it is the database.
    pub async fn as_admin(&self, statement: &str) {
        let (admin, name) = self.admin.as_ref().expect("PostgreSQL");
        run(admin, statement.replace("{}", name)).await;
    }
    async fn drop(self) {
        if let Some((admin, name)) = self.admin {
            run(&admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

async fn run(url: &str, statement: String) {
    use ferrostack_db::sqlx::{self, Connection, Executor};
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
}

/// An upload under way.
pub struct Feed {
    pub sender: tokio::sync::mpsc::Sender<std::result::Result<Vec<u8>, std::io::Error>>,
    pub answer: tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>,
}

impl Feed {
    pub async fn send(&self, bytes: Vec<u8>) {
        self.sender.send(Ok(bytes)).await.unwrap();
    }

    /// Ends the body; the status and text of the answer.
    pub async fn end(self) -> (u16, String) {
        drop(self.sender);
        let answer = self.answer.await.unwrap().unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// A running image service.
pub struct Cloud {
    pub base: String,
    pub http: reqwest::Client,
    pub settings: Settings,
    pub store: PathBuf,
    pub database: Database,
    running: Option<Running>,
    stop: CancellationToken,
    directory: TempDir,
}

/// Runs `test` on every database there is.
pub async fn each<F: AsyncFn(&mut Cloud)>(test: F) {
    each_with(|_| {}, test).await;
}

pub async fn each_with<F: AsyncFn(&mut Cloud)>(change: impl Fn(&mut Settings), test: F) {
    let mut cloud = Cloud::start(None, &change).await;
    test(&mut cloud).await;
    cloud.end().await;
    if let Ok(admin) = std::env::var("FERROSTACK_TEST_POSTGRES") {
        let mut cloud = Cloud::start(Some(admin), &change).await;
        test(&mut cloud).await;
        cloud.end().await;
    }
}

/// Runs `test` on SQLite with all files in memory: for what is done very often.
pub async fn in_memory<F: AsyncFnOnce(&mut Cloud)>(change: impl Fn(&mut Settings), test: F) {
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let mut cloud = Cloud::start_in(directory.unwrap(), None, &change).await;
    test(&mut cloud).await;
    cloud.end().await;
}

/// How often a test does what it does: `few` times in `./test`, `all` times where FERROSTACK_TEST_WHOLE is set.
pub fn times(few: usize, all: usize) -> usize {
    if std::env::var_os("FERROSTACK_TEST_WHOLE").is_some() { all } else { few }
}

/// The same numbers in every run.
pub struct Random(pub u64);

impl Random {
    /// One below `below`.
    pub fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below
    }
}

/// `length` bytes that differ everywhere.
/// A task under way, as a request for `image` makes it.
pub fn processing(kind: &str, image: &str) -> Task {
    let now = Timestamp::now();
    Task {
        id: id::uuid(),
        image_id: image.to_owned(),
        kind: kind.to_owned(),
        status: task::PROCESSING.into(),
        owner: "p".into(),
        user_id: "u".into(),
        request_id: "req".into(),
        input: "{}".into(),
        message: String::new(),
        created_at: now,
        updated_at: now,
        expires_at: None,
    }
}

/// The record of a new image, made behind the service's back; its id.
pub async fn queued(cloud: &Cloud) -> String {
    let image = id::uuid();
    let statement = "INSERT INTO image (id, name, status, visibility, owner, disk_format, container_format, \
                     min_disk, min_ram, protected, os_hidden, created_at, updated_at, generation) \
                     VALUES ($1, 'x', 'queued', 'shared', 'p', 'raw', 'bare', 0, 0, 0, 0, 1, 1, 1)";
    cloud.sql(statement, &[&image]).await;
    image
}

pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8 ^ 0x5a).collect()
}

impl Cloud {
    async fn start(postgres: Option<String>, change: &impl Fn(&mut Settings)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), postgres, change).await
    }

    async fn start_in(directory: TempDir, postgres: Option<String>, change: &impl Fn(&mut Settings)) -> Self {
        let database = match postgres {
            Some(admin) => Database::postgres(admin).await,
            None => Database { url: format!("sqlite:{}/db", directory.path().display()), admin: None },
        };
        let store = directory.path().join("images");
        let mut settings = Settings::default();
        settings.database.url = database.url.clone();
        settings.image.listen = "127.0.0.1:0".parse().unwrap();
        settings.image.store_directory = store.clone();
        settings.image.upload_lease_seconds = 2;
        settings.image.reconcile_ms = 100;
        change(&mut settings);
        let mut cloud = Self {
            base: String::new(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            settings,
            store,
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
        let bus = Arc::new(LocalBus::new());
        let running =
            ferrostack_image::start(&self.settings, bus, tokens(), self.stop.clone()).await.unwrap();
        self.base = format!("http://{}", running.address);
        self.running = Some(running);
    }

    /// The service's tables.
    pub async fn db(&self) -> ferrostack_db::Db {
        let none = ferrostack_db::sqlx::migrate::Migrator {
            ignore_missing: true,
            ..ferrostack_db::sqlx::migrate::Migrator::DEFAULT
        };
        ferrostack_db::Db::open(&self.database.url, "image", 2, &none).await.unwrap()
    }

    pub async fn shut(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    async fn end(mut self) {
        self.shut().await;
        self.database.drop().await;
        drop(self.directory);
    }

    pub fn call(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        if token.is_empty() { request } else { request.header("X-Auth-Token", token) }
    }

    pub async fn get(&self, token: &str, path: &str) -> (StatusCode, Value) {
        answer(self.call(token, Method::GET, path)).await
    }

    pub async fn post(&self, token: &str, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.call(token, Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, token: &str, id: &str, body: Value) -> (StatusCode, Value) {
        let request = self
            .call(token, Method::PATCH, &format!("/v2/images/{id}"))
            .header("Content-Type", "application/openstack-images-v2.1-json-patch")
            .body(body.to_string());
        answer(request).await
    }

    pub async fn delete(&self, token: &str, path: &str) -> StatusCode {
        self.call(token, Method::DELETE, path).send().await.unwrap().status()
    }

    pub async fn upload(&self, token: &str, id: &str, data: Vec<u8>) -> (StatusCode, Value) {
        let request = self
            .call(token, Method::PUT, &format!("/v2/images/{id}/file"))
            .header("Content-Type", "application/octet-stream")
            .body(data);
        answer(request).await
    }

    /// A queued image of project A; `more` is merged into the body.
    pub async fn create(&self, more: Value) -> String {
        let mut body = json!({"name": "im", "disk_format": "raw", "container_format": "bare"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, image) = self.post("admin", "/v2/images", body).await;
        assert_eq!(status, 201, "{image}");
        image["id"].as_str().unwrap().to_owned()
    }

    pub async fn show(&self, id: &str) -> Value {
        let (status, image) = self.get("admin", &format!("/v2/images/{id}")).await;
        assert_eq!(status, 200, "{image}");
        image
    }

    /// Runs a statement on the service's database.
    pub async fn sql(&self, statement: &'static str, values: &[&str]) -> u64 {
        use ferrostack_db::sqlx::{self, Connection};
        let url = match self.settings.database.url.strip_prefix("sqlite:") {
            Some(directory) => format!("sqlite://{directory}/image.sqlite"),
            None => self.settings.database.url.clone(),
        };
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        if !url.starts_with("sqlite") {
            sqlx::query("SET search_path TO image").execute(&mut connection).await.unwrap();
        }
        let mut query = sqlx::query(statement);
        for value in values {
            query = query.bind((*value).to_owned());
        }
        query.execute(&mut connection).await.unwrap().rows_affected()
    }

    /// The service once more without its server, on the same tables and stores: for what HTTP is too slow for.
    pub async fn app(&self) -> Arc<ferrostack_image::app::App> {
        ferrostack_image::open(&self.settings, Arc::new(LocalBus::new())).await.unwrap()
    }

    /// An upload that takes what is sent to it, and ends when the sender is dropped.
    pub fn feed(&self, token: &str, id: &str, headers: &[(&str, &str)]) -> Feed {
        let (sender, receiver) =
            tokio::sync::mpsc::channel::<std::result::Result<Vec<u8>, std::io::Error>>(1);
        let body = stream::unfold(receiver, |mut r| async move { r.recv().await.map(|item| (item, r)) });
        let mut request = self
            .call(token, Method::PUT, &format!("/v2/images/{id}/file"))
            .header("Content-Type", "application/octet-stream")
            .body(reqwest::Body::wrap_stream(body.boxed()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Feed { sender, answer: tokio::spawn(request.send()) }
    }

    /// Names of everything in the store directory.
    pub fn stored(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.store).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Starts the service with these settings.
pub async fn start(settings: &Settings) -> Result<Running> {
    ferrostack_image::start(settings, Arc::new(LocalBus::new()), tokens(), CancellationToken::new()).await
}

/// The service in a process of its own, with the settings of `IT_IMAGE_SETTINGS`; says where it listens.
pub async fn serve_forever() {
    let settings: Settings = match std::env::var("IT_IMAGE_SETTINGS") {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => return,
    };
    let bus = Arc::new(LocalBus::new());
    let running = ferrostack_image::start(&settings, bus, tokens(), CancellationToken::new()).await.unwrap();
    println!("LISTENS http://{}", running.address);
    running.wait().await.unwrap();
}

async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.header("Accept", "application/json").send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Waits until `holds` does, for 20 seconds at most.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
