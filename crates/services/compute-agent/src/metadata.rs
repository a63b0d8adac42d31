//! The metadata service at 169.254.169.254: guests read about themselves, from the ledger, so also while the
//! control plane is down. A guest is known by the address it calls from.

use crate::{
    files::config_drive::random_seed,
    host::Shared,
    store::guests::GuestRow,
    view::{self, ec2, network_data::network_data, openstack},
};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::Method, web};
use ferrostack_bus::Address;
use ferrostack_model::{
    Result,
    auth::Secret,
    guest::GuestSpec,
    message::{Envelope, GuestPassword},
};
use serde_json::Value;
use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

/// Between tries to listen: the address comes into being with the first guest's bridge.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);
/// Connections at once, so that guests cannot use up our files.
const CONNECTIONS: usize = 512;
/// Longest password a guest may post, bytes, as in Nova.
const PASSWORD: usize = 1020;
/// Longest path, bytes.
const PATH: usize = 1024;

/// Makes the socket for an address, in whatever network namespace the guests are.
pub type Listen = Arc<dyn Fn(SocketAddr) -> std::io::Result<TcpListener> + Send + Sync>;

/// Listens on `address` as soon as it can be had, until the agent stops.
pub async fn serve(shared: Arc<Shared>, address: SocketAddr, listen: Listen) {
    let mut said = false;
    while !shared.stop.is_cancelled() {
        match listen(address).and_then(|listener| run(&shared, listener)) {
            Ok((handle, task)) => {
                let handle = StopOnDrop(handle);
                tracing::info!(%address, "metadata service listens");
                shared.stop.cancelled().await;
                drop(handle);
                let _ = task.await;
                return;
            }
            Err(error) if !said => {
                tracing::info!(%address, %error, "metadata service cannot listen yet");
                said = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LISTEN_AGAIN) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

/// Ends the server also where this task is dropped.
struct StopOnDrop(ServerHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        // The order is given at once; the future would only wait.
        drop(self.0.stop(false));
    }
}

type Task = tokio::task::JoinHandle<std::io::Result<()>>;

fn run(shared: &Arc<Shared>, listener: TcpListener) -> std::io::Result<(ServerHandle, Task)> {
    let data = web::Data::from(shared.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(PASSWORD + 1))
            .default_service(web::to(answer))
    })
    .workers(1)
    .max_connections(CONNECTIONS)
    .client_request_timeout(Duration::from_secs(10))
    .keep_alive(Duration::from_secs(15))
    .disable_signals()
    .listen(listener)?
    .run();
    Ok((server.handle(), tokio::spawn(server)))
}

/// What a path leads to.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// Plain text: lists and EC2 values.
    Text(String),
    /// A JSON document.
    Json(Value),
    /// Bytes as the user gave them.
    Bytes(Vec<u8>),
    /// The password resource.
    Password,
}

/// Looks up `path` for a guest; none is 404.
pub fn find(spec: &GuestSpec, path: &str) -> Option<Found> {
    let steps: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match steps.as_slice() {
        [] => Some(Found::Text(list(ec2::VERSIONS))),
        ["openstack"] => Some(Found::Text(list(openstack::VERSIONS))),
        ["openstack", version, rest @ ..] => find_openstack(spec, openstack::Version::parse(version)?, rest),
        [version, rest @ ..] => find_ec2(spec, ec2::version(version)?, rest),
    }
}

fn list(versions: &[&str]) -> String {
    format!("{}\nlatest", versions.join("\n"))
}

fn find_openstack(spec: &GuestSpec, version: openstack::Version, rest: &[&str]) -> Option<Found> {
    match rest {
        [] => Some(Found::Text(openstack::files(spec, version).join("\n"))),
        ["meta_data.json"] => {
            Some(Found::Json(Value::Object(openstack::meta_data(spec, version, &random_seed()))))
        }
        ["user_data"] => view::user_data(spec).map(Found::Bytes),
        ["network_data.json"] if version.has_network_data() => Some(Found::Json(network_data(spec))),
        ["vendor_data.json"] if version.has_vendor_data() => Some(Found::Json(openstack::vendor_data())),
        ["vendor_data2.json"] if version.has_vendor_data2() => Some(Found::Json(openstack::vendor_data2())),
        ["password"] if version.has_password() => Some(Found::Password),
        _ => None,
    }
}

fn find_ec2(spec: &GuestSpec, version: usize, rest: &[&str]) -> Option<Found> {
    match rest {
        [] if spec.user_data.is_some() => Some(Found::Text("meta-data/\nuser-data".into())),
        [] => Some(Found::Text("meta-data/".into())),
        ["user-data"] => view::user_data(spec).map(Found::Bytes),
        ["meta-data", path @ ..] => {
            ec2::find(&ec2::meta_data(spec, version), path).map(|v| Found::Text(ec2::shown(v)))
        }
        _ => None,
    }
}

/// Whose guest calls. An address that several guests have names none of them.
async fn caller(shared: &Shared, address: IpAddr) -> Result<Option<(String, String, GuestRow, GuestSpec)>> {
    let mut found = shared.ledger.guests_at(address).await?;
    if found.len() > 1 {
        tracing::warn!(%address, guests = found.len(), "several guests have the address of a metadata request");
        return Ok(None);
    }
    let Some((host, server_id)) = found.pop() else { return Ok(None) };
    let Some(row) = shared.ledger.guest(&host, &server_id).await? else { return Ok(None) };
    let Some(spec) = row.spec.clone() else { return Ok(None) };
    Ok(Some((host, server_id, row, spec)))
}

async fn answer(request: HttpRequest, body: Option<web::Bytes>, shared: web::Data<Shared>) -> HttpResponse {
    match try_answer(&request, body.unwrap_or_default(), &shared).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(error = error.for_log(), "metadata request failed");
            HttpResponse::ServiceUnavailable().finish()
        }
    }
}

async fn try_answer(request: &HttpRequest, body: web::Bytes, shared: &Shared) -> Result<HttpResponse> {
    let not_found =
        || HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body("404 Not Found\n");
    // Only the connection's own address counts: headers are the guest's to write.
    let Some(peer) = request.peer_addr() else { return Ok(not_found()) };
    if request.path().len() > PATH {
        return Ok(not_found());
    }
    let Some((host, server_id, row, spec)) = caller(shared, peer.ip()).await? else {
        tracing::debug!(address = %peer.ip(), "metadata request from an address that no guest has");
        return Ok(not_found());
    };
    let Some(found) = find(&spec, request.path()) else { return Ok(not_found()) };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match found {
        Found::Password if *request.method() == Method::POST => {
            post_password(shared, &host, &server_id, &row, &body).await
        }
        _ if !reads => Ok(HttpResponse::MethodNotAllowed().finish()),
        Found::Text(text) => Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text)),
        Found::Json(value) => Ok(HttpResponse::Ok().content_type("application/json").body(value.to_string())),
        Found::Bytes(bytes) => Ok(HttpResponse::Ok().content_type("application/octet-stream").body(bytes)),
        Found::Password => {
            Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(row.password))
        }
    }
}

/// A guest posts its (encrypted) password once.
async fn post_password(
    shared: &Shared,
    host: &str,
    server_id: &str,
    row: &GuestRow,
    body: &web::Bytes,
) -> Result<HttpResponse> {
    if !row.password.is_empty() {
        return Ok(HttpResponse::Conflict().finish());
    }
    let text = std::str::from_utf8(body).ok().filter(|t| !t.is_empty() && t.len() <= PASSWORD);
    let Some(text) = text else { return Ok(HttpResponse::BadRequest().finish()) };
    // First to where it is asked for: a guest whose post fails posts again.
    let message = GuestPassword {
        host: host.to_owned(),
        server_id: server_id.to_owned(),
        password: Secret(text.to_owned()),
    };
    shared.bus.publish(&Address::Compute, &Envelope::new(&message, None)?).await?;
    match shared.ledger.set_password(host, server_id, text).await? {
        true => Ok(HttpResponse::Ok().finish()),
        false => Ok(HttpResponse::Conflict().finish()),
    }
}
