//! Security groups through 2.35, and those of servers, passed on to the network service with the caller's token.
//! Where it has none, there are none.

use super::servers::allowed;
use crate::{app::App, input, network::segment, proxy::Call, view::security_groups as view};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{
    Error, ErrorKind, Result, id,
    microversion::{Feature, until},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

const GET: &str = "os_compute_api:os-security-groups:get";
const SHOW: &str = "os_compute_api:os-security-groups:show";
const CREATE: &str = "os_compute_api:os-security-groups:create";
const UPDATE: &str = "os_compute_api:os-security-groups:update";
const DELETE: &str = "os_compute_api:os-security-groups:delete";
const RULE_CREATE: &str = "os_compute_api:os-security-groups:rule:create";
const RULE_DELETE: &str = "os_compute_api:os-security-groups:rule:delete";
const OF_SERVER: &str = "os_compute_api:os-security-groups:list";
const WINDOW: Feature = until(35);

/// The rows.
pub fn routes() -> Vec<Route> {
    let rows = vec![
        Route::get("/v2.1/os-security-groups", || web::route().to(index))
            .policy(&[GET])
            .summary("Lists security groups"),
        Route::post("/v2.1/os-security-groups", || web::route().to(create))
            .policy(&[CREATE])
            .summary("Creates a security group"),
        Route::get("/v2.1/os-security-groups/{id}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows a security group"),
        Route::put("/v2.1/os-security-groups/{id}", || web::route().to(update))
            .policy(&[UPDATE])
            .summary("Changes a security group"),
        Route::delete("/v2.1/os-security-groups/{id}", || web::route().to(delete))
            .policy(&[DELETE])
            .success(202)
            .summary("Deletes a security group"),
        Route::post("/v2.1/os-security-group-rules", || web::route().to(create_rule))
            .policy(&[RULE_CREATE])
            .summary("Adds a rule to a security group"),
        Route::delete("/v2.1/os-security-group-rules/{id}", || web::route().to(delete_rule))
            .policy(&[RULE_DELETE])
            .success(202)
            .summary("Deletes a rule of a security group"),
    ];
    let mut rows: Vec<Route> = rows.into_iter().map(|row| row.window(WINDOW)).collect();
    rows.push(
        Route::get("/v2.1/servers/{server_id}/os-security-groups", || web::route().to(of_server))
            .policy(&[OF_SERVER])
            .summary("Lists the security groups of a server"),
    );
    rows
}

fn own(ctx: &Ctx) -> Result<[(&'static str, &str); 1]> {
    Ok([("project_id", ctx.caller()?.project_id())])
}

async fn all(app: &App, ctx: &Ctx) -> Result<Vec<Value>> {
    app.network.pass_list(ctx, "security-groups", "security_groups").await
}

/// Name and project of every group that the caller sees.
fn names(groups: &[Value]) -> HashMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    groups.iter().map(|g| (text(&g["id"]), (text(&g["name"]), text(&g["project_id"])))).collect()
}

fn uuid(id: &str) -> Result<()> {
    if id::is_uuid_like(id) { Ok(()) } else { Err(Error::bad_request("Security group id should be uuid")) }
}

fn not_found(error: Error, id: &str) -> Error {
    match error.kind {
        ErrorKind::NotFound => {
            let short: String = id.chars().take(255).collect();
            Error::not_found(format!("Security group {short} not found."))
        }
        _ => error,
    }
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce(GET, &own(&ctx)?)?;
    let query = input::query(&ctx, "security_groups.list?", req.query_string())?;
    let everywhere = ctx.caller()?.is_admin() && query.is_true("all_tenants");
    let groups = all(&app, &ctx).await?;
    let (names, project) = (names(&groups), ctx.caller()?.project_id());
    let mut items: Vec<Value> = groups
        .iter()
        .filter(|g| everywhere || g["project_id"] == project)
        .map(|g| view::group(g, &|id| names.get(id).cloned()))
        .collect();
    items.sort_by_key(|g| (g["tenant_id"].to_string(), g["name"].to_string()));
    let offset = query.get("offset").and_then(|n| n.parse().ok()).unwrap_or(0);
    let limit = usize::try_from(query.limit(app.settings.compute.max_limit)).unwrap_or(usize::MAX);
    let items: Vec<Value> = items.into_iter().skip(offset).take(limit).collect();
    json(&json!({"security_groups": items}))
}

async fn answer(app: &App, ctx: &Ctx, group: &Value) -> ApiResult {
    let groups = all(app, ctx).await?;
    let names = names(&groups);
    json(&json!({"security_group": view::group(group, &|id| names.get(id).cloned())}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce(SHOW, &own(&ctx)?)?;
    input::query(&ctx, "security_groups.show?", req.query_string())?;
    uuid(&id)?;
    let path = format!("security-groups/{}", segment(&id));
    let found = app.network.pass(&ctx, Call::get(&path)).await.map_err(|e| not_found(e, &id))?;
    answer(&app, &ctx, &found["security_group"]).await
}

fn wanted(body: &Value) -> Value {
    let asked = &body["security_group"];
    let text = |name: &str| asked[name].as_str().unwrap_or_default().trim().to_owned();
    json!({"security_group": {"name": text("name"), "description": text("description")}})
}

async fn create(app: web::Data<App>, ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "security_groups.create", body)?;
    ctx.enforce(CREATE, &own(&ctx)?)?;
    let call = wanted(&body);
    let made = app.network.pass(&ctx, Call::new(Method::POST, "security-groups").json(&call)).await?;
    answer(&app, &ctx, &made["security_group"]).await
}

async fn update(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "security_groups.update", body)?;
    ctx.enforce(UPDATE, &own(&ctx)?)?;
    uuid(&id)?;
    let (path, call) = (format!("security-groups/{}", segment(&id)), wanted(&body));
    let call = Call::new(Method::PUT, &path).json(&call);
    let changed = app.network.pass(&ctx, call).await.map_err(|e| not_found(e, &id))?;
    answer(&app, &ctx, &changed["security_group"]).await
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce(DELETE, &own(&ctx)?)?;
    uuid(&id)?;
    let path = format!("security-groups/{}", segment(&id));
    app.network.pass(&ctx, Call::new(Method::DELETE, &path)).await.map_err(|error| match error.kind {
        // As Nova says it of a group in use.
        ErrorKind::Conflict => Error { kind: ErrorKind::BadRequest, ..error },
        _ => not_found(error, &id),
    })?;
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}

/// A port of a rule: none where it is -1.
fn port(value: &Value) -> Result<Option<i64>> {
    match value {
        Value::Null => Ok(None),
        value => Ok(Some(input::integer(value)?).filter(|n| *n != -1)),
    }
}

async fn create_rule(app: web::Data<App>, ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    ctx.enforce(RULE_CREATE, &own(&ctx)?)?;
    let asked = &body["security_group_rule"];
    if !asked.is_object() {
        return Err(Error::bad_request("Missing parameter dict: security_group_rule").into());
    }
    let parent = asked["parent_group_id"].as_str().unwrap_or_default();
    uuid(parent)?;
    let mut rule = json!({"direction": "ingress", "security_group_id": parent});
    if let Some(protocol) = asked["ip_protocol"].as_str() {
        rule["protocol"] = json!(protocol.to_ascii_lowercase());
    }
    for (name, to) in [("from_port", "port_range_min"), ("to_port", "port_range_max")] {
        if let Some(port) = port(&asked[name])? {
            rule[to] = json!(port);
        }
    }
    match asked["group_id"].as_str() {
        Some(group) => {
            uuid(group)?;
            rule["remote_group_id"] = json!(group);
            rule["ethertype"] = json!("IPv4");
        }
        None => {
            let cidr = asked["cidr"].as_str().unwrap_or("0.0.0.0/0");
            rule["remote_ip_prefix"] = json!(cidr);
            rule["ethertype"] = json!(if cidr.contains(':') { "IPv6" } else { "IPv4" });
        }
    }
    let call = json!({"security_group_rule": rule});
    let call = Call::new(Method::POST, "security-group-rules").json(&call);
    let made = app.network.pass(&ctx, call).await.map_err(|e| not_found(e, parent))?;
    let groups = all(&app, &ctx).await?;
    let names = names(&groups);
    let rule = view::rule(&made["security_group_rule"], &|id| names.get(id).cloned());
    json(&json!({"security_group_rule": rule}))
}

async fn delete_rule(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce(RULE_DELETE, &own(&ctx)?)?;
    uuid(&id)?;
    let path = format!("security-group-rules/{}", segment(&id));
    app.network.pass(&ctx, Call::new(Method::DELETE, &path)).await.map_err(|error| match error.kind {
        ErrorKind::NotFound => Error::not_found(format!("Security group rule {} not found.", *id)),
        _ => error,
    })?;
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}

async fn of_server(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "security_groups.index?", req.query_string())?;
    let server = allowed(&app, &ctx, &id, OF_SERVER).await?;
    let path = format!("ports?device_id={}", segment(&server.id));
    let ports = app.network.pass_list(&ctx, &path, "ports").await?;
    let wanted: HashSet<&str> = ports
        .iter()
        .flat_map(|p| p["security_groups"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let groups = if wanted.is_empty() { Vec::new() } else { all(&app, &ctx).await? };
    let names = names(&groups);
    let items: Vec<Value> = groups
        .iter()
        .filter(|g| g["id"].as_str().is_some_and(|id| wanted.contains(id)))
        .map(|g| view::group(g, &|id| names.get(id).cloned()))
        .collect();
    json(&json!({"security_groups": items}))
}
