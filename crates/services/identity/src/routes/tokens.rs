//! `/v3/auth/tokens`

use crate::{
    answers::Answer,
    app::App,
    auth::{self, Context, Login, Partial},
    endpoint_filter, faults,
    source::Source,
    view,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    http::header::HeaderName,
    http::header::HeaderValue,
    web::{self, Bytes},
};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, created, no_content, query_pairs};
use ferrostack_model::{Error, Result, RevocationEvent, TokenClaims};
use serde_json::Value;

const PATH: &str = "/v3/auth/tokens";
const SUBJECT: &str = "x-subject-token";
/// By this header a service says that it keeps to access rules, `1.0` or later.
const ACCESS_RULES: &str = "openstack-identity-access-rules";
const RECEIPT: &str = "openstack-auth-receipt";

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::post(PATH, || web::route().to(issue))
            .public()
            .body(auth::schema)
            .success(201)
            .summary("Authenticate and get a token"),
        Route::get(PATH, || web::route().to(validate))
            .policy(&["identity:validate_token", "identity:check_token"])
            .summary("Validate and show a token"),
        Route::delete(PATH, || web::route().to(revoke))
            .policy(&["identity:revoke_token"])
            .success(204)
            .summary("Revoke a token"),
    ]
}

/// The catalog as the token's holder sees it.
pub(super) async fn catalog_for(app: &App, context: &Context) -> Result<Value> {
    let (services, endpoints) = endpoint_filter::catalog_of(&app.db, context.project_id()).await?;
    Ok(view::catalog::catalog(&services, &endpoints, context.project_id(), &context.user.id))
}

pub(super) async fn body(
    app: &App,
    req: &HttpRequest,
    claims: &TokenClaims,
    context: &Context,
) -> Result<Value> {
    let plain = query_pairs(req.query_string()).iter().any(|(name, _)| name == "nocatalog");
    let catalog = if plain { None } else { Some(catalog_for(app, context).await?) };
    Ok(view::token::token(claims, context, catalog))
}

pub(super) fn with_token(mut response: HttpResponse, token: &str) -> ApiResult {
    response.headers_mut().insert(HeaderName::from_static(SUBJECT), header_of(token)?);
    Ok(response)
}

fn header_of(token: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(token).map_err(|_| Error::internal("a token is no header value"))
}

async fn issue(app: web::Data<App>, req: HttpRequest, input: JsonBody) -> ApiResult {
    let from = Source::of(&req, &app.compliance.rules().trusted_proxies);
    let earlier = req.headers().get(RECEIPT).map(|value| value.to_str().unwrap_or_default());
    let issued = match auth::login(&app, &input.0, &from, earlier).await? {
        Login::Token(issued) => issued,
        Login::Receipt(partial) => return with_receipt(&partial),
    };
    let body = body(&app, &req, &issued.claims, &issued.context).await?;
    with_token(created(&body)?, &issued.id)
}

/// 401 with what is still asked for.
fn with_receipt(partial: &Partial) -> ApiResult {
    let value = HeaderValue::from_str(&partial.id).map_err(|_| Error::internal("a receipt is no header"))?;
    let mut response = HttpResponse::Unauthorized().json(view::receipt::receipt(partial));
    response.headers_mut().insert(HeaderName::from_static(RECEIPT), value);
    Ok(response)
}

fn subject_header(req: &HttpRequest) -> Option<&str> {
    let mut given = req.headers().get_all(SUBJECT);
    let one = given.next()?;
    // Several are none: another reader might take the other one.
    if given.next().is_some() { None } else { one.to_str().ok() }
}

/// The subject token's claims if the policy lets the caller at it. Without the header the policy comes first, so
/// only who may see any token learns that it is missing.
async fn subject(
    app: &App,
    ctx: &Ctx,
    req: &HttpRequest,
    rule: &str,
    window: i64,
) -> Result<(String, TokenClaims, Context)> {
    let Some(token) = subject_header(req) else {
        ctx.enforce(rule, &[])?;
        return Err(Error::not_found("No token in the request"));
    };
    let (claims, context) = auth::subject_of(app, token, window).await?.ok_or_else(faults::no_such_token)?;
    ctx.enforce(rule, &[("target.token.user_id", &claims.sub)])?;
    Ok((token.to_owned(), claims, context))
}

fn keeps_access_rules(req: &HttpRequest) -> bool {
    let version = req.headers().get(ACCESS_RULES).and_then(|v| v.to_str().ok());
    version.and_then(|v| v.trim().parse::<f64>().ok()).is_some_and(|v| v >= 1.0)
}

/// Whether a service asks for a token that may have expired while it was at work.
fn allows_expired(req: &HttpRequest) -> bool {
    let query = query_pairs(req.query_string());
    let asked = query.iter().find(|(name, _)| name == "allow_expired").map(|(_, value)| value);
    asked.is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "1" | "t" | "true" | "on" | "y" | "yes"))
}

async fn validate(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let rule = if req.method() == Method::HEAD { "identity:check_token" } else { "identity:validate_token" };
    // Answers are kept for the two common questions.
    let plain = match req.query_string() {
        "" => Some(false),
        "nocatalog" => Some(true),
        _ => None,
    };
    if let (Some(plain), Some(token)) = (plain, subject_header(&req))
        && let Some(known) = app.answers.get(token, plain, (app.epoch().await?, app.keys.losses()))
    {
        ctx.enforce(rule, &[("target.token.user_id", &known.claims.sub)])?;
        check_access_rules(&known.claims, &req)?;
        return Ok(shown(known.header.clone(), known.body.clone()));
    }
    let state = app.step.epoch().map(|epoch| (epoch, app.keys.losses()));
    let window = if allows_expired(&req) { app.allow_expired_window } else { 0 };
    let (token, claims, context) = subject(&app, &ctx, &req, rule, window).await?;
    check_access_rules(&claims, &req)?;
    let body = serde_json::to_vec(&body(&app, &req, &claims, &context).await?)
        .map_err(|e| Error::internal(format!("encoding an answer: {e}")))?;
    let (header, body) = (header_of(&token)?, Bytes::from(body));
    if let (Some(plain), Some(state)) = (plain, state) {
        let answer = Answer { state, claims, header: header.clone(), body: body.clone() };
        app.answers.insert(&token, plain, answer);
    }
    Ok(shown(header, body))
}

fn shown(token: HeaderValue, body: Bytes) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type("application/json").insert_header((HeaderName::from_static(SUBJECT), token));
    response.body(body)
}

/// 404 for a token with access rules if the service does not know of rules: it would let the token do anything.
fn check_access_rules(claims: &TokenClaims, req: &HttpRequest) -> Result<()> {
    if claims.app_cred.as_ref().is_some_and(|c| c.access_rules.is_some()) && !keeps_access_rules(req) {
        return Err(Error::not_found("Failed to validate token"));
    }
    Ok(())
}

async fn revoke(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let (_, claims, _) = subject(&app, &ctx, &req, "identity:revoke_token", 0).await?;
    end(&app, &claims).await?;
    no_content()
}

/// Revokes one token.
pub(super) async fn end(app: &App, claims: &TokenClaims) -> Result<()> {
    let mut work = app.begin().await?;
    work.revoke(RevocationEvent {
        // The token may come from a replica whose clock is ahead of ours.
        issued_before: claims.iat_us,
        audit_id: claims.aud_ids.first().cloned(),
        ..Default::default()
    });
    app.commit(work).await
}
