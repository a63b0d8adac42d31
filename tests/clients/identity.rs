//! Our identity service in the place of Keystone: for the middleware of OpenStack's services and for the clients.

use ferrostack_testkit::{Api, Options, TestCloud, eventually_for};
use ferrostack_tests::{needs, root, run_with};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Lifetime of tokens: long enough for a few requests on a machine under load, short enough to wait for.
const TTL: i64 = 8;

/// A WSGI application behind `keystonemiddleware`.
struct Service {
    child: Child,
    base: String,
    http: reqwest::Client,
}

impl Service {
    fn start(bin: &str, cloud: &TestCloud) -> Self {
        let auth_url = cloud.settings.credentials.auth_url.trim_end_matches("/v3");
        let options = json!({
            "auth_type": "password", "auth_url": auth_url, "www_authenticate_uri": format!("{auth_url}/v3"),
            "username": "nova", "password": "service-secret", "project_name": "service",
            "user_domain_id": "default", "project_domain_id": "default", "region_name": "RegionOne",
            "service_token_roles_required": "true", "service_type": "compute", "token_cache_time": "1",
        });
        let mut child = Command::new(format!("{bin}/python"))
            .arg(root().join("tests/clients/middleware.py"))
            .arg(options.to_string())
            .env_remove("http_proxy")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("the application says its port");
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, base: format!("http://127.0.0.1:{port}"), http }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut request = self.http.get(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        if response.status() == 401 {
            let asks = response.headers()["www-authenticate"].to_str().unwrap();
            assert!(asks.starts_with("Keystone uri="), "{asks}");
        }
        (response.status(), response.json().await.unwrap_or(Value::Null))
    }

    async fn status(&self, user: &str, service: Option<&str>) -> u16 {
        let mut headers = vec![("X-Auth-Token", user)];
        headers.extend(service.map(|token| ("X-Service-Token", token)));
        self.get("/", &headers).await.0.as_u16()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn token(admin: &Api, body: Value) -> String {
    let answer = admin
        .http
        .post(format!("{}/v3/auth/tokens", admin.identity))
        .json(&json!({"auth": body}))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    answer.headers()["x-subject-token"].to_str().unwrap().to_owned()
}

async fn login(admin: &Api, name: &str, password: &str, project: &str) -> String {
    let domain = json!({"id": "default"});
    let user = json!({"name": name, "password": password, "domain": domain});
    let scope = json!({"project": {"name": project, "domain": domain}});
    token(admin, json!({"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}))
        .await
}

/// The swap-in test: the services' own middleware validates our tokens online.
#[tokio::test(flavor = "multi_thread")]
async fn the_middleware_of_openstacks_services_takes_our_tokens() {
    let Some(bin) = needs("FERROSTACK_TEST_CLIENTS") else { return };
    let cloud =
        TestCloud::with(Options { adjust: |s| s.identity.token_ttl_seconds = TTL, ..Options::default() })
            .await
            .unwrap();
    let service = Service::start(&bin, &cloud);
    let admin = &cloud.admin;
    let admin_token = || login(admin, "admin", "admin-secret", "admin");

    // Nothing, and nonsense.
    assert_eq!(service.get("/", &[]).await.0, 401);
    for bad in ["nonsense", "a.b.c", ""] {
        assert_eq!(service.status(bad, None).await, 401, "{bad}");
    }

    // Who calls, and as what; what the client claims itself counts for nothing.
    let fresh = admin_token().await;
    let shown = admin
        .http
        .get(format!("{}/v3/auth/tokens", admin.identity))
        .header("X-Auth-Token", &fresh)
        .header("X-Subject-Token", &fresh)
        .send()
        .await
        .unwrap();
    let body: Value = shown.json().await.unwrap();
    let (_, headers) = service
        .get(
            "/",
            &[
                ("X-Auth-Token", &fresh),
                ("X-Roles", "forged"),
                ("X-User-Id", "forged"),
                ("X-Service-Roles", "service"),
            ],
        )
        .await;
    let is = |name: &str, value: &Value| assert_eq!(&headers[name], value, "{name}: {headers}");
    is("X-IDENTITY-STATUS", &json!("Confirmed"));
    is("X-USER-ID", &body["token"]["user"]["id"]);
    is("X-USER-NAME", &json!("admin"));
    is("X-USER-DOMAIN-ID", &json!("default"));
    is("X-USER-DOMAIN-NAME", &json!("Default"));
    is("X-PROJECT-ID", &body["token"]["project"]["id"]);
    is("X-PROJECT-NAME", &json!("admin"));
    is("X-PROJECT-DOMAIN-ID", &json!("default"));
    assert!(headers.get("X-SERVICE-ROLES").is_none(), "{headers}");
    let mut roles: Vec<&str> = headers["X-ROLES"].as_str().unwrap().split(',').collect();
    roles.sort_unstable();
    assert_eq!(roles, ["admin", "manager", "member", "reader"]);
    let catalog: Value = serde_json::from_str(headers["X-SERVICE-CATALOG"].as_str().unwrap()).unwrap();
    assert!(catalog.as_array().unwrap().iter().any(|s| s["type"] == "compute"), "{catalog}");

    // A revoked token: for as long as the middleware remembers it.
    let revoked = admin_token().await;
    assert_eq!(service.status(&revoked, None).await, 200);
    let gone = admin
        .http
        .delete(format!("{}/v3/auth/tokens", admin.identity))
        .header("X-Auth-Token", &revoked)
        .header("X-Subject-Token", &revoked)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 204);
    eventually_for(Duration::from_secs(2), "the revoked token is refused", async || {
        (service.status(&revoked, None).await == 401).then_some(())
    })
    .await;

    // An application credential's access rules.
    let owner = admin_token().await;
    let user_id = body["token"]["user"]["id"].as_str().unwrap();
    let rules = json!([{"service": "compute", "method": "GET", "path": "/allowed/*"}]);
    let made: Value = admin
        .http
        .post(format!("{}/v3/users/{user_id}/application_credentials", admin.identity))
        .header("X-Auth-Token", &owner)
        .json(&json!({"application_credential": {"name": "a", "access_rules": rules}}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let cred = &made["application_credential"];
    let limited = token(
        admin,
        json!({"identity": {"methods": ["application_credential"],
            "application_credential": {"id": cred["id"], "secret": cred["secret"]}}}),
    )
    .await;
    assert_eq!(service.get("/allowed/x", &[("X-Auth-Token", &limited)]).await.0, 200);
    assert_eq!(service.get("/other", &[("X-Auth-Token", &limited)]).await.0, 401);

    // An expired token is good beside a service's, and only there.
    let old = admin_token().await;
    assert_eq!(service.status(&old, None).await, 200);
    eventually_for(Duration::from_secs(30), "the token expires", async || {
        (service.status(&old, None).await == 401).then_some(())
    })
    .await;
    let nova = login(admin, "nova", "service-secret", "service").await;
    assert_eq!(service.status(&old, Some(&nova)).await, 200);
    let no_service = admin_token().await;
    assert_eq!(service.status(&old, Some(&no_service)).await, 401);
    assert_eq!(service.status(&revoked, Some(&nova)).await, 401, "expired and revoked");
    let (_, both) = service.get("/", &[("X-Auth-Token", &old), ("X-Service-Token", &nova)]).await;
    assert_eq!((&both["X-USER-NAME"], &both["X-SERVICE-USER-NAME"]), (&json!("admin"), &json!("nova")));
    drop(service);
    cloud.stop().await;
}

/// The `openstack` client finds v3 by itself, with and without v2.0 beside it; and uses v2.0 if told to.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_finds_v3() {
    let Some(bin) = needs("FERROSTACK_TEST_CLIENTS") else { return };
    for v2 in [false, true] {
        let adjust: fn(&mut ferrostack_settings::Settings) = match v2 {
            true => |s| s.identity.v2_api = Some(true),
            false => |_| {},
        };
        let cloud = TestCloud::with(Options { adjust, ..Options::default() }).await.unwrap();
        let base = cloud.settings.credentials.auth_url.trim_end_matches("/v3").to_owned();
        let mut environment: BTreeMap<String, String> = [
            ("OS_USERNAME", "admin"),
            ("OS_PASSWORD", "admin-secret"),
            ("OS_PROJECT_NAME", "admin"),
            ("OS_USER_DOMAIN_NAME", "Default"),
            ("OS_PROJECT_DOMAIN_NAME", "Default"),
            ("OS_IDENTITY_API_VERSION", "3"),
            ("NO_COLOR", "1"),
            ("no_proxy", "*"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let openstack = |environment: &BTreeMap<String, String>, words: &str| {
            let arguments: Vec<_> = words.split_whitespace().collect();
            run_with(&format!("{bin}/openstack"), &arguments, environment)
        };
        // Given the root or v3, it uses v3.
        for url in [format!("{base}/v3"), base.clone(), format!("{base}/")] {
            environment.insert("OS_AUTH_URL".into(), url.clone());
            let token: Value = serde_json::from_str(&openstack(&environment, "token issue -f json")).unwrap();
            assert!(
                token["project_id"].is_string() && token["id"].as_str().unwrap().starts_with("eyJ"),
                "{url}"
            );
            let debug = openstack(&environment, "user list -f json");
            assert!(debug.contains("\"admin\""), "{url} {debug}");
        }
        if v2 {
            // An old openrc: v2.0, and nothing of domains.
            for name in ["OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN_NAME", "OS_PROJECT_NAME"] {
                environment.remove(name);
            }
            environment.insert("OS_TENANT_NAME".into(), "admin".into());
            environment.insert("OS_IDENTITY_API_VERSION".into(), "2.0".into());
            environment.insert("OS_AUTH_URL".into(), format!("{base}/v2.0"));
            let token: Value = serde_json::from_str(&openstack(&environment, "token issue -f json")).unwrap();
            assert!(token["project_id"].is_string(), "{token}");
            let projects = openstack(&environment, "project list -f value -c Name");
            assert_eq!(projects.split_whitespace().collect::<Vec<_>>(), ["admin", "service"]);
            openstack(&environment, "project create old-style");
            openstack(&environment, "user create --project old-style --password pw olduser");
            assert!(openstack(&environment, "user list -f value -c Name").contains("olduser"));
            assert!(openstack(&environment, "catalog list -f json").contains("/v2/"));
        }
        let versions = cloud.admin.http.get(&base).send().await.unwrap();
        let body: Value = versions.json().await.unwrap();
        assert_eq!(body["versions"]["values"].as_array().unwrap().len(), if v2 { 2 } else { 1 });
        cloud.stop().await;
    }
}
