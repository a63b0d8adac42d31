//! `cargo xtask bench identity`: logins, re-scopes, validations, lists, local verification.

use super::{
    load::{self, Connection, Figure, request},
    stage::{self, Stage, id},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Requests in flight.
const AT_ONCE: usize = 8;
/// bcrypt's cost of the measured logins.
const COST: u32 = 12;
/// Users whose tokens are validated.
const TOKENS: u32 = 40;
/// Revocation rules of one user in the last part.
const RULES: u32 = 100_000;

/// Measures the identity service on SQLite and, where FERROSTACK_TEST_POSTGRES names an admin, on PostgreSQL.
#[derive(Debug, clap::Args)]
pub struct Identity {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Numbers of users and projects
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    users: Vec<u32>,
    /// Also writes the figures there, as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Identity {
    /// Builds, measures, prints a table and then one line of JSON.
    pub fn run(&self) -> Result<()> {
        let target = build()?;
        let runtime = tokio::runtime::Runtime::new()?;
        let mut all = Vec::new();
        let postgres = std::env::var("FERROSTACK_TEST_POSTGRES").ok();
        for admin in std::iter::once(None).chain(postgres.as_deref().map(Some)) {
            for users in &self.users {
                let name = if admin.is_some() { "PostgreSQL" } else { "SQLite" };
                println!("{name}, {users} users and projects, {AT_ONCE} in flight, bcrypt cost {COST}");
                let figures = runtime.block_on(self.measure(&target, admin, *users))?;
                all.push(json!({"database": name, "users": users, "figures": figures}));
            }
        }
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let report = json!({"bcrypt_cost": COST, "in_flight": AT_ONCE, "cpus": cpus, "seconds": self.seconds, "runs": all});
        println!("{report}");
        if let Some(file) = &self.out {
            std::fs::write(file, format!("{report}\n")).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    async fn measure(&self, target: &Path, admin: Option<&str>, users: u32) -> Result<Value> {
        ensure!(users >= 1000, "at least 1000 users");
        let stage =
            Stage::start(&target.join("ferrostack-identity"), admin, COST, &format!("{users}")).await?;
        stage.execute(stage::people(users)).await?;
        let table = self.figures(&stage, target, users).await;
        stage.end().await?;
        table
    }

    async fn figures(&self, stage: &Stage, target: &Path, users: u32) -> Result<Value> {
        let time = Duration::from_secs(self.seconds);
        let (address, service) = (stage.address, stage.service());
        let mut table = Table::default();
        let post = |body: String| request("POST", "/v3/auth/tokens", &[], &body);
        let logins: Vec<Vec<u8>> = (1..=200)
            .map(|n| post(login(&format!("u{}", n * (users / 200)), &format!("p{}", n * (users / 200)))))
            .collect();
        table.add("logins", load::run(service, AT_ONCE, time, 201, &logins)?);

        let mut connection = Connection::to(address)?;
        let admin = token(&mut connection, &post(login("admin", "admin")))?;
        let mut tokens = Vec::new();
        for n in 1..=TOKENS {
            tokens.push((n, token(&mut connection, &post(login(&format!("u{n}"), &format!("p{n}"))))?));
        }
        let rescopes: Vec<Vec<u8>> = tokens
            .iter()
            .map(|(n, token)| {
                post(
                    json!({"auth": {"identity": {"methods": ["token"], "token": {"id": token}},
                    "scope": {"project": {"id": id('b', *n)}}}})
                    .to_string(),
                )
            })
            .collect();
        table.add("re-scopes", load::run(service, AT_ONCE, time, 201, &rescopes)?);

        let validations = |path: &str| -> Vec<Vec<u8>> {
            let of = |(_, subject): &(u32, String)| {
                request("GET", path, &[("X-Auth-Token", &admin), ("X-Subject-Token", subject)], "")
            };
            tokens.iter().map(of).collect()
        };
        let (whole, plain) = (validations("/v3/auth/tokens"), validations("/v3/auth/tokens?nocatalog"));
        for (subject, request) in tokens.iter().zip(&whole) {
            let body: Value = serde_json::from_slice(&connection.send(request)?.body)?;
            ensure!(body["token"]["user"]["id"] == id('a', subject.0), "the answer is about somebody else");
        }
        table.add("validations", load::run(service, AT_ONCE, time, 200, &whole)?);
        table.add("validations, no catalog", load::run(service, AT_ONCE, time, 200, &plain)?);
        table.add(
            "validations beside 10 changes/s",
            beside(address, &admin, users, || load::run(service, AT_ONCE, time, 200, &whole))?,
        );

        let short = Duration::from_millis(self.seconds * 250);
        let last = id('a', users - 100);
        for (name, path) in [
            ("users, first page of 100", "/v3/users?limit=100".to_owned()),
            ("users, last page of 100", format!("/v3/users?limit=100&marker={last}")),
            ("users, by name", format!("/v3/users?name=u{}", users / 2)),
            ("users, name contains", format!("/v3/users?limit=100&name__contains=u{}", users - 1)),
            ("projects, last page of 100", format!("/v3/projects?limit=100&marker={}", id('b', users - 100))),
            ("projects, by name", format!("/v3/projects?domain_id=default&name=p{}", users / 2)),
            ("projects of a user", format!("/v3/users/{}/projects", id('a', users / 2))),
            (
                "role assignments of a user",
                format!("/v3/role_assignments?effective&include_names&user.id={}", id('a', users / 2)),
            ),
            (
                "role assignments on a project",
                format!("/v3/role_assignments?effective&scope.project.id={}", id('b', users / 2)),
            ),
        ] {
            let requests = [request("GET", &path, &[("X-Auth-Token", &admin)], "")];
            table.add(name, load::run(service, 1, short, 200, &requests)?);
        }

        stage.execute(stage::rules(RULES)).await?;
        // The first answer comes when the rules are read.
        std::thread::sleep(Duration::from_secs(1));
        connection = Connection::to(address)?;
        connection.send(&whole[0])?;
        table.add("validations, 100,000 rules of one user", load::run(service, AT_ONCE, time, 200, &whole)?);
        let mut figures = table.0;
        figures.insert("local".into(), local(stage, target, &admin)?);
        Ok(Value::Object(figures))
    }
}

/// Builds what is measured; the directory it is in.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    for what in [
        &["build", "--release", "-p", "ferrostack-identity"][..],
        &["build", "--release", "-p", "ferrostack-client", "--example", "local_verification"][..],
    ] {
        ensure!(Command::new(&cargo).args(what).status()?.success(), "cargo {} failed", what.join(" "));
    }
    let target = std::env::var("CARGO_TARGET_DIR")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    Ok(target.join("release"))
}

fn login(user: &str, project: &str) -> String {
    let domain = json!({"id": "default"});
    json!({"auth": {
        "identity": {"methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": "secret"}}},
        "scope": {"project": {"name": project, "domain": domain}}}})
    .to_string()
}

fn token(connection: &mut Connection, login: &[u8]) -> Result<String> {
    let answer = connection.send(login)?;
    answer
        .token
        .with_context(|| format!("no token: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
}

/// `work` while a user is renamed ten times a second.
fn beside(
    address: SocketAddr,
    admin: &str,
    users: u32,
    work: impl FnOnce() -> Result<Figure>,
) -> Result<Figure> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            let mut connection = Connection::to(address)?;
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let body = json!({"user": {"name": format!("renamed{n}")}}).to_string();
                let path = format!("/v3/users/{}", id('a', users - 1));
                let answer = connection.send(&request("PATCH", &path, &[("X-Auth-Token", admin)], &body))?;
                ensure!(answer.status == 200, "a change was answered {}", answer.status);
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        let figure = work();
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| anyhow::anyhow!("the writer broke"))??;
        figure
    })
}

/// What the other services' verification takes, measured in a process of its own.
fn local(stage: &Stage, target: &Path, token: &str) -> Result<Value> {
    let file = stage.directory.path().join("token");
    std::fs::write(&file, token)?;
    let done = Command::new(target.join("examples/local_verification"))
        .arg(format!("http://{}/v3", stage.address))
        .arg(stage.directory.path().join("service-password"))
        .arg(&file)
        .output()?;
    ensure!(done.status.success(), "local_verification: {}", String::from_utf8_lossy(&done.stderr));
    let figures: Value = serde_json::from_slice(&done.stdout)?;
    for (name, value) in figures.as_object().into_iter().flatten() {
        println!("  local verification, {name:<20} {value:>12}");
    }
    Ok(figures)
}

#[derive(Default)]
struct Table(Map<String, Value>);

impl Table {
    fn add(&mut self, name: &str, figure: Figure) {
        println!(
            "  {name:<40} {:>10.1}/s   p50 {:>8.3} ms   p99 {:>8.3} ms   {:>8.1} us CPU",
            figure.per_second, figure.p50_ms, figure.p99_ms, figure.cpu_us
        );
        self.0.insert(name.into(), json!(figure));
    }
}
