//! An identity service that knows limits and nothing else.

use ferrostack_http::actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, web};
use ferrostack_model::Timestamp;
use ferrostack_settings::Settings;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;

const TOKEN: &str = "of-the-system";

/// Registered limits are under the project "".
#[derive(Default)]
struct Known {
    limits: Mutex<HashMap<(String, String), i64>>,
    asked: AtomicUsize,
}

/// The service; it ends when dropped.
pub struct Limits {
    known: Arc<Known>,
    address: std::net::SocketAddr,
    server: ServerHandle,
    directory: TempDir,
}

impl Drop for Limits {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn login(body: web::Json<Value>) -> HttpResponse {
    let auth = &body["auth"];
    let user = &auth["identity"]["password"]["user"];
    // A token of a project would see the limits of that project alone.
    if auth["scope"] != json!({"system": {"all": true}}) || user["password"] != "secret" {
        return HttpResponse::Unauthorized().finish();
    }
    let expires = Timestamp::now().plus_seconds(3600).iso_micros();
    HttpResponse::Created()
        .insert_header(("X-Subject-Token", TOKEN))
        .json(json!({"token": {"expires_at": expires, "user": {"id": "u"}, "catalog": []}}))
}

fn query(req: &HttpRequest) -> HashMap<String, String> {
    url::form_urlencoded::parse(req.query_string().as_bytes()).into_owned().collect()
}

fn is_known(req: &HttpRequest) -> bool {
    req.headers().get("x-auth-token").is_some_and(|t| t == TOKEN)
}

async fn services(req: HttpRequest) -> HttpResponse {
    if !is_known(&req) || query(&req)["type"] != "image" {
        return HttpResponse::Unauthorized().finish();
    }
    HttpResponse::Ok()
        .json(json!({"services": [{"id": "other", "name": "x"}, {"id": "im", "name": "glance"}]}))
}

async fn list(req: HttpRequest, known: web::Data<Known>) -> HttpResponse {
    known.asked.fetch_add(1, Ordering::Relaxed);
    let asked = query(&req);
    if !is_known(&req) || asked["service_id"] != "im" {
        return HttpResponse::Unauthorized().finish();
    }
    let registered = req.path().ends_with("registered_limits");
    let project = asked.get("project_id").cloned().unwrap_or_default();
    let (list, member) =
        if registered { ("registered_limits", "default_limit") } else { ("limits", "resource_limit") };
    let mut rows = Vec::new();
    for ((of, resource), limit) in known.limits.lock().unwrap().iter() {
        if of.is_empty() == registered && (registered || *of == project) {
            rows.push(json!({"resource_name": resource, "region_id": "RegionOne", member: limit}));
            // Another region's is not ours.
            rows.push(json!({"resource_name": resource, "region_id": "Elsewhere", member: limit + 1000}));
            rows.push(json!({"resource_name": resource, "region_id": null, member: limit + 2000}));
        }
    }
    HttpResponse::Ok().json(json!({list: rows}))
}

impl Limits {
    pub async fn start() -> Self {
        let known = Arc::new(Known::default());
        let data = web::Data::from(known.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/v3/auth/tokens", web::post().to(login))
                .route("/v3/services", web::get().to(services))
                .route("/v3/registered_limits", web::get().to(list))
                .route("/v3/limits", web::get().to(list))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0];
        let running = server.run();
        let server = running.handle();
        tokio::spawn(running);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("password"), "secret\n").unwrap();
        Self { known, address, server, directory }
    }

    /// Lets the image service ask here, each time.
    pub fn used_by(&self, settings: &mut Settings) {
        settings.image.use_keystone_limits = true;
        settings.image.quota.limits_cache_ms = 0;
        settings.credentials.auth_url = format!("http://{}/v3", self.address);
        settings.credentials.password_file = self.directory.path().join("password");
    }

    /// The default of every project.
    pub fn register(&self, resource: &str, limit: i64) {
        self.set("", resource, limit);
    }

    pub fn set(&self, project: &str, resource: &str, limit: i64) {
        self.known.limits.lock().unwrap().insert((project.to_owned(), resource.to_owned()), limit);
    }

    pub fn unset(&self, project: &str, resource: &str) {
        self.known.limits.lock().unwrap().remove(&(project.to_owned(), resource.to_owned()));
    }

    /// No limit but those set from now on.
    pub fn unlimited(&self) {
        self.known.limits.lock().unwrap().clear();
        for resource in
            ["image_size_total", "image_stage_total", "image_count_total", "image_count_uploading"]
        {
            self.register(resource, -1);
        }
    }

    /// Lists that were asked for so far.
    pub fn asked(&self) -> usize {
        self.known.asked.load(Ordering::Relaxed)
    }

    pub async fn stop(&self) {
        self.server.stop(false).await;
    }
}
