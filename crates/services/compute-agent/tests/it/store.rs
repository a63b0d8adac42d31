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
    /// Images that wait for data, with their status.
    pub queued: Mutex<HashMap<String, &'static str>>,
    /// Uploads that began.
    pub uploads: AtomicUsize,
    /// So many uploads are answered 500 after they have succeeded.
    pub lose_answers: AtomicUsize,
    /// So many uploads are answered 409, as while an earlier one is not given up.
    pub busy: AtomicUsize,
    /// What is stored is not what came.
    pub corrupt: AtomicUsize,
    /// Pause in the middle of each upload.
    pub slow_upload: Mutex<Duration>,
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

async fn put_file(
    store: web::Data<Store>,
    id: web::Path<String>,
    request: actix_web::HttpRequest,
    mut body: web::Payload,
) -> HttpResponse {
    if request.headers().get("x-auth-token").is_none_or(|t| t != "agent-token") {
        return HttpResponse::Unauthorized().finish();
    }
    store.uploads.fetch_add(1, Ordering::SeqCst);
    if take_one(&store.refuse) {
        return HttpResponse::ServiceUnavailable().finish();
    }
    if take_one(&store.busy) {
        return HttpResponse::Conflict().finish();
    }
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        bytes.extend_from_slice(&piece);
        let pause = *store.slow_upload.lock();
        tokio::time::sleep(pause).await;
    }
    let length = request.headers().get("content-length").and_then(|l| l.to_str().ok()?.parse().ok());
    if length != Some(bytes.len()) {
        return HttpResponse::BadRequest().finish();
    }
    if store.queued.lock().get(id.as_str()) != Some(&"queued") {
        return HttpResponse::NotFound().finish();
    }
    if take_one(&store.corrupt) {
        bytes[0] ^= 1;
    }
    store.queued.lock().insert(id.clone(), "active");
    store.images.lock().insert(id.clone(), bytes);
    if take_one(&store.lose_answers) {
        return HttpResponse::InternalServerError().finish();
    }
    HttpResponse::NoContent().finish()
}

async fn show(store: web::Data<Store>, id: web::Path<String>) -> HttpResponse {
    let Some(status) = store.queued.lock().get(id.as_str()).copied() else {
        return HttpResponse::NotFound().finish();
    };
    let data = store.images.lock().get(id.as_str()).cloned();
    let sum = data.as_ref().map(|bytes| hex::encode(digest::digest(&digest::SHA512, bytes)));
    HttpResponse::Ok().json(serde_json::json!({"id": *id, "status": status, "size": data.map(|d| d.len()),
        "os_hash_algo": sum.as_ref().map(|_| "sha512"), "os_hash_value": sum}))
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
                .route("/v2/images/{id}", web::get().to(show))
                .route("/v2/images/{id}/file", web::get().to(file))
                .route("/v2/images/{id}/file", web::put().to(put_file))
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
