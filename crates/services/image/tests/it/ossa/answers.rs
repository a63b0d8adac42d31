//! S-2017-001 (CVE-2017-2592): what is answered and logged when the service itself is at fault.

use crate::support::{Cloud, each, tokens};
use async_trait::async_trait;
use ferrostack_bus::LocalBus;
use ferrostack_http::{
    Route, ServiceSpec, Style, TokenVerifier,
    actix_web::{HttpRequest, HttpResponse, web},
};
use ferrostack_image::{app::App, image::Status, policy, routes, upload};
use ferrostack_model::{Caller, Result};
use ferrostack_settings::{Log, Settings};
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::Arc,
};

const TOKEN: &str = "CANARYtoken";
/// In every token, body, header and name that is sent.
const CANARY: &str = "CANARY";

/// Knows the tokens of all tests behind [`TOKEN`], and bursts at one.
struct Bursting(Arc<dyn TokenVerifier>);

#[async_trait]
impl TokenVerifier for Bursting {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        let name = token.strip_prefix(TOKEN).unwrap_or_default();
        assert!(name != "burst", "cannot verify {token}");
        self.0.verify(name).await
    }
    fn auth_uri(&self) -> String {
        self.0.auth_uri()
    }
}

/// What the handlers that burst say has all of the request in it.
fn whole(req: &HttpRequest, body: &str) -> String {
    format!("{} {:?} {body}", req.uri(), req.headers())
}

async fn burst(req: HttpRequest, body: String) -> HttpResponse {
    panic!("cannot handle {}", whole(&req, &body));
}

/// Bursts in the body of an upload, when its task and its lanes are at work.
async fn burst_in_upload(app: web::Data<App>, path: web::Path<String>, req: HttpRequest) -> HttpResponse {
    let image = ferrostack_image::store::image::get(&app.db, &path).await.unwrap().unwrap();
    let text = whole(&req, "");
    let pieces = stream::iter(0..3).map(move |i| {
        assert!(i < 2, "cannot read {text}");
        Ok::<_, String>(bytes::Bytes::from_static(b"some bytes"))
    });
    let app = app.into_inner();
    let into = app.stores.default().clone();
    let done =
        upload::receive(&app, &image, Status::Saving, &into, Default::default(), Box::pin(pieces)).await;
    panic!("not reached: {}", done.is_ok());
}

/// Not a test: the service with handlers that burst, as a process whose log can be read.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by ossa_2017_001_a_fault_of_ours_tells_nothing"]
async fn child_bursts() {
    let Ok(text) = std::env::var("IT_IMAGE_SETTINGS") else { return };
    let settings: Settings = serde_json::from_str(&text).unwrap();
    ferrostack_settings::init_telemetry(&Log { level: "trace".into(), ..Log::default() }).unwrap();
    let app = ferrostack_image::open(&settings, Arc::new(LocalBus::new())).await.unwrap();
    let data = web::Data::from(app.clone());
    let mut routes = routes::served(false);
    for path in ["/v2/images/{image_id}/burst", "/v2/burst"] {
        routes.push(Route::post(path, || web::post().to(burst)));
    }
    routes.push(Route::put("/v2/images/{image_id}/burst", || web::put().to(burst_in_upload)));
    let spec = ServiceSpec {
        name: "image",
        style: Style::Glance,
        routes,
        verifier: Arc::new(Bursting(tokens())),
        policy: Arc::new(policy::enforcer(None, app.protections.rules()).unwrap()),
        health: app,
        state: Arc::new(move |config| {
            config.app_data(data.clone());
        }),
        workers: 1,
    };
    let running = ferrostack_http::serve(spec, settings.image.listen).unwrap();
    println!("LISTENS http://{}", running.address);
    running.wait().await.unwrap();
}

struct Service {
    process: Child,
    log: std::thread::JoinHandle<String>,
}

impl Service {
    fn start(cloud: &mut Cloud) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["ossa::answers::child_bursts", "--exact", "--ignored", "--nocapture"])
            .env("IT_IMAGE_SETTINGS", serde_json::to_string(&cloud.settings).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut errors = process.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        cloud.base = loop {
            let line = lines.next().expect("the child says where it listens").unwrap();
            if let Some((_, address)) = line.split_once("LISTENS ") {
                break address.to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, log }
    }

    /// Ends it; all that it logged.
    fn end(mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.log.join().unwrap()
    }
}

/// Sends a request full of canaries; its answer has a request id and nothing of what was sent.
async fn fails(cloud: &Cloud, who: &str, method: Method, path: &str, media: &str, body: String) -> u16 {
    for accept in ["application/json", "text/html,*/*"] {
        let answer = cloud
            .call(&format!("{TOKEN}{who}"), method.clone(), path)
            .header("Accept", accept)
            .header("Content-Type", media)
            .header("X-Other", "CANARYheader")
            .header("Cookie", "session=CANARYcookie")
            .body(body.clone())
            .send()
            .await
            .unwrap_or_else(|e| panic!("{method} {path}: no answer: {e}"));
        let status = answer.status().as_u16();
        let id = answer.headers()["x-openstack-request-id"].to_str().unwrap().to_owned();
        assert!(id.starts_with("req-") && id.len() == 40, "{id}");
        let mut told = format!("{:?} ", answer.headers());
        told.push_str(&answer.text().await.unwrap());
        assert!(status >= 500, "{method} {path}: {status} {told}");
        for secret in [CANARY, "panic", ".rs", "SELECT", "no such table", "sqlx", "does not exist"] {
            assert!(!told.contains(secret), "{method} {path} tells {secret}: {told}");
        }
        if accept.ends_with("*/*") {
            return status;
        }
    }
    unreachable!()
}

/// A handler, an upload or the check of a token that panics with the whole request in its words, and a database without
/// its tables: a plain 500 with the request's id, and nothing of the request in the log at its most talkative level.
#[tokio::test(flavor = "multi_thread")]
async fn ossa_2017_001_a_fault_of_ours_tells_nothing() {
    each(async |cloud| {
        let id = cloud.create(json!({})).await;
        cloud.shut().await;
        let service = Service::start(cloud);
        let body = || json!({"name": "CANARYbody", "CANARYproperty": "CANARYvalue"}).to_string();
        for _ in 0..3 {
            for (who, method, path) in [
                ("member", Method::POST, "/v2/burst".to_owned()),
                ("member", Method::POST, "/v2/burst?x=CANARYquery".to_owned()),
                ("member", Method::POST, format!("/v2/images/{id}/burst")),
                ("member", Method::PUT, format!("/v2/images/{id}/burst")),
                ("burst", Method::GET, format!("/v2/images/{id}")),
            ] {
                let status = fails(cloud, who, method, &path, "application/json", body()).await;
                assert_eq!(status, 500, "{path}");
            }
            // The worker lives, and what burst was given back.
            let (status, image) = cloud.get(&format!("{TOKEN}member"), &format!("/v2/images/{id}")).await;
            assert_eq!((status.as_u16(), &image["status"]), (200, &json!("queued")), "{image}");
        }
        assert_eq!(cloud.stored(), [""; 0], "nothing of an upload that burst is left");
        assert_eq!(cloud.sql("ALTER TABLE image RENAME TO image_gone", &[]).await, 0);
        let patch = json!([{"op": "add", "path": "/CANARYproperty", "value": "CANARYvalue"}]).to_string();
        let import = json!({"method": {"name": "web-download", "uri": "http://x:CANARY@x.example/CANARY"}});
        for (method, path, media, body) in [
            (Method::GET, "/v2/images?name=CANARYname".to_owned(), "application/json", String::new()),
            (Method::POST, "/v2/images".into(), "application/json", body()),
            (Method::GET, format!("/v2/images/{id}"), "application/json", String::new()),
            (
                Method::PATCH,
                format!("/v2/images/{id}"),
                "application/openstack-images-v2.1-json-patch",
                patch,
            ),
            (Method::PUT, format!("/v2/images/{id}/file"), "application/octet-stream", "CANARYdata".into()),
            (Method::POST, format!("/v2/images/{id}/import"), "application/json", import.to_string()),
            (Method::PUT, format!("/v2/images/{id}/tags/CANARYtag"), "application/json", String::new()),
            (
                Method::POST,
                format!("/v2/images/{id}/members"),
                "application/json",
                json!({"member": "CANARYproject"}).to_string(),
            ),
        ] {
            fails(cloud, "member", method, &path, media, body).await;
        }
        let log = service.end();
        for there in ["a handler panicked", "answers.rs", "request failed"] {
            assert!(log.contains(there), "the log was captured: {there}");
        }
        // A path is logged, as its access log must be: the tag stands in one.
        let told: Vec<&str> =
            log.lines().filter(|line| line.replace("/tags/CANARYtag", "").contains(CANARY)).take(5).collect();
        assert!(told.is_empty(), "logged: {told:#?}");
    })
    .await;
}
