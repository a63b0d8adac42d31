//! The one middleware: request id, path forms, microversion, token, error body, access log, metrics.

use crate::{Access, ApiError, Ctx, Route, Style, access_rules, base_url, nova, server::ServiceSpec};
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, EitherBody, MessageBody},
    dev::{ResourceDef, ServiceRequest, ServiceResponse},
    error::InternalError,
    guard::{Guard, GuardContext},
    http::{
        Method, StatusCode, Uri, header,
        header::{HeaderMap, HeaderValue},
    },
    middleware::Next,
    web::{self, Bytes},
};
use ferrostack_model::{Caller, Error, ErrorKind, Feature, Microversion, Result, id};
use futures_util::FutureExt;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::Poll,
    time::Instant,
};
use tokio::sync::OwnedSemaphorePermit;

/// Longest path that is looked at or logged, bytes.
const MAX_PATH: usize = 8192;
/// Longest segment of a path that is logged, bytes: ids and names are shorter, tokens longer.
const MAX_SEGMENT: usize = 128;
/// The role of users that are services.
const SERVICE_ROLE: &str = "service";

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register(IntCounterVec::new(
        Opts::new("ferrostack_http_requests_total", "Answered HTTP requests"),
        &["service", "method", "status"],
    ))
});
static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register(HistogramVec::new(
        HistogramOpts::new("ferrostack_http_request_seconds", "Time to the answer's head"),
        &["service", "method"],
    ))
});

#[allow(clippy::expect_used)] // start-up: fixed names
fn register<C: prometheus::core::Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let metric = made.expect("metric definition");
    prometheus::default_registry().register(Box::new(metric.clone())).expect("metric name is unique");
    metric
}

/// Finds a path's rows in the table.
pub struct Matcher(Vec<(ResourceDef, Method, Access)>);

impl Matcher {
    pub fn new(routes: &[Route]) -> Self {
        Self(routes.iter().map(|r| (ResourceDef::new(r.path), r.method.clone(), r.access)).collect())
    }
    /// Whether any row has this path, whether one is for `method`, and whether that one is public.
    fn find(&self, path: &str, method: &Method, style: Style) -> Found {
        let mut found = Found::default();
        // Nova has no HEAD.
        let head = *method == Method::HEAD && style != Style::Nova;
        for (def, have, access) in &self.0 {
            if def.is_match(path) {
                found.path = true;
                if have == method || (head && *have == Method::GET) {
                    return Found { path: true, method: true, public: *access == Access::Public };
                }
            }
        }
        found
    }
}

/// What the table knows of a request.
#[derive(Clone, Copy, Default)]
struct Found {
    path: bool,
    method: bool,
    public: bool,
}

/// A route guard: the request's microversion is in the window.
pub struct InWindow(pub Feature);

impl Guard for InWindow {
    fn check(&self, ctx: &GuardContext<'_>) -> bool {
        ctx.req_data().get::<Ctx>().is_some_and(|c| c.version.has(self.0))
    }
}

/// The rest of a body that nobody will read. See [`Answer`].
pub(crate) struct Unread(#[allow(dead_code)] pub(crate) actix_web::dev::Payload);

/// For a handler that answers with an error before it has read the whole `body`: the connection is closed after the
/// answer, whatever more the client sends.
pub fn leave_unread(req: &HttpRequest, body: web::Payload) {
    req.extensions_mut().insert(Unread(body.into_inner()));
}

/// The body of an answer that comes before the request's end. What is unread is kept until all is sent: the connection
/// is closed then. Of a dropped one all chunks would be read, of which there may be no end.
struct Answer {
    body: BoxBody,
    _unread: Unread,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}

/// What the edge learns before the handler runs.
struct Prepared {
    version: Microversion,
    /// The version for the answer's headers, if it has them.
    stamp: Option<String>,
    legacy: bool,
    project_in_url: Option<String>,
    caller: Option<Arc<Caller>>,
    /// What the service wants to be held while the handler works.
    turn: Option<OwnedSemaphorePermit>,
}

pub async fn edge<B: MessageBody + 'static>(
    mut req: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let started = Instant::now();
    let spec = req.app_data::<web::Data<ServiceSpec>>().cloned();
    let matcher = req.app_data::<web::Data<Matcher>>().cloned();
    let (Some(spec), Some(matcher)) = (spec, matcher) else {
        return Err(ApiError(Error::internal("the edge has no service")).into());
    };
    // The id of the request that caused this one, by which it is followed through all services.
    let global = header_text(&req, "x-openstack-request-id")
        .filter(|text| {
            text.strip_prefix("req-").is_some_and(|rest| rest.len() == 36 && id::is_uuid_like(rest))
        })
        .map(str::to_owned);
    // Glance gives the client its own id back.
    let request_id = match &global {
        Some(theirs) if spec.style == Style::Glance => theirs.clone(),
        _ => id::request_id(),
    };
    let method = req.method().clone();
    let path = loggable(req.path());
    let accept = header_text(&req, header::ACCEPT.as_str()).map(str::to_owned);

    let burst = |stamp: Option<&str>| {
        // What it said may hold anything; the panic hook has logged where it was.
        tracing::error!(service = spec.name, request_id, %method, path, "a handler panicked");
        REQUESTS.with_label_values(&[spec.name, method.as_str(), "500"]).inc();
        InternalError::from_response("panic", panicked(&spec, &request_id, stamp, accept.as_deref()))
    };
    let (stamp, prepared) = match AssertUnwindSafe(prepare(&mut req, &spec, &matcher)).catch_unwind().await {
        Ok(Ok(p)) => (p.stamp.clone(), Ok(p)),
        Ok(Err((stamp, error))) => (stamp, Err(error)),
        Err(_panic) => return Err(burst(None).into()),
    };
    let user = prepared.as_ref().ok().and_then(|p| p.caller.as_ref()).map(|c| c.claims.sub.clone());
    let mut response = match prepared {
        Ok(p) => {
            req.extensions_mut().insert(Ctx {
                request_id: request_id.clone(),
                version: p.version,
                legacy: p.legacy,
                project_in_url: p.project_in_url,
                style: spec.style,
                policy: spec.policy.clone(),
                caller: p.caller,
            });
            let turn = p.turn;
            let done = AssertUnwindSafe(next.call(req)).catch_unwind().await;
            drop(turn);
            match done {
                Ok(Ok(response)) => response.map_into_left_body(),
                Ok(Err(error)) => return Err(error),
                Err(_panic) => return Err(burst(stamp.as_deref()).into()),
            }
        }
        Err(error) => {
            let mut answer = HttpResponse::new(spec.style.status(&error));
            answer.extensions_mut().insert(error);
            let body = req.take_payload();
            req.extensions_mut().insert(Unread(body));
            req.into_response(answer).map_into_right_body()
        }
    };

    let failed = response.response_mut().extensions_mut().remove::<Error>();
    if let Some(error) = failed {
        if error.kind.http() >= 500 {
            tracing::error!(service = spec.name, request_id, error = error.for_log(), "request failed");
        } else if let Some(internal) = &error.internal {
            tracing::debug!(service = spec.name, request_id, internal, "request refused");
        }
        response = render(response, &spec, &error, accept.as_deref());
    }
    let unread = response.request().extensions_mut().remove::<Unread>();
    if let Some(unread) = unread {
        response = response.map_body(|_, body| match body {
            EitherBody::Right { body } => EitherBody::right(BoxBody::new(Answer { body, _unread: unread })),
            left => left,
        });
    }
    headers(response.headers_mut(), &spec, &request_id, stamp.as_deref());

    let status = response.status().as_u16();
    REQUESTS.with_label_values(&[spec.name, method.as_str(), &status.to_string()]).inc();
    SECONDS.with_label_values(&[spec.name, method.as_str()]).observe(started.elapsed().as_secs_f64());
    // What our own services and monitors ask every second is for debugging only.
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    if path.starts_with("/v3/ferrostack/") || matches!(path.as_str(), "/healthcheck" | "/metrics") {
        tracing::debug!(target: "access", service = spec.name, request_id, global, %method, path, status, ms, user);
    } else {
        tracing::info!(target: "access", service = spec.name, request_id, global, %method, path, status, ms, user);
    }
    Ok(response)
}

async fn prepare(
    req: &mut ServiceRequest,
    spec: &ServiceSpec,
    matcher: &Matcher,
) -> Result<Prepared, (Option<String>, Error)> {
    if req.uri().to_string().len() > MAX_PATH {
        return Err((None, Error::bad_request("The request URI is too long.")));
    }
    // No name or id has a NUL, and PostgreSQL refuses it in any text.
    if req.uri().to_string().contains("%00") {
        return Err((None, Error::bad_request("The request URI holds a NUL character.")));
    }
    let asked_for = req.path().to_owned();
    let shape = reshape(spec.style, req.path());
    if shape.path != req.path() {
        rewrite(req, &shape.path);
    }
    let mut path = req.path().to_owned();
    let nova = spec.style == Style::Nova;
    let mut found = matcher.find(&path, req.method(), spec.style);
    // What has no version that Glance knows gets the list of those that it does, whatever the method.
    let known = matches!(path.split('/').nth(1), Some("v2" | "healthcheck" | "metrics"));
    if spec.style == Style::Glance && !known && (!found.path || path == "/") {
        rewrite(req, "/");
        // The answer to a HEAD still goes without its body.
        req.head_mut().method = Method::GET;
        path = "/".into();
        found = matcher.find(&path, req.method(), spec.style);
    }
    // Nova's CORS layer answers every OPTIONS, and a path without a version gets the list of versions.
    let free = matches!(path.as_str(), "/healthcheck" | "/metrics")
        || (nova && (*req.method() == Method::OPTIONS || !is_versioned(&path)));
    // Keystone looks at the route first; the others put the token check before everything.
    let needs_token = !free && !found.public && (found.path || spec.style != Style::Keystone);
    let caller = if needs_token || found.public {
        match caller(req, spec, &asked_for).await {
            Ok(caller) => Some(caller),
            Err(_) if found.public => None,
            Err(error) => return Err((None, error)),
        }
    } else {
        None
    };
    let negotiates = nova && found.method && !shape.legacy && path.starts_with("/v2.1");
    let version = if negotiates { negotiate(req)? } else { Microversion::MIN };
    let stamp = negotiates.then(|| version.to_string());
    if let (Some(wanted), Some(caller)) = (&shape.project_id, &caller)
        && wanted.replace('-', "") != caller.project_id().replace('-', "")
    {
        let text = format!(
            "Malformed request URL: URL's project_id '{wanted}' doesn't match Context's project_id '{}'",
            caller.project_id()
        );
        return Err((stamp, Error::bad_request(text)));
    }
    // Strangers, monitors and lists of versions wait for nobody.
    let turn = match &caller {
        Some(_) => spec.health.turn(req.method(), &path).await.map_err(|error| (stamp.clone(), error))?,
        None => None,
    };
    Ok(Prepared { version, stamp, legacy: shape.legacy, project_in_url: shape.project_id, caller, turn })
}

/// A path as it may be logged: cut, and without what may be a token (OSSN-0023: v2.0 has tokens in its paths).
fn loggable(path: &str) -> String {
    let mut shown: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        let secret = segment.len() > MAX_SEGMENT || shown.last() == Some(&"tokens");
        shown.push(if secret && !segment.is_empty() { "***" } else { segment });
    }
    shown.join("/").chars().take(256).collect()
}

/// The caller by X-Auth-Token. A service that calls on a user's behalf says so with its own X-Service-Token: it
/// must be valid and have the role `service` (keystonemiddleware's `service_token_roles_required`), and then the
/// user's token may have expired meanwhile. It gives the request no rights of the service.
///
/// A token of an application credential with access rules may make only the requests they allow, unless a service
/// asks on its behalf, where it was checked.
async fn caller(req: &ServiceRequest, spec: &ServiceSpec, path: &str) -> Result<Arc<Caller>> {
    // Several are none: who stands before us might have read another one than we would.
    if ["x-auth-token", "x-service-token"].iter().any(|name| req.headers().get_all(*name).count() > 1) {
        return Err(Error::unauthorized());
    }
    let token = header_text(req, "x-auth-token").ok_or_else(Error::unauthorized)?;
    let vouched = match header_text(req, "x-service-token").filter(|t| !t.is_empty()) {
        Some(service) if spec.verifier.verify(service).await?.has_role(SERVICE_ROLE) => true,
        Some(_) => return Err(Error::unauthorized()),
        None => false,
    };
    if vouched {
        return spec.verifier.verify_vouched(token).await;
    }
    let caller = spec.verifier.verify(token).await?;
    // Our services' names are their types in the catalog.
    let allowed = match caller.claims.app_cred.as_ref().and_then(|c| c.access_rules.as_ref()) {
        Some(rules) => access_rules::allow(rules, spec.name, req.method().as_str(), path),
        None => true,
    };
    if allowed { Ok(caller) } else { Err(Error::unauthorized()) }
}

/// Whether Nova's URL map sends the path to one of its APIs or version documents.
fn is_versioned(path: &str) -> bool {
    path == "/" || matches!(path.split('/').nth(1), Some("v2" | "v2.1"))
}

/// A path in its one form, with what the other forms said.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    path: String,
    project_id: Option<String>,
    legacy: bool,
}

/// `//` is `/`, and a `/` at the end counts for nothing but in Glance; Nova: `/v2` is `/v2.1` and a project id after it is taken out; Glance: `/v2.N` is `/v2`; Neutron: `.json` goes.
fn reshape(style: Style, path: &str) -> Shape {
    let mut segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let slash =
        path.ends_with('/') && (segments.len() == 1 || style == Style::Glance && !segments.is_empty());
    let (mut project_id, mut legacy) = (None, false);
    if style == Style::Nova && segments.len() > 1 && matches!(segments[0], "v2" | "v2.1") {
        legacy = segments[0] == "v2";
        segments[0] = "v2.1";
        // Nova's pattern for the project segment; no collection's name fits it.
        let is_project = |s: &str| s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'));
        if segments.len() > 1 && is_project(segments[1]) {
            project_id = Some(segments.remove(1).to_owned());
        }
    }
    // Glance: every minor version is the same API.
    if style == Style::Glance
        && let Some(first) = segments.first_mut()
        && first
            .strip_prefix("v2.")
            .is_some_and(|n| n.parse::<u8>().is_ok_and(|v| v <= 17 && v.to_string() == n))
    {
        *first = "v2";
    }
    let mut joined = format!("/{}", segments.join("/"));
    if style == Style::Neutron
        && let Some(bare) = joined.strip_suffix(".json")
    {
        joined = bare.to_owned();
    }
    if slash {
        joined.push('/');
    }
    Shape { path: joined, project_id, legacy }
}

fn rewrite(req: &mut ServiceRequest, path: &str) {
    let full = match req.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = req.head().uri.clone().into_parts();
    parts.path_and_query = full.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        req.match_info_mut().get_mut().update(&uri);
        req.head_mut().uri = uri;
    }
}

/// The microversion headers, `OpenStack-API-Version` first. A version out of range is echoed in the answer's
/// headers; of a malformed one they say nothing.
fn negotiate(req: &ServiceRequest) -> Result<Microversion, (Option<String>, Error)> {
    let new = header_text(req, "openstack-api-version").and_then(|text| {
        text.split(',').find_map(|part| part.trim().strip_prefix("compute ").map(str::trim))
    });
    let wanted = match new.or_else(|| header_text(req, "x-openstack-nova-api-version")) {
        None => return Ok(Microversion::MIN),
        Some("latest") => return Ok(Microversion::MAX),
        Some(text) => text,
    };
    let is_version = wanted.split_once('.').is_some_and(|(major, minor)| {
        let digits = |s: &str| !s.is_empty() && s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit());
        digits(major) && digits(minor) && !major.starts_with('0') && (minor == "0" || !minor.starts_with('0'))
    });
    if !is_version {
        let short: String = wanted.chars().take(64).collect();
        let text =
            format!("API Version String {short} is of invalid format. Must be of format MajorNum.MinorNum.");
        return Err((None, Error::bad_request(text)));
    }
    match wanted.parse::<Microversion>() {
        Ok(v) if v >= Microversion::MIN && v <= Microversion::MAX => Ok(v),
        _ => {
            let text = format!(
                "Version {wanted} is not supported by the API. Minimum is {} and maximum is {}.",
                Microversion::MIN,
                Microversion::MAX
            );
            Err((Some(wanted.to_owned()), Error::new(ErrorKind::NotAcceptable, text)))
        }
    }
}

fn render<B: MessageBody + 'static>(
    response: ServiceResponse<EitherBody<B>>,
    spec: &ServiceSpec,
    error: &Error,
    accept: Option<&str>,
) -> ServiceResponse<EitherBody<B>> {
    let of_request = match spec.style {
        Style::Glance => {
            let request = response.request();
            let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
            crate::style::of_request(error, request.method().as_str(), media_type.unwrap_or(""), accept)
        }
        _ => None,
    };
    let (content_type, body) = of_request.unwrap_or_else(|| spec.style.body(error, accept));
    let status = spec.style.status(error);
    let (request, old) = response.into_parts();
    let mut answer = HttpResponse::build(status);
    answer.content_type(content_type);
    for (name, value) in old.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            answer.append_header((name.clone(), value.clone()));
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        answer.insert_header((
            header::WWW_AUTHENTICATE,
            format!("Keystone uri=\"{}\"", spec.verifier.auth_uri()),
        ));
    }
    if let Some(seconds) = error.retry_after {
        answer.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    let answer: HttpResponse<BoxBody> = answer.body(body);
    ServiceResponse::new(request, answer).map_into_right_body()
}

/// The answer to a request whose handler panicked: what any fault of ours is answered.
fn panicked(
    spec: &ServiceSpec,
    request_id: &str,
    version: Option<&str>,
    accept: Option<&str>,
) -> HttpResponse {
    let error = Error::internal("a handler panicked");
    let (content_type, body) = spec.style.body(&error, accept);
    let mut answer = HttpResponse::build(spec.style.status(&error)).content_type(content_type).body(body);
    headers(answer.headers_mut(), spec, request_id, version);
    answer
}

fn headers(map: &mut HeaderMap, spec: &ServiceSpec, request_id: &str, version: Option<&str>) {
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            map.insert(header::HeaderName::from_static(name), value);
        }
    };
    set("x-openstack-request-id", request_id);
    set("x-content-type-options", "nosniff");
    match spec.style {
        Style::Keystone => set("vary", "X-Auth-Token"),
        Style::Nova => {
            set("x-compute-request-id", request_id);
            if let Some(version) = version {
                set("openstack-api-version", &format!("compute {version}"));
                set("x-openstack-nova-api-version", version);
                set("vary", "OpenStack-API-Version");
                map.append(header::VARY, HeaderValue::from_static("X-OpenStack-Nova-API-Version"));
            }
        }
        Style::Glance | Style::Neutron => {}
    }
}

fn header_text<'a>(req: &'a ServiceRequest, name: &str) -> Option<&'a str> {
    req.headers().get(name).and_then(|v| v.to_str().ok()).map(str::trim)
}

/// No row has the path.
pub async fn not_found(req: HttpRequest, ctx: Ctx) -> Result<HttpResponse, ApiError> {
    if ctx.style == Style::Nova {
        return Ok(no_route(&req));
    }
    if ctx.style == Style::Keystone {
        let body = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n";
        return Ok(HttpResponse::NotFound().content_type("text/html; charset=utf-8").body(body));
    }
    Err(Error::not_found("The resource could not be found.").into())
}

/// Nova's answer to what no row has.
fn no_route(req: &HttpRequest) -> HttpResponse {
    if *req.method() == Method::OPTIONS {
        return HttpResponse::Ok().finish();
    }
    if !is_versioned(req.path()) {
        return nova::choices(&base_url(req), req.path());
    }
    nova::no_route(req.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()))
}

/// The path exists but not for this method, or not at this microversion (then 404).
pub fn method_not_allowed(
    allowed: String,
) -> impl Fn(HttpRequest, Ctx) -> std::future::Ready<Result<HttpResponse, ApiError>> + Clone {
    move |req, ctx| {
        let has_method = allowed.split(", ").any(|m| m == req.method().as_str());
        std::future::ready(if has_method {
            Err(Error::not_found("The resource could not be found.").into())
        } else if ctx.style == Style::Nova {
            Ok(no_route(&req))
        } else {
            let mut response = match ctx.style {
                Style::Keystone => HttpResponse::MethodNotAllowed()
                    .json(serde_json::json!({"message": "The method is not allowed for the requested URL."})),
                _ => {
                    let text = "The server could not comply with the request since it is either malformed or otherwise incorrect.";
                    let mut response = HttpResponse::MethodNotAllowed().finish();
                    response.extensions_mut().insert(Error::new(ErrorKind::MethodNotAllowed, text));
                    response
                }
            };
            if let Ok(value) = HeaderValue::from_str(&allowed) {
                response.headers_mut().insert(header::ALLOW, value);
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ossn_0023_no_token_in_a_logged_path() {
        let token = format!("eyJ{}", "x".repeat(600));
        assert_eq!(loggable(&format!("/v2.0/tokens/{token}")), "/v2.0/tokens/***");
        assert_eq!(loggable("/v2.0//tokens/short/endpoints"), "/v2.0//tokens/***/endpoints");
        assert_eq!(loggable(&format!("/{token}/tokens/")), "/***/tokens/");
        assert_eq!(loggable("/v3/auth/tokens"), "/v3/auth/tokens");
        assert_eq!(loggable(&"/a".repeat(500)).len(), 256);
    }

    #[test]
    fn one_form_for_every_path() {
        let id = "0123456789abcdef0123456789abcdef";
        let shape = reshape(Style::Nova, &format!("/v2/{id}//servers/"));
        assert_eq!(shape, Shape { path: "/v2.1/servers".into(), project_id: Some(id.into()), legacy: true });
        assert_eq!(reshape(Style::Nova, "/v2.1/").path, "/v2.1/");
        assert_eq!(reshape(Style::Neutron, "/v2.0/networks.json").path, "/v2.0/networks");
        assert_eq!(reshape(Style::Glance, "/v2/images").path, "/v2/images");
        assert_eq!(reshape(Style::Glance, "/v2/images/").path, "/v2/images/");
        assert_eq!(reshape(Style::Glance, "/v2.9/images").path, "/v2/images");
        assert_eq!(reshape(Style::Glance, "/v2.x/images").path, "/v2.x/images");
        assert_eq!(reshape(Style::Keystone, "//v3//users").path, "/v3/users");
    }
}
