//! A fresh image service in a process of its own beside a fresh identity service.

use super::{
    load::{Connection, Service, request},
    stage::Stage,
};
use anyhow::{Context, Result, ensure};
use ferrostack_db::sqlx::{self, AnyConnection, Connection as _, Executor};
use serde_json::{Value, json};
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A running image service. Dropping it ends it.
pub struct ImageStage {
    child: Child,
    identity: Stage,
    /// Where it listens.
    pub address: SocketAddr,
    /// A token of the admin.
    pub token: String,
}

impl Drop for ImageStage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ImageStage {
    /// Starts the binaries in `target` on SQLite; image data below `place`.
    pub async fn start(target: &Path, place: &Path) -> Result<Self> {
        let identity = Stage::start(&target.join("ferrostack-identity"), None, 4, "image").await?;
        let path = |name: &str| identity.directory.path().join(name);
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::fs::File::create(path("image-log"))?;
        let child = Command::new(target.join("ferrostack-image"))
            .env("FERROSTACK__DATABASE__URL", format!("sqlite:{}", path("db").display()))
            .env("FERROSTACK__BUS__URL", "local:")
            .env("FERROSTACK__CREDENTIALS__AUTH_URL", format!("http://{}/v3", identity.address))
            .env("FERROSTACK__CREDENTIALS__PASSWORD_FILE", path("service-password"))
            .env("FERROSTACK__IMAGE__LISTEN", address.to_string())
            .env("FERROSTACK__IMAGE__STORE_DIRECTORY", place.join("images"))
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .context("starting ferrostack-image")?;
        let mut stage = Self { child, identity, address, token: String::new() };
        for _ in 0..600 {
            let answer =
                Connection::to(address).and_then(|mut c| c.send(&request("GET", "/healthcheck", &[], "")));
            if answer.is_ok_and(|a| a.status == 200) {
                stage.token = stage.login()?;
                return Ok(stage);
            }
            ensure!(stage.child.try_wait()?.is_none(), "the image service ended: {}", stage.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the image service does not answer: {}", stage.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.identity.directory.path().join("image-log")).unwrap_or_default()
    }

    fn login(&self) -> Result<String> {
        let domain = json!({"id": "default"});
        let body = json!({"auth": {
            "identity": {"methods": ["password"],
                "password": {"user": {"name": "admin", "domain": domain, "password": "secret"}}},
            "scope": {"project": {"name": "admin", "domain": domain}}}});
        let answer = Connection::to(self.identity.address)?.send(&request(
            "POST",
            "/v3/auth/tokens",
            &[],
            &body.to_string(),
        ))?;
        answer.token.with_context(|| format!("no token: {}", String::from_utf8_lossy(&answer.body)))
    }

    /// The process under load.
    pub fn service(&self) -> Service {
        Service { address: self.address, pid: self.child.id() }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
        let answer = Connection::to(self.address)?.send(&request(
            method,
            path,
            &[("X-Auth-Token", &self.token)],
            body,
        ))?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
    }

    /// A queued raw image; its id.
    pub fn create(&self) -> Result<String> {
        let body = json!({"name": "bench", "disk_format": "raw", "container_format": "bare"});
        let (status, image) = self.call("POST", "/v2/images", &body.to_string())?;
        ensure!(status == 201, "an image was answered {status} {image}");
        Ok(image["id"].as_str().context("an image has an id")?.to_owned())
    }

    /// The record.
    pub fn show(&self, id: &str) -> Result<Value> {
        Ok(self.call("GET", &format!("/v2/images/{id}"), "")?.1)
    }

    /// Deletes an image.
    pub fn delete(&self, id: &str) -> Result<()> {
        let (status, _) = self.call("DELETE", &format!("/v2/images/{id}"), "")?;
        ensure!(status == 204, "a deletion was answered {status}");
        Ok(())
    }

    /// Fills the table up to `count` images of the admin's project, by SQL; the id of the one `back` before the last
    /// of the list.
    pub async fn fill(&self, first: u32, count: u32) -> Result<()> {
        let place: PathBuf = self.identity.directory.path().join("db/image.sqlite");
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&format!("sqlite://{}", place.display())).await?;
        connection.execute("PRAGMA busy_timeout = 30000").await?;
        let numbers = format!(
            "WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})"
        );
        let id = "'00000000-0000-4000-8000-' || SUBSTR('000000000000' || CAST(i AS TEXT), -12)";
        // As the service itself writes one, so that columns that are added later have what they need.
        let owner = "(SELECT owner FROM image WHERE name = 'bench' LIMIT 1)";
        for statement in [
            format!(
                "INSERT INTO image (id, name, status, visibility, owner, disk_format, container_format, size, checksum, os_hash_value, min_disk, min_ram, protected, os_hidden, created_at, updated_at, generation) {numbers} SELECT {id}, 'image ' || CAST(i AS TEXT), 'active', 'private', {owner}, 'raw', 'bare', 4096, '0123456789abcdef0123456789abcdef', 'a', 0, 0, 0, 0, 1700000000000000 + i, 1700000000000000 + i, 1 FROM n"
            ),
            format!(
                "INSERT INTO image_property (image_id, name, value) {numbers} SELECT {id}, 'hw_disk_bus', 'virtio' FROM n"
            ),
            format!("INSERT INTO image_tag (image_id, tag) {numbers} SELECT {id}, 'bench' FROM n"),
            "ANALYZE".to_owned(),
        ] {
            connection
                .execute(sqlx::AssertSqlSafe(statement.clone()))
                .await
                .with_context(|| statement.clone())?;
        }
        connection.close().await?;
        Ok(())
    }
}

/// The id that [`ImageStage::fill`] gives to the `number`th.
pub fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// What a process has taken of memory, MiB: (resident now, most since the mark).
pub fn memory(pid: u32) -> Result<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| -> Option<f64> {
        let line = text.lines().find(|l| l.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|k| k / 1024.0)
    };
    Ok((of("VmRSS:").context("no VmRSS")?, of("VmHWM:").context("no VmHWM")?))
}

/// Sets the mark of [`memory`]: from now on the most counts anew.
pub fn mark_memory(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("resetting VmHWM")
}
