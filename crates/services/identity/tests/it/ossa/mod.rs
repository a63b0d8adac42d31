//! The published faults of Keystone and its kind, each tried on this service. `docs/security-identity.md` says which
//! test answers which.

mod answers;
mod down;
mod ends;
mod framing;
mod injection;
mod limits;
mod malleable;
mod process;
mod races;
mod scopes;
mod settings;
mod tls;

use super::support::*;
use ferrostack_client::{LocalVerifier, verifier};
use ferrostack_http::TokenVerifier;
use ferrostack_model::TokenClaims;
use ferrostack_settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};
use tokio_util::sync::CancellationToken;

/// Runs `test` on SQLite alone, where SQL is not what is tested.
pub async fn once<F: AsyncFn(&mut Cloud)>(test: F) {
    once_with(|_| {}, test).await;
}

/// [`once`] with changed settings.
pub async fn once_with<F: AsyncFn(&mut Cloud)>(change: impl Fn(&mut Settings), test: F) {
    let mut cloud = Cloud::start(None, &change).await;
    test(&mut cloud).await;
    cloud.end().await;
}

/// What another service verifies with.
pub struct Other {
    pub verifier: Arc<LocalVerifier>,
    stop: CancellationToken,
}

impl Other {
    /// Follows `cloud` by feed and bus; knows its keys.
    pub async fn of(cloud: &Cloud, admin: &str) -> Self {
        let mut settings = cloud.settings.clone();
        settings.credentials.auth_url = format!("{}/v3", cloud.base);
        let stop = CancellationToken::new();
        let verifier = verifier(&settings, cloud.bus.clone(), stop.clone()).await.unwrap();
        let other = Self { verifier, stop };
        // Until the feed is read it asks identity, which knows nothing of the tokens that tests make.
        let knows = async || other.verifier.is_current() && other.accepts(admin).await;
        eventually("the other service knows the keys and the feed", knows).await;
        other
    }
    pub async fn accepts(&self, token: &str) -> bool {
        self.verifier.verify(token).await.is_ok()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// `token` is refused by every path a token can take, by another service within a second.
pub async fn refused_everywhere(c: &Cloud, other: &Other, admin: &str, token: &str, why: &str) {
    let paths = ends::paths(c, admin, token).await;
    for (path, status) in paths {
        assert!(matches!(status, 401 | 404), "{why}: {path} answered {status}");
    }
    let since = std::time::Instant::now();
    while other.accepts(token).await {
        assert!(since.elapsed().as_millis() < 1000, "{why}: another service accepts it for a second");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// A PEM private key of `cloud`, with its id.
pub fn signing_key(cloud: &Cloud) -> (String, String) {
    let mut found: Vec<PathBuf> = std::fs::read_dir(&cloud.settings.identity.key_directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pem"))
        .collect();
    found.sort();
    let path = found.pop().unwrap();
    let kid = path.file_stem().unwrap().to_str().unwrap().to_owned();
    (kid, std::fs::read_to_string(path).unwrap())
}

/// Signs with a cloud's own key.
pub struct Signer {
    kid: String,
    key: jsonwebtoken::EncodingKey,
}

impl Signer {
    pub fn of(cloud: &Cloud) -> Self {
        let (kid, pem) = signing_key(cloud);
        Self { kid, key: jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes()).unwrap() }
    }
    pub fn sign(&self, claims: &TokenClaims) -> String {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        ferrostack_client::lower(jsonwebtoken::encode(&header, claims, &self.key).unwrap())
    }
}

/// What a token says.
pub fn claims_of(token: &str) -> TokenClaims {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

/// Runs a statement on the service's own database.
pub async fn sql(c: &Cloud, statement: &str) -> u64 {
    use ferrostack_db::sqlx::{self, Connection, Executor};
    let mut connection = connect(c).await;
    let done = connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.unwrap();
    connection.close().await.unwrap();
    done.rows_affected()
}

async fn connect(c: &Cloud) -> ferrostack_db::sqlx::AnyConnection {
    use ferrostack_db::sqlx::{self, AnyConnection, Connection, Executor};
    sqlx::any::install_default_drivers();
    match c.settings.database.url.strip_prefix("sqlite:") {
        Some(directory) => {
            let url = format!("sqlite://{directory}/identity.sqlite?mode=rw");
            let mut connection = AnyConnection::connect(&url).await.unwrap();
            connection.execute("PRAGMA busy_timeout = 10000").await.unwrap();
            connection
        }
        None => {
            let mut connection = AnyConnection::connect(&c.settings.database.url).await.unwrap();
            connection.execute("SET search_path TO identity").await.unwrap();
            connection
        }
    }
}

/// Every row of every table, but for what only notes that somebody was here.
pub async fn digest(c: &Cloud) -> Vec<String> {
    use ferrostack_db::sqlx::{self, Row};
    let mut connection = connect(c).await;
    let tables = if c.settings.database.url.starts_with("sqlite:") {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    } else {
        "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'identity'"
    };
    let tables: Vec<(String,)> = sqlx::query_as(tables).fetch_all(&mut connection).await.unwrap();
    let mut rows = Vec::new();
    for (table,) in tables.iter().filter(|(t,)| t != "_sqlx_migrations") {
        let text = format!("SELECT * FROM \"{table}\"");
        for row in sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(&mut connection).await.unwrap() {
            let cells: Vec<String> = (0..row.len())
                .map(|at| {
                    row.try_get::<String, _>(at)
                        .or_else(|_| row.try_get::<i64, _>(at).map(|n| n.to_string()))
                        .unwrap_or_else(|_| "NULL".into())
                })
                .collect();
            rows.push(format!("{table}: {}", cells.join("|")));
        }
    }
    rows.sort();
    rows
}

/// A path of the route table with its `{names}` filled in: the given ids, else one that does not exist.
pub fn fill(path: &str, ids: &[(&str, &str)]) -> String {
    path.split('/')
        .map(|segment| match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            Some(name) => {
                ids.iter().find(|(n, _)| *n == name).map_or("0123456789abcdef0123456789abcdef", |p| p.1)
            }
            None => segment,
        })
        .collect::<Vec<_>>()
        .join("/")
}
