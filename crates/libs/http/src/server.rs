//! Starting a service's HTTP server.

use crate::{Method, Route, Style, TokenVerifier, edge};
use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, guard, http, web};
use async_trait::async_trait;
use ferrostack_model::{Error, Result};
use ferrostack_policy::Enforcer;
use prometheus::{Encoder, TextEncoder};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// Says whether the parts a service needs are there.
#[async_trait]
pub trait HealthCheck: Send + Sync + 'static {
    /// Each part by name with `Ok` or what is wrong.
    async fn check(&self) -> Vec<(&'static str, Result<()>)>;

    /// The turn of a request, kept until its handler has answered; 503 if too many others are under way for too long.
    /// Services that leave it out take all that comes.
    async fn turn(&self, _method: &http::Method, _path: &str) -> Result<Option<OwnedSemaphorePermit>> {
        Ok(None)
    }
}

/// Everything the edge needs to serve one API.
#[derive(Clone)]
pub struct ServiceSpec {
    /// `identity`, `compute`, …: for logs and metrics.
    pub name: &'static str,
    /// Whose manners.
    pub style: Style,
    /// The table.
    pub routes: Vec<Route>,
    /// Verifies tokens.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Decides.
    pub policy: Arc<Enforcer>,
    /// For `/healthcheck`.
    pub health: Arc<dyn HealthCheck>,
    /// Registers the state handlers extract (`web::Data`).
    pub state: Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>,
    /// Worker threads.
    pub workers: usize,
}

/// Time between two looks at the file of policy overrides.
const POLICY_POLL: Duration = Duration::from_secs(1);

/// A server that runs.
pub struct Running {
    /// Where it listens (the real port if 0 was asked for).
    pub address: SocketAddr,
    handle: ServerHandle,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    /// Ends [`follow_policy`] with this.
    _following: Option<tokio_util::sync::DropGuard>,
}

impl Running {
    /// Stops taking connections, finishes what is under way, ends.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        let _ = self.task.await;
    }
    /// Waits until the server ends by itself.
    pub async fn wait(self) -> Result<()> {
        match self.task.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(Error::internal(format!("HTTP server: {e}"))),
            Err(e) => Err(Error::internal(format!("HTTP server: {e}"))),
        }
    }
}

/// Binds `address` and serves `spec`. The error names the address if it is taken.
pub fn serve(spec: ServiceSpec, address: SocketAddr) -> Result<Running> {
    let listener = TcpListener::bind(address)
        .map_err(|e| Error::internal(format!("{}: cannot listen on {address}: {e}", spec.name)))?;
    serve_on(spec, listener)
}

/// Serves `spec` on a socket that is bound already.
pub fn serve_on(spec: ServiceSpec, listener: TcpListener) -> Result<Running> {
    let bound = listener.local_addr().map_err(|e| Error::internal(format!("local address: {e}")))?;
    let workers = spec.workers.max(1);
    let (name, policy) = (spec.name, spec.policy.clone());
    let spec = Arc::new(spec);
    let matcher = Arc::new(edge::Matcher::new(&spec.routes));
    let server = HttpServer::new(move || {
        let (spec, matcher) = (spec.clone(), matcher.clone());
        App::new()
            .wrap(actix_web::middleware::from_fn(edge::edge))
            .app_data(web::Data::from(spec.clone()))
            .app_data(web::Data::from(matcher))
            .configure(|config| {
                (spec.state)(config);
                register(config, &spec.routes, spec.style);
            })
            .default_service(web::to(edge::not_found))
    })
    .workers(workers)
    .keep_alive(std::time::Duration::from_secs(75))
    .shutdown_timeout(10)
    .disable_signals()
    .listen(listener)
    .map_err(|e| Error::internal(format!("cannot listen on {bound}: {e}")))?
    .run();
    let handle = server.handle();
    let following = policy.has_file().then(|| {
        let stop = CancellationToken::new();
        tokio::spawn(follow_policy(name, policy, stop.clone()));
        stop.drop_guard()
    });
    Ok(Running { address: bound, handle, task: tokio::spawn(server), _following: following })
}

/// Takes over what changes in the file of policy overrides, until `stop`. The rules stay as they are while the file
/// is bad or gone; that is logged once for each content.
async fn follow_policy(service: &'static str, policy: Arc<Enforcer>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(POLICY_POLL) => {}
        }
        let policy = policy.clone();
        match tokio::task::spawn_blocking(move || policy.reload()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::info!(service, "policy overrides read again"),
            Ok(Err(error)) => {
                tracing::error!(
                    service,
                    error = error.for_log(),
                    "policy overrides refused: the old rules stay"
                );
            }
            Err(error) => tracing::error!(service, %error, "policy overrides not read"),
        }
    }
}

fn register(config: &mut web::ServiceConfig, routes: &[Route], style: Style) {
    config.route("/healthcheck", web::get().to(healthcheck));
    config.route("/metrics", web::get().to(metrics));
    let mut order: Vec<&'static str> = Vec::new();
    let mut by_path: BTreeMap<&'static str, Vec<&Route>> = BTreeMap::new();
    for route in routes {
        if !by_path.contains_key(route.path) {
            order.push(route.path);
        }
        by_path.entry(route.path).or_default().push(route);
    }
    // Fixed segments win over `{names}` whatever the order in the table.
    order.sort_by_key(|path| path.split('/').map(|s| u8::from(s.contains('{'))).collect::<Vec<_>>());
    for path in order {
        let rows = by_path.remove(path).unwrap_or_default();
        let mut allowed: Vec<String> = rows.iter().map(|r| r.method.to_string()).collect();
        // Keystone answers HEAD wherever it answers GET; a row of its own wins.
        let head_too = style == Style::Keystone && !rows.iter().any(|r| r.method == Method::HEAD);
        if head_too && rows.iter().any(|r| r.method == Method::GET) {
            allowed.push(Method::HEAD.to_string());
        }
        // Glance names them as its router does: what reads and makes first, then in the order of the table.
        if style == Style::Glance {
            allowed.sort_by_key(|method| match method.as_str() {
                "GET" => 0,
                "POST" => 1,
                _ => 2,
            });
        } else {
            allowed.sort();
            allowed.dedup();
        }
        let mut resource = web::resource(path);
        for row in rows {
            let mut made = if head_too && row.method == Method::GET {
                (row.make)().guard(guard::Any(guard::Get()).or(guard::Head()))
            } else {
                (row.make)().method(row.method.clone())
            };
            if let Some(window) = row.window {
                made = made.guard(edge::InWindow(window));
            }
            resource = resource.route(made);
        }
        config.service(resource.default_service(web::to(edge::method_not_allowed(allowed.join(", ")))));
    }
}

async fn healthcheck(spec: web::Data<ServiceSpec>) -> HttpResponse {
    let parts = spec.health.check().await;
    let healthy = parts.iter().all(|(_, r)| r.is_ok());
    for (part, result) in &parts {
        if let Err(error) = result {
            tracing::warn!(service = spec.name, part, error = error.for_log(), "unhealthy");
        }
    }
    let body: serde_json::Map<_, _> = parts
        .iter()
        .map(|(n, r)| ((*n).to_owned(), json!(if r.is_ok() { "OK" } else { "FAILED" })))
        .collect();
    let mut answer = if healthy { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(json!({"status": if healthy { "OK" } else { "FAILED" }, "parts": body}))
}

async fn metrics() -> HttpResponse {
    let mut out = Vec::new();
    match TextEncoder::new().encode(&prometheus::gather(), &mut out) {
        Ok(()) => HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(out),
        Err(e) => HttpResponse::InternalServerError().body(e.to_string()),
    }
}
