//! A small image service with a login, and the faults that tests want of it.

use crate::cloud::{Cloud, uuid};
use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::digest;
use ferrostack_model::{Timestamp, image::ImageSource};
use futures_util::StreamExt;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How the image service behaves.
#[derive(Default)]
pub struct Store {
    pub images: Mutex<HashMap<String, Vec<u8>>>,
    pub downloads: AtomicUsize,
    /// So many downloads break off in the middle.
    pub break_off: AtomicUsize,
    /// So many requests are answered 503.
    pub refuse: AtomicUsize,
    /// Pause in the middle of each download.
    pub slow: Mutex<Duration>,
}

fn take_one(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

async fn file(
    store: web::Data<Store>,
    id: web::Path<String>,
    request: actix_web::HttpRequest,
) -> HttpResponse {
    if request.headers().get("x-auth-token").is_none_or(|t| t != "agent-token") {
        return HttpResponse::Unauthorized().finish();
    }
    if take_one(&store.refuse) {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let Some(bytes) = store.images.lock().get(id.as_str()).cloned() else {
        return HttpResponse::NotFound().finish();
    };
    store.downloads.fetch_add(1, Ordering::SeqCst);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let (first, second) = (web::Bytes::copy_from_slice(first), web::Bytes::copy_from_slice(second));
    let (broken, pause) = (take_one(&store.break_off), *store.slow.lock());
    let rest = async move {
        tokio::time::sleep(pause).await;
        if broken { Err(std::io::Error::other("broken off")) } else { Ok(second) }
    };
    let body = futures_util::stream::once(async { Ok(first) }).chain(futures_util::stream::once(rest));
    HttpResponse::Ok().insert_header(("content-length", bytes.len())).streaming(Box::pin(body))
}

async fn login() -> HttpResponse {
    let expires = Timestamp::now().plus_seconds(3600).iso_micros();
    HttpResponse::Created()
        .insert_header(("x-subject-token", "agent-token"))
        .json(serde_json::json!({"token": {"expires_at": expires, "catalog": []}}))
}

impl Store {
    /// Starts it and lets the agents of `cloud` log in and download there.
    pub async fn start(cloud: &mut Cloud) -> Arc<Self> {
        let store = Arc::new(Self::default());
        let data = web::Data::from(store.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/v3/auth/tokens", web::post().to(login))
                .route("/v2/images/{id}/file", web::get().to(file))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let address = server.addrs()[0];
        tokio::spawn(server.run());
        let directory = &cloud.settings.agent.state_directory;
        std::fs::create_dir_all(directory).unwrap();
        cloud.settings.credentials.password_file = directory.join("password");
        std::fs::write(&cloud.settings.credentials.password_file, "secret").unwrap();
        cloud.settings.credentials.auth_url = format!("http://{address}/v3");
        cloud.settings.agent.image_url = format!("http://{address}/");
        store
    }

    /// Registers an image of this content.
    pub fn image(&self, disk_format: &str, bytes: Vec<u8>) -> ImageSource {
        let id = uuid();
        let source = ImageSource {
            id: id.clone(),
            disk_format: disk_format.into(),
            size: bytes.len() as u64,
            virtual_size: 0,
            sha512: hex::encode(digest::digest(&digest::SHA512, &bytes)),
            properties: Default::default(),
        };
        self.images.lock().insert(id, bytes);
        source
    }
}
