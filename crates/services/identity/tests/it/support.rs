//! A started service and short ways to call it.

use ferrostack_bus::{Bus, LocalBus};
use ferrostack_db::sqlx::{self, Connection, Executor, Row};
use ferrostack_http::Running;
use ferrostack_model::id;
use ferrostack_settings::Settings;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A running identity service.
pub struct Cloud {
    pub base: String,
    pub http: reqwest::Client,
    pub settings: Settings,
    pub bus: Arc<dyn Bus>,
    _directory: TempDir,
    running: Option<Running>,
    stop: CancellationToken,
    postgres: Option<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub token: Option<String>,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text))
    }
    /// The status must be `status`.
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
    /// The status and Keystone's error text.
    pub fn says(&self, status: u16, message: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        let body = self.json();
        assert_eq!(body["error"]["code"], status);
        assert_eq!(body["error"]["message"], message);
        let title = StatusCode::from_u16(status).unwrap();
        assert_eq!(body["error"]["title"], title.canonical_reason().unwrap());
    }
}

/// Runs `test` on every database there is.
pub async fn each<F: AsyncFn(&mut Cloud)>(test: F) {
    each_with(|_| {}, test).await;
}

/// [`each`] with changed settings.
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

/// The first column of the first row of the identity service's database, as text.
async fn query(url: &str, statement: &str) -> String {
    use ferrostack_db::sqlx::{self, Connection, Executor};
    sqlx::any::install_default_drivers();
    let text = sqlx::AssertSqlSafe(statement.to_owned());
    let file = url.strip_prefix("sqlite:").map(|dir| format!("sqlite://{dir}/identity.sqlite"));
    let mut connection = sqlx::AnyConnection::connect(file.as_deref().unwrap_or(url)).await.unwrap();
    if file.is_none() {
        connection.execute("SET search_path TO identity").await.unwrap();
    }
    sqlx::query_scalar(text).fetch_one(&mut connection).await.unwrap()
}

/// Reads all tables of one service.
pub struct Digester {
    connection: sqlx::AnyConnection,
    statement: String,
}

impl Digester {
    /// What is in every table now.
    pub async fn read(&mut self) -> BTreeMap<String, String> {
        let statement = sqlx::AssertSqlSafe(self.statement.clone());
        let all = sqlx::query(statement).fetch_all(&mut self.connection).await.unwrap();
        all.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

async fn run(url: &str, statement: String) {
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
}

impl Cloud {
    pub async fn start(postgres: Option<String>, change: &impl Fn(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut settings = Settings::default();
        settings.identity.listen = "127.0.0.1:0".parse().unwrap();
        settings.identity.key_directory = path("keys");
        settings.identity.admin_password_file = Some(path("admin-password"));
        settings.identity.bcrypt_cost = 4;
        settings.identity.workers = 1;
        settings.credentials.password_file = path("service-password");
        settings.tokens.feed_poll_ms = 100;
        settings.database.url = format!("sqlite:{}", path("db").display());
        std::fs::write(path("admin-password"), "secret\n").unwrap();
        let mut created = None;
        if let Some(admin) = postgres {
            let name = format!("it_identity_{}", id::hex());
            run(&admin, format!("CREATE DATABASE {name}")).await;
            let mut url = url::Url::parse(&admin).unwrap();
            url.set_path(&name);
            settings.database.url = url.to_string();
            settings.database.max_connections = 4;
            created = Some((admin, name));
        }
        change(&mut settings);
        let mut cloud = Self {
            base: String::new(),
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            settings,
            bus: Arc::new(LocalBus::new()),
            _directory: directory,
            running: None,
            stop: CancellationToken::new(),
            postgres: created,
        };
        cloud.resume().await;
        cloud
    }

    /// Starts the service again on what is there.
    pub async fn resume(&mut self) {
        self.stop = CancellationToken::new();
        let running = ferrostack_identity::start(&self.settings, self.bus.clone(), self.stop.clone())
            .await
            .unwrap_or_else(|e| panic!("{}", e.for_log()));
        self.base = format!("http://{}", running.address);
        self.running = Some(running);
    }

    /// One more process on the same database and keys; its base URL.
    pub async fn replica(&self) -> (String, Running) {
        let running = ferrostack_identity::start(&self.settings, self.bus.clone(), self.stop.clone())
            .await
            .unwrap_or_else(|e| panic!("{}", e.for_log()));
        (format!("http://{}", running.address), running)
    }

    /// A connection to the service's tables, past the service.
    pub async fn tables(&self) -> ferrostack_db::sqlx::AnyConnection {
        use ferrostack_db::sqlx::{self, Connection, Executor};
        sqlx::any::install_default_drivers();
        let url = &self.settings.database.url;
        let sqlite = url.strip_prefix("sqlite:").map(|dir| format!("sqlite://{dir}/identity.sqlite"));
        let mut connection = sqlx::AnyConnection::connect(sqlite.as_ref().unwrap_or(url)).await.unwrap();
        if sqlite.is_none() {
            connection.execute("SET search_path TO \"identity\"").await.unwrap();
        }
        connection
    }

    /// [`Self::replica`] with a bus of its own: it hears of nothing but by the database.
    pub async fn lone_replica(&self) -> (String, Running) {
        let running =
            ferrostack_identity::start(&self.settings, Arc::new(LocalBus::new()), self.stop.clone())
                .await
                .unwrap_or_else(|e| panic!("{}", e.for_log()));
        (format!("http://{}", running.address), running)
    }

    pub async fn pause(&mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    pub async fn end(mut self) {
        self.pause().await;
        if let Some((admin, name)) = self.postgres.take() {
            run(&admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }

    /// Runs a statement on the service's database; the first column of its first row.
    pub async fn sql(&self, statement: &str) -> String {
        query(&self.settings.database.url, statement).await
    }

    /// One request with headers.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            token: response.headers().get("x-subject-token").map(|v| v.to_str().unwrap().to_owned()),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub async fn call(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.send(method, path, &[("x-auth-token", token)], body.as_ref()).await
    }
    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.call(token, "GET", path, None).await
    }
    pub async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(token, "POST", path, Some(body)).await
    }
    pub async fn patch(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(token, "PATCH", path, Some(body)).await
    }
    pub async fn put(&self, token: &str, path: &str) -> Answer {
        self.call(token, "PUT", path, None).await
    }
    pub async fn delete(&self, token: &str, path: &str) -> Answer {
        self.call(token, "DELETE", path, None).await
    }

    /// What is in every table of the service, by table.
    pub async fn digest(&self) -> BTreeMap<String, String> {
        self.digester().await.read().await
    }

    /// For many [`Self::digest`]s.
    pub async fn digester(&self) -> Digester {
        let url = match self.settings.database.url.strip_prefix("sqlite:") {
            Some(directory) => format!("sqlite://{directory}/identity.sqlite"),
            None => self.settings.database.url.clone(),
        };
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        let lite = url.starts_with("sqlite");
        let columns = if lite {
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
        } else {
            "SELECT table_name::text, 'all' FROM information_schema.tables WHERE table_schema = 'identity'"
        };
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in sqlx::query(columns).fetch_all(&mut connection).await.unwrap() {
            let column = format!("coalesce(quote(\"{}\"), '')", row.get::<String, _>(1));
            tables.entry(row.get(0)).or_default().push(column);
        }
        assert!(tables.len() > 8, "{tables:?}");
        let parts = tables.iter().map(|(name, columns)| {
            if lite {
                let row = columns.join(" || ',' || ");
                format!("SELECT '{name}', coalesce(group_concat({row}, char(10)), '') FROM \"{name}\"")
            } else {
                let row = "md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))";
                format!("SELECT '{name}', {row} FROM identity.\"{name}\" t")
            }
        });
        let statement = parts.collect::<Vec<_>>().join(" UNION ALL ");
        Digester { connection, statement }
    }

    /// `POST /v3/auth/tokens` with an identity and a scope (null: none).
    pub async fn authenticate(&self, identity: Value, scope: Value) -> Answer {
        let mut auth = json!({"identity": identity});
        if !scope.is_null() {
            auth["scope"] = scope;
        }
        self.send(Method::POST, "/v3/auth/tokens", &[], Some(&json!({"auth": auth}))).await
    }

    /// A login by name in Default.
    pub async fn login(&self, name: &str, password: &str, scope: Value) -> Answer {
        self.authenticate(by_name(name, password), scope).await
    }

    /// A token for the project named in Default.
    pub async fn token(&self, name: &str, password: &str, project: &str) -> String {
        let scope = json!({"project": {"name": project, "domain": {"id": "default"}}});
        self.login(name, password, scope).await.is(201).token.unwrap()
    }

    pub async fn admin(&self) -> String {
        self.token("admin", "secret", "admin").await
    }

    /// Shows or validates a token; the status.
    pub async fn validate(&self, token: &str, subject: &str) -> Answer {
        let headers = [("x-auth-token", token), ("x-subject-token", subject)];
        self.send(Method::GET, "/v3/auth/tokens", &headers, None).await
    }

    pub async fn make(&self, token: &str, plural: &str, body: Value) -> String {
        let singular = plural.trim_end_matches('s');
        let answer = self.post(token, &format!("/v3/{plural}"), json!({singular: body})).await.is(201);
        answer.json()[singular]["id"].as_str().unwrap().to_owned()
    }

    pub async fn role(&self, token: &str, name: &str) -> String {
        let found = self.get(token, &format!("/v3/roles?name={name}")).await.is(200).json();
        found["roles"][0]["id"].as_str().unwrap().to_owned()
    }

    /// A project with a user who has the role `role` there; (project id, user id). Password `pw`.
    pub async fn person(&self, admin: &str, name: &str, role: &str) -> (String, String) {
        let project = self.make(admin, "projects", json!({"name": format!("{name}-project")})).await;
        let user = self.make(admin, "users", json!({"name": name, "password": "pw"})).await;
        let role = self.role(admin, role).await;
        self.put(admin, &format!("/v3/projects/{project}/users/{user}/roles/{role}")).await.is(204);
        (project, user)
    }
}

pub fn by_name(name: &str, password: &str) -> Value {
    json!({"methods": ["password"],
        "password": {"user": {"name": name, "domain": {"id": "default"}, "password": password}}})
}

pub fn by_token(token: &str) -> Value {
    json!({"methods": ["token"], "token": {"id": token}})
}

pub const UNAUTHORIZED: &str = "The request you have made requires authentication.";

/// Waits until `check` holds, at most ten seconds.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if check().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}
