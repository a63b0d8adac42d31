//! The service as a process of its own: what it writes, what its neighbours see, how it starts and dies.

use super::*;
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// `ferrostack-identity` in a process, its log in a file.
pub struct Service {
    child: Child,
    pub base: String,
    pub directory: TempDir,
    http: reqwest::Client,
}

/// Settings for a service of its own in `directory`, with an admin whose password is `admin`.
pub fn settings_in(directory: &Path, admin: &str) -> Settings {
    use std::os::unix::fs::OpenOptionsExt;
    let mut settings = Settings::default();
    settings.identity.listen = "127.0.0.1:0".parse().unwrap();
    settings.identity.key_directory = directory.join("keys");
    settings.identity.admin_password_file = Some(directory.join("admin-password"));
    settings.identity.bcrypt_cost = 4;
    quiet(&mut settings);
    settings.credentials.password_file = directory.join("service-password");
    settings.database.url = format!("sqlite:{}", directory.join("db").display());
    let mut file = std::fs::OpenOptions::new();
    file.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(directory.join("admin-password")).unwrap();
    std::io::Write::write_all(&mut file, admin.as_bytes()).unwrap();
    settings
}

/// Without limits on failed logins, of which these tests make many.
pub fn quiet(settings: &mut Settings) {
    settings.identity.security.failed_logins_per_source_per_minute = 0;
    settings.identity.security.failed_logins_per_user_per_minute = 0;
}

/// Starts the process with `settings` (in a file below `directory`), whether it will come up or not.
pub fn spawn(settings: &Settings, directory: &Path) -> Child {
    let file = directory.join("settings.toml");
    std::fs::write(&file, toml::to_string(settings).unwrap()).unwrap();
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_ferrostack-identity"))
        .arg("--config")
        .arg(&file)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Service {
    /// With the admin's password and what `change` does to the settings.
    pub async fn start(admin: &str, change: impl Fn(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings_in(directory.path(), admin);
        change(&mut settings);
        let child = spawn(&settings, directory.path());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut service = Self { child, base: String::new(), directory, http };
        eventually("the process listens", async || {
            let log = service.log();
            let address = log
                .lines()
                .filter(|line| line.contains("listening"))
                .find_map(|line| line.split("127.0.0.1:").nth(1))
                .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
            if let Some(port) = &address {
                service.base = format!("http://127.0.0.1:{port}");
            }
            assert!(service.child.try_wait().unwrap().is_none(), "{log}");
            address.is_some()
        })
        .await;
        service
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.directory.path().join("log")).unwrap()).into_owned()
    }

    pub fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.directory.path().join("log")).unwrap().len()
    }

    /// Resident memory, KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        // A connection that the service has closed after rubbish may be taken up once more.
        let again = request.try_clone().unwrap();
        let response = match request.send().await {
            Ok(response) => response,
            Err(_) => again.send().await.unwrap(),
        };
        Answer {
            status: response.status().as_u16(),
            token: response.headers().get("x-subject-token").map(|v| v.to_str().unwrap().to_owned()),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub async fn login(&self, identity: Value, scope: Value) -> Answer {
        let mut body = json!({"auth": {"identity": identity}});
        if !scope.is_null() {
            body["auth"]["scope"] = scope;
        }
        self.send("POST", "/v3/auth/tokens", &[], Some(&body)).await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn admin_project() -> Value {
    json!({"project": {"name": "admin", "domain": {"id": "default"}}})
}

#[tokio::test]
async fn ossa_2013_003_bad_logins_write_little() {
    let service = Service::start("secret", |_| {}).await;
    let before = service.log_bytes();
    let mut requests = 0;
    let long = "x".repeat(4000);
    for round in 0..100 {
        let name = if round % 2 == 0 { "nosuch".to_owned() } else { format!("{long}{round}") };
        service.login(by_name(&name, &long), Value::Null).await;
        service.login(by_name("admin", "wrong"), Value::Null).await.is(401);
        service.login(by_token(&long), json!("unscoped")).await;
        for token in [&long, "garbage", "a.b.c", ""] {
            service.send("GET", "/v3/users", &[("x-auth-token", token)], None).await.is(401);
            let path = format!("/v3/{long}?{}", &long[..200]);
            service.send("GET", &path, &[("x-auth-token", token)], None).await;
        }
        service.send("POST", "/v3/auth/tokens", &[], Some(&json!({"auth": long}))).await.is(400);
        requests += 12;
    }
    let each = (service.log_bytes() - before) / requests;
    assert!(each <= 512, "{each} bytes of log a bad request");
    assert!(each > 20, "the requests are not logged at all");
    service.login(by_name("admin", "secret"), admin_project()).await.is(201);
}

/// Values that must not be found where they have no business, in every form that a careless mask lets through.
#[derive(Default)]
struct Canaries(BTreeMap<String, String>);

impl Canaries {
    /// A new one, in a setting of quotes and blanks. What is searched for later is its core.
    fn make(&mut self, what: &str) -> String {
        const FORMS: [&str; 16] = [
            "@",
            "\"@\"",
            "'@'",
            "pass\"@'word",
            "@\\",
            "\\\"@\\\"",
            "a @ b",
            "password=@",
            "\"password\": \"@\"",
            "<adminPass>@</adminPass>",
            "@&secret=x",
            "{@}",
            "[@]",
            "a,@;b",
            "--password @",
            "é@ü",
        ];
        let core = format!("zq7{}canary{}", what.replace(' ', ""), self.0.len());
        let form = FORMS[self.0.len() % FORMS.len()].replace('@', &core);
        self.0.insert(core, what.to_owned());
        form
    }
    /// One that the service has made.
    fn given(&mut self, what: &str, value: &str) {
        assert!(value.len() >= 20, "{what}: {value}");
        self.0.insert(value.to_owned(), what.to_owned());
    }
    fn absent_from(&self, place: &str, text: &str) {
        for (canary, what) in &self.0 {
            if let Some(at) = text.find(canary.as_str()) {
                let from = text[..at].rfind('\n').map_or(0, |n| n + 1);
                let line: String = text[from..].chars().take(600).collect();
                panic!("{what} is in {place}: {line}");
            }
        }
    }
}

/// A walk through the whole API at the most talkative level: no secret is in the log, in an answer that is not its
/// own, on a command line or in an environment.
#[tokio::test]
async fn m07_no_secret_is_logged_or_answered() {
    let mut canaries = Canaries::default();
    let admin_password = canaries.make("the admin's password");
    let service = Service::start(&admin_password, |s| s.log.level = "trace".into()).await;
    let service_password =
        std::fs::read_to_string(service.directory.path().join("service-password")).unwrap();
    canaries.given("the service users' password", service_password.trim());
    let mut tokens = Vec::new();
    let issued = service.login(by_name("admin", &admin_password), admin_project()).await.is(201);
    let admin_id = issued.json()["token"]["user"]["id"].as_str().unwrap().to_owned();
    let project_id = issued.json()["token"]["project"]["id"].as_str().unwrap().to_owned();
    let admin = issued.token.clone().unwrap();
    tokens.push(admin.clone());
    canaries.given("a token", &admin);
    canaries.absent_from("the answer to a login", &issued.text);
    let headers = [("x-auth-token", admin.as_str())];

    // Users, their passwords and their own changes of them; wrong ones and of a wrong type.
    for n in 0..16 {
        let password = canaries.make("a user's password");
        let body = json!({"user": {"name": format!("user{n}"), "password": password}});
        let made = service.send("POST", "/v3/users", &headers, Some(&body)).await.is(201);
        canaries.absent_from("the answer to a new user", &made.text);
        let path = format!("/v3/users/{}", made.json()["user"]["id"].as_str().unwrap());
        let token = service
            .login(by_name(&format!("user{n}"), &password), json!("unscoped"))
            .await
            .is(201)
            .token
            .unwrap();
        canaries.given("a user's token", &token);
        let next = canaries.make("a user's new password");
        let wrong = canaries.make("a wrong password");
        let own = [("x-auth-token", token.as_str())];
        for (original, new, status) in [(&wrong, &next, 401), (&password, &next, 204)] {
            let body = json!({"user": {"original_password": original, "password": new}});
            let answer =
                service.send("POST", &format!("{path}/password"), &own, Some(&body)).await.is(status);
            canaries.absent_from("the answer to a change of password", &answer.text);
        }
        let odd = canaries.make("a password of a wrong type");
        for value in [json!([odd]), json!({"odd": odd}), json!({odd.clone(): 1})] {
            for answer in [
                service.send("PATCH", &path, &headers, Some(&json!({"user": {"password": value}}))).await,
                service.login(json!({"methods": ["password"], "password": value}), Value::Null).await,
                service.login(by_name(&format!("user{n}"), &wrong), Value::Null).await,
                service.login(json!({"methods": ["totp"], "totp": {"user": {"id": "x", "passcode": odd}}}), Value::Null).await,
                service.login(json!({"methods": ["application_credential"], "application_credential": {"id": "x", "secret": odd}}), Value::Null).await,
            ] {
                assert!(answer.status >= 400 && answer.status < 500, "{}", answer.text);
                canaries.absent_from("a refusal", &answer.text);
            }
        }
    }

    // Secrets that the service makes or is given to keep: they are in the answer that hands them out.
    let own = format!("/v3/users/{admin_id}");
    let (given, blob) = (canaries.make("a given secret"), canaries.make("a credential"));
    let seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    canaries.given("a TOTP seed", seed);
    let credential = |kind: &str, blob: &str| json!({"credential": {"type": kind, "blob": blob, "user_id": admin_id, "project_id": project_id}});
    for (path, body, secret) in [
        (
            format!("{own}/application_credentials"),
            json!({"application_credential": {"name": "a"}}),
            "/application_credential/secret",
        ),
        (
            format!("{own}/application_credentials"),
            json!({"application_credential": {"name": "b", "secret": given}}),
            "",
        ),
        (format!("{own}/credentials/OS-EC2"), json!({"tenant_id": project_id}), "/credential/secret"),
        ("/v3/credentials".into(), credential("cert", &blob), ""),
        ("/v3/credentials".into(), credential("totp", seed), ""),
        (
            "/v3/credentials".into(),
            credential("ec2", &json!({"access": "x", "secret": blob}).to_string()),
            "",
        ),
        ("/v3/OS-OAUTH1/consumers".into(), json!({"consumer": {"description": "x"}}), "/consumer/secret"),
    ] {
        let made = service.send("POST", &path, &headers, Some(&body)).await.is(201);
        if !secret.is_empty() {
            let body = made.json();
            let secret = body.pointer(secret).unwrap().as_str().unwrap();
            canaries.given(path.rsplit('/').next().unwrap(), secret);
        }
    }

    // Logins with the application credentials, right and wrong.
    for (secret, status) in [(given.as_str(), 201), ("wrong", 401)] {
        let identity = json!({"methods": ["application_credential"], "application_credential": {
            "name": "b", "user": {"id": admin_id}, "secret": secret}});
        let login = service.login(identity, Value::Null).await.is(status);
        canaries.absent_from("the answer to a login", &login.text);
        if let Some(token) = login.token {
            canaries.given("a token of an application credential", &token);
        }
    }
    let scope = json!({"trust": {"trustor_user_id": admin_id, "trustee_user_id": admin_id, "impersonation": false,
        "project_id": project_id, "roles": [{"name": "reader"}]}});
    service.send("POST", "/v3/OS-TRUST/trusts", &headers, Some(&scope)).await;

    // The walk may do what it likes to this one.
    let walker = json!({"user": {"name": "walker"}});
    let walker = service.send("POST", "/v3/users", &headers, Some(&walker)).await.is(201).json();
    let walker = walker["user"]["id"].as_str().unwrap().to_owned();

    // Every route, every method: canaries in the query, in headers, in bodies of its noun and of any shape.
    for route in ferrostack_identity::routes::table() {
        let path = fill(route.path, &[("user_id", &walker), ("domain_id", "default")]);
        let noun =
            route.path.split('/').rfind(|s| !s.contains('{')).unwrap_or_default().trim_end_matches('s');
        let secret = canaries.make("a value in a body");
        let header = canaries.make("a header").replace(|c: char| !c.is_ascii_graphic(), "");
        let fields = json!({"password": secret, "secret": secret, "blob": secret, "original_password": secret,
            "passcode": secret, "token": {"id": secret}, "signature": secret});
        let own_headers = [
            ("x-auth-token", admin.as_str()),
            ("x-subject-token", header.as_str()),
            ("x-service-token", header.as_str()),
            ("authorization", header.as_str()),
            ("cookie", header.as_str()),
        ];
        for body in [json!({noun: fields}), json!({"auth": fields}), fields.clone()] {
            let path = format!("{path}?password={header}&token={header}");
            let answer = service.send(route.method.as_str(), &path, &own_headers, Some(&body)).await;
            // What cannot be is refused without being repeated; links repeat the address that was asked for.
            let text = answer.text.replace(&header, "");
            if answer.status >= 400 {
                canaries.absent_from(&format!("the answer to {} {}", route.method, route.path), &text);
            }
            assert_ne!(answer.status, 500, "{} {}", route.method, route.path);
        }
        // The query is the one of the last request; the next one has another.
        canaries.0.remove(&header);
    }
    let validated = service
        .send("GET", "/v3/auth/tokens", &[("x-auth-token", &admin), ("x-subject-token", &admin)], None)
        .await
        .is(200);
    canaries.absent_from("the body of a validation", &validated.text);
    service
        .send("DELETE", "/v3/auth/tokens", &[("x-auth-token", &admin), ("x-subject-token", &admin)], None)
        .await
        .is(204);

    let log = service.log();
    assert!(log.contains("TRACE") && log.len() > 100_000, "the log is not talkative: {} bytes", log.len());
    canaries.absent_from("the log", &log);
    // What neighbours on the machine can see.
    let process = format!("/proc/{}", service.child.id());
    for file in ["cmdline", "comm", "status"] {
        let text = std::fs::read(format!("{process}/{file}")).unwrap();
        canaries.absent_from(file, &String::from_utf8_lossy(&text));
    }
    for thread in std::fs::read_dir(format!("{process}/task")).unwrap() {
        let children = std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
        assert_eq!(children.trim(), "", "it has children");
    }
    // In the database only hashes and what is encrypted; but attributes that somebody makes up are kept as they are.
    canaries.0.retain(|_, what| what != "a value in a body");
    for file in std::fs::read_dir(service.directory.path().join("db")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        canaries.absent_from("the database", &String::from_utf8_lossy(&bytes));
    }
}

/// Passwords in the addresses of database and broker, when those cannot be reached.
#[test]
fn ossa_2014_004_addresses_with_passwords_are_not_told() {
    for (at, level) in [("database", "trace"), ("bus", "trace"), ("database", "info"), ("odd", "trace")] {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings_in(directory.path(), "secret");
        settings.log.level = level.into();
        let mut canaries = Canaries::default();
        let _ = canaries.make("an address's password");
        let core = canaries.0.keys().next().unwrap().clone();
        match at {
            "database" => settings.database.url = format!("postgres://fs:{core}@127.0.0.1:1/x"),
            "bus" => settings.bus.url = format!("amqp://fs:{core}@127.0.0.1:1/x"),
            _ => settings.database.url = format!("mysql://fs:{core}@127.0.0.1:1/x"),
        }
        let mut child = spawn(&settings, directory.path());
        // It refuses to start, or goes on trying; either way it has said what is wrong by then.
        for _ in 0..30 {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let _ = child.kill();
        let _ = child.wait();
        let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
        assert!(!log.is_empty());
        canaries.absent_from("the log", &log);
    }
}

/// What is wrong in the settings is said without the values.
#[test]
fn ossa_2015_008_a_bad_setting_is_named_without_its_value() {
    let directory = tempfile::tempdir().unwrap();
    let core = "zq7canaryinafile";
    for text in [
        format!("[database]\nurl = [\"postgres://fs:{core}@h/x\"]\n"),
        format!("[bus]\nurl = {{ password = \"{core}\" }}\n"),
        format!("[identity]\nadmin_password = \"{core}\"\n"),
        format!("[database]\nurl = \"postgres://fs:{core}@h/x\n"),
        format!("[database]\nurl = postgres://fs:{core}@h/x\n"),
    ] {
        let file = directory.path().join("settings.toml");
        std::fs::write(&file, &text).unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_ferrostack-identity"))
            .arg("--config")
            .arg(&file)
            .env_clear()
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
        assert!(!done.status.success(), "{text}");
        assert!(said.contains("settings"), "{said}");
        assert!(!said.contains(core), "{text}\n{said}");
    }
}
