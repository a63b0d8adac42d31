//! A fresh identity service in a process of its own, and its database to fill.

use super::load::{Connection, Service, request};
use anyhow::{Context, Result, ensure};
use ferrostack_db::sqlx::{self, AnyConnection, Connection as _, Executor};
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A running service. Dropping it ends it.
pub struct Stage {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its files.
    pub directory: tempfile::TempDir,
    connection_url: String,
    /// Admin URL and name of the database to drop.
    postgres: Option<(String, String)>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn execute(url: &str, statements: &[String]) -> Result<()> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await?;
    for statement in statements {
        connection
            .execute(sqlx::AssertSqlSafe(statement.clone()))
            .await
            .with_context(|| statement.clone())?;
    }
    connection.close().await?;
    Ok(())
}

impl Stage {
    /// Starts `binary` on SQLite, or on a new database of the PostgreSQL at `admin`.
    pub async fn start(binary: &PathBuf, admin: Option<&str>, cost: u32, name: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("db"))?;
        std::fs::write(path("admin-password"), "secret\n")?;
        let mut database = format!("sqlite:{}", path("db").display());
        let mut connection_url = format!("sqlite://{}/identity.sqlite", path("db").display());
        let mut postgres = None;
        if let Some(admin) = admin {
            let (base, _) = admin.rsplit_once('/').context("the PostgreSQL URL names no database")?;
            let name = format!("bench_{name}_{}", std::process::id());
            execute(admin, &[format!("CREATE DATABASE {name}")]).await?;
            database = format!("{base}/{name}");
            connection_url.clone_from(&database);
            postgres = Some((admin.to_owned(), name));
        }
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::fs::File::create(path("log"))?;
        let child = Command::new(binary)
            .env("FERROSTACK__DATABASE__URL", &database)
            .env("FERROSTACK__BUS__URL", "local:")
            .env("FERROSTACK__IDENTITY__LISTEN", address.to_string())
            .env("FERROSTACK__IDENTITY__KEY_DIRECTORY", path("keys"))
            .env("FERROSTACK__IDENTITY__ADMIN_PASSWORD_FILE", path("admin-password"))
            .env("FERROSTACK__IDENTITY__BCRYPT_COST", cost.to_string())
            .env("FERROSTACK__CREDENTIALS__PASSWORD_FILE", path("service-password"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut stage = Self { child, address, directory, connection_url, postgres };
        for _ in 0..600 {
            let answer = Connection::to(address).and_then(|mut c| c.send(&request("GET", "/v3", &[], "")));
            if answer.is_ok_and(|a| a.status == 200) {
                return Ok(stage);
            }
            ensure!(stage.child.try_wait()?.is_none(), "the service ended: {}", stage.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the service does not answer: {}", stage.log())
    }

    /// The process under load.
    pub fn service(&self) -> Service {
        Service { address: self.address, pid: self.child.id() }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Runs statements on the service's database.
    pub async fn execute(&self, mut statements: Vec<String>) -> Result<()> {
        if self.postgres.is_some() {
            statements.insert(0, "SET search_path TO identity".into());
        } else {
            statements.insert(0, "PRAGMA busy_timeout = 30000".into());
        }
        execute(&self.connection_url, &statements).await
    }

    /// Ends the service and drops its database.
    pub async fn end(mut self) -> Result<()> {
        let postgres = self.postgres.take();
        drop(self);
        if let Some((admin, name)) = postgres {
            execute(&admin, &[format!("DROP DATABASE {name} WITH (FORCE)")]).await?;
        }
        Ok(())
    }
}

/// The 32 characters that `letter` and `number` (an SQL expression) make; as [`id`] does.
fn sql_id(letter: char, number: &str) -> String {
    let zeros = "0".repeat(31);
    format!(
        "'{letter}' || SUBSTR('{zeros}' || CAST({number} AS TEXT), LENGTH(CAST({number} AS TEXT)) + 1, 31)"
    )
}

/// The id of the `number`th user (`a`) or project (`b`).
pub fn id(letter: char, number: u32) -> String {
    format!("{letter}{number:031}")
}

/// `count` users `u1…` with the admin's password and projects `p1…`, each user a member of the project of its number.
pub fn people(count: u32) -> Vec<String> {
    let (user, project) = (sql_id('a', "i"), sql_id('b', "i"));
    let numbers =
        format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})");
    vec![
        format!(
            "INSERT INTO project (id, name, domain_id, parent_id, is_domain, description, enabled, options, extra, created_at, generation) {numbers} SELECT {project}, 'p' || CAST(i AS TEXT), 'default', 'default', 0, '', 1, '{{}}', '{{}}', 1700000000000000 + i, 1 FROM n"
        ),
        format!(
            "INSERT INTO account (id, name, domain_id, default_project_id, enabled, password_hash, options, extra, created_at, generation) {numbers} SELECT {user}, 'u' || CAST(i AS TEXT), 'default', '', 1, (SELECT password_hash FROM account WHERE domain_id = 'default' AND name = 'admin'), '{{}}', '{{}}', 1700000000000000 + i, 1 FROM n"
        ),
        format!(
            "INSERT INTO assignment (actor_kind, actor_id, target_kind, target_id, role_id, inherited) {numbers} SELECT 'user', {user}, 'project', {project}, (SELECT id FROM role WHERE domain_id = '' AND name = 'member'), 0 FROM n"
        ),
        "ANALYZE".into(),
    ]
}

/// `count` rules of one user, each about another token.
pub fn rules(count: u32) -> Vec<String> {
    let user = id('a', 1);
    vec![
        format!(
            "INSERT INTO revocation (seq, issued_before, expires_at, rule) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT (SELECT seq FROM revocation_clock) + i, 1, 9000000000000000, '{{\"seq\":' || CAST((SELECT seq FROM revocation_clock) + i AS TEXT) || ',\"issued_before\":1,\"expires_at\":9000000000000000,\"user_id\":\"{user}\",\"audit_id\":\"t' || CAST(i AS TEXT) || '\"}}' FROM n"
        ),
        format!("UPDATE revocation_clock SET seq = seq + {count}, changes = changes + 1 WHERE id = 1"),
    ]
}
