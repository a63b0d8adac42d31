//! `/v2.0/tokens`

use super::nothing;
use crate::{
    app::App,
    auth::{self, Context, Scope},
    bootstrap::DEFAULT_DOMAIN,
    faults, list,
    routes::tokens::{catalog_for, end},
    source::Source,
    view::v2,
};
use actix_web::{HttpRequest, http::Method, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, TokenClaims};
use serde_json::{Map, Value, json};

const ONE: &str = "/v2.0/tokens/{token_id}";
const SHOW: &[&str] = &["identity:validate_token", "identity:check_token"];

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::post("/v2.0/tokens", || web::route().to(issue))
            .public()
            .summary("Authenticate and get a token (v2.0)"),
        Route::get(ONE, || web::route().to(validate))
            .policy(SHOW)
            .summary("Validate and show a token (v2.0)"),
        Route::delete(ONE, || web::route().to(revoke))
            .policy(&["identity:revoke_token"])
            .success(204)
            .summary("Revoke a token (v2.0)"),
        Route::get("/v2.0/tokens/{token_id}/endpoints", || web::route().to(endpoints))
            .policy(SHOW)
            .summary("List a token's endpoints (v2.0)"),
    ]
}

/// The text `name`; a text that is empty or null is none.
fn text<'v>(of: &'v Map<String, Value>, name: &str) -> Result<Option<&'v str>> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|t| !t.is_empty()).map(String::as_str)),
        Some(_) => Err(Error::bad_request(format!(
            "Invalid input for field/attribute {name}. It is not of type 'string'"
        ))),
    }
}

fn object<'v>(of: &'v Map<String, Value>, name: &str) -> Result<Option<&'v Map<String, Value>>> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(Error::bad_request(format!(
            "Invalid input for field/attribute {name}. It is not of type 'object'"
        ))),
    }
}

/// The request as v3 has it, for the domain Default.
fn translate(app: &App, body: &Value) -> Result<Value> {
    let nothing = Map::new();
    let body = body.as_object().unwrap_or(&nothing);
    let auth = object(body, "auth")?.ok_or_else(|| faults::expected("auth", "request body"))?;
    if auth.get("trust_id").is_some_and(|id| !id.is_null()) {
        return Err(Error::unauthorized());
    }
    let default = json!({"id": DEFAULT_DOMAIN});
    let identity = if let Some(token) = object(auth, "token")? {
        let id = text(token, "id")?.ok_or_else(|| faults::expected("id", "token"))?;
        // What v2.0 cannot say it does not carry on either.
        match app.keys.read(id) {
            Some(claims) if is_plain(&claims) => {}
            Some(_) => return Err(Error::unauthorized()),
            None => return Err(faults::no_such_token()),
        }
        json!({"methods": ["token"], "token": {"id": id}})
    } else {
        let credentials = object(auth, "passwordCredentials")?
            .ok_or_else(|| faults::expected("passwordCredentials", "auth"))?;
        let password = credentials
            .get("password")
            .filter(|p| !p.is_null())
            .ok_or_else(|| faults::expected("password", "passwordCredentials"))?;
        let user = match (text(credentials, "userId")?, text(credentials, "username")?) {
            (Some(id), _) => json!({"id": id, "password": password}),
            (None, Some(name)) => json!({"name": name, "domain": default, "password": password}),
            (None, None) => return Err(faults::expected("username or userId", "passwordCredentials")),
        };
        json!({"methods": ["password"], "password": {"user": user}})
    };
    let scope = match (text(auth, "tenantId")?, text(auth, "tenantName")?) {
        (Some(id), _) => json!({"project": {"id": id}}),
        (None, Some(name)) => json!({"project": {"name": name, "domain": default}}),
        (None, None) => json!("unscoped"),
    };
    Ok(json!({"auth": {"identity": identity, "scope": scope}}))
}

/// Whether v2.0 can say what the token is: a user of Default, for a project of Default or for nothing.
fn is_plain(claims: &TokenClaims) -> bool {
    let foreign = claims.project.as_ref().is_some_and(|p| p.domain.id != DEFAULT_DOMAIN);
    claims.dom.id == DEFAULT_DOMAIN
        && !foreign
        && claims.domain.is_none()
        && !claims.system
        && !claims.is_delegated()
}

async fn access(app: &App, id: &str, claims: &TokenClaims, context: &Context) -> Result<Value> {
    let catalog = match context.scope {
        Scope::Project(..) => catalog_for(app, context).await?,
        _ => Value::Null,
    };
    Ok(v2::access(id, claims, context, &catalog))
}

async fn issue(app: web::Data<App>, req: HttpRequest, input: JsonBody) -> ApiResult {
    let wanted = translate(&app, &input.0)?;
    let from = Source::of(&req, &app.compliance.rules().trusted_proxies);
    let issued = auth::issue(&app, &wanted, &from).await?;
    if !is_plain(&issued.claims) {
        return Err(Error::unauthorized().into());
    }
    json(&access(&app, &issued.id, &issued.claims, &issued.context).await?)
}

async fn subject(app: &App, ctx: &Ctx, token: &str, rule: &str) -> Result<(TokenClaims, Context)> {
    let found = auth::subject_of(app, token, 0).await?;
    let (claims, context) = match found {
        Some(found) => found,
        None => {
            // Who may not look at tokens does not learn which are good.
            ctx.enforce(rule, &[])?;
            return Err(faults::no_such_token());
        }
    };
    ctx.enforce(rule, &[("target.token.user_id", &claims.sub)])?;
    Ok((claims, context))
}

async fn shown(app: &App, ctx: &Ctx, req: &HttpRequest, token: &str) -> Result<Value> {
    let rule = if req.method() == Method::HEAD { SHOW[1] } else { SHOW[0] };
    let (claims, context) = subject(app, ctx, token, rule).await?;
    if !is_plain(&claims) {
        return Err(faults::no_such_token());
    }
    let query = query_pairs(req.query_string());
    let tenant = list::last(&query, "belongsTo");
    if !tenant.is_empty() && context.project_id() != Some(tenant) {
        return Err(Error::unauthorized());
    }
    access(app, token, &claims, &context).await
}

async fn validate(app: web::Data<App>, ctx: Ctx, req: HttpRequest, token: web::Path<String>) -> ApiResult {
    json(&shown(&app, &ctx, &req, &token).await?)
}

async fn endpoints(app: web::Data<App>, ctx: Ctx, req: HttpRequest, token: web::Path<String>) -> ApiResult {
    let access = shown(&app, &ctx, &req, &token).await?;
    json(&json!({"endpoints": v2::flat(&access), "endpoints_links": []}))
}

async fn revoke(app: web::Data<App>, ctx: Ctx, token: web::Path<String>) -> ApiResult {
    let (claims, _) = subject(&app, &ctx, &token, "identity:revoke_token").await?;
    end(&app, &claims).await?;
    nothing(no_content())
}
