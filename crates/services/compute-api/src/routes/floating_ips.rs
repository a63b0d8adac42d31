//! Floating IPs through 2.35, passed on to the network service with the caller's token. Where it has none, there are
//! no pools and no addresses.

use crate::{app::App, input, network::segment, proxy::Call, view::networks as view};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{
    Error, ErrorKind, Result, id,
    microversion::{Feature, until},
};
use reqwest::Method;
use serde_json::{Value, json};

const POOLS: &str = "os_compute_api:os-floating-ip-pools";
const LIST: &str = "os_compute_api:os-floating-ips:list";
const SHOW: &str = "os_compute_api:os-floating-ips:show";
const CREATE: &str = "os_compute_api:os-floating-ips:create";
const DELETE: &str = "os_compute_api:os-floating-ips:delete";
const WINDOW: Feature = until(35);

/// The rows.
pub fn routes() -> Vec<Route> {
    let rows = vec![
        Route::get("/v2.1/os-floating-ip-pools", || web::route().to(pools))
            .policy(&[POOLS])
            .summary("Lists pools of floating IPs"),
        Route::get("/v2.1/os-floating-ips", || web::route().to(index))
            .policy(&[LIST])
            .summary("Lists floating IPs"),
        Route::post("/v2.1/os-floating-ips", || web::route().to(create))
            .policy(&[CREATE])
            .summary("Takes a floating IP from a pool"),
        Route::get("/v2.1/os-floating-ips/{id}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows a floating IP"),
        Route::delete("/v2.1/os-floating-ips/{id}", || web::route().to(delete))
            .policy(&[DELETE])
            .success(202)
            .summary("Gives a floating IP back"),
    ];
    rows.into_iter().map(|row| row.window(WINDOW)).collect()
}

fn own(ctx: &Ctx) -> Result<[(&'static str, &str); 1]> {
    Ok([("project_id", ctx.caller()?.project_id())])
}

/// The provider's outside networks.
async fn outside(app: &App, ctx: &Ctx) -> Result<Vec<Value>> {
    let mut found = app.network.pass_list(ctx, "networks?router:external=True", "networks").await?;
    found.retain(|n| n["router:external"] == true);
    Ok(found)
}

fn name(network: &Value) -> &str {
    network["name"].as_str().filter(|n| !n.is_empty()).or(network["id"].as_str()).unwrap_or_default()
}

async fn pools(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce(POOLS, &[])?;
    input::query(&ctx, "floating_ip_pools.index?", req.query_string())?;
    let items: Vec<Value> = outside(&app, &ctx).await?.iter().map(|n| json!({"name": name(n)})).collect();
    json(&json!({"floating_ip_pools": items}))
}

/// A floating IP as it is shown: with the pool's name and the server at whose port it is.
async fn shown(app: &App, ctx: &Ctx, ip: &Value, pools: &[Value]) -> Result<Value> {
    let pool = pools.iter().find(|n| n["id"] == ip["floating_network_id"]).map_or("", name);
    let mut server = None;
    if let Some(port) = ip["port_id"].as_str() {
        server = Some(app.network.port_as(port, ctx.caller()?, &ctx.request_id).await?.device_id);
    }
    Ok(view::floating_ip(ip, pool, server.as_deref().filter(|id| !id.is_empty())))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce(LIST, &own(&ctx)?)?;
    input::query(&ctx, "floating_ips.index?", req.query_string())?;
    let path = format!("floatingips?project_id={}", segment(ctx.caller()?.project_id()));
    let ips = app.network.pass_list(&ctx, &path, "floatingips").await?;
    let pools = if ips.is_empty() { Vec::new() } else { outside(&app, &ctx).await? };
    let mut items = Vec::with_capacity(ips.len());
    for ip in &ips {
        items.push(shown(&app, &ctx, ip, &pools).await?);
    }
    json(&json!({"floating_ips": items}))
}

async fn find(app: &App, ctx: &Ctx, id: &str) -> Result<Value> {
    let short: String = id.chars().take(255).collect();
    if !id::is_uuid_like(id) {
        return Err(Error::bad_request(format!("Invalid floating IP ID {short}")));
    }
    match app.network.pass(ctx, Call::get(&format!("floatingips/{}", segment(id)))).await {
        Ok(mut body) => Ok(body["floatingip"].take()),
        Err(error) if error.kind == ErrorKind::NotFound => {
            Err(Error::not_found(format!("Floating IP not found for ID {short}")))
        }
        Err(error) => Err(error),
    }
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce(SHOW, &own(&ctx)?)?;
    input::query(&ctx, "floating_ips.show?", req.query_string())?;
    let ip = find(&app, &ctx, &id).await?;
    let pools = outside(&app, &ctx).await?;
    json(&json!({"floating_ip": shown(&app, &ctx, &ip, &pools).await?}))
}

async fn create(app: web::Data<App>, ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    ctx.enforce(CREATE, &own(&ctx)?)?;
    let body = input::body(&ctx, "floating_ips.create", body)?;
    let asked = body["pool"].as_str();
    let pools = outside(&app, &ctx).await?;
    let found = pools.iter().find(|n| match asked {
        Some(wanted) => n["id"] == wanted || n["name"] == wanted,
        None => true,
    });
    let Some(pool) = found else {
        return Err(match asked {
            Some(pool) => Error::not_found(format!("Floating IP pool {pool} not found.")),
            None => Error::not_found("Floating IP pool not found."),
        }
        .into());
    };
    let wanted = json!({"floatingip": {"floating_network_id": pool["id"]}});
    let mut made = app.network.pass(&ctx, Call::new(Method::POST, "floatingips").json(&wanted)).await?;
    json(&json!({"floating_ip": shown(&app, &ctx, &made["floatingip"].take(), &pools).await?}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce(DELETE, &own(&ctx)?)?;
    find(&app, &ctx, &id).await?;
    app.network.pass(&ctx, Call::new(Method::DELETE, &format!("floatingips/{}", segment(&id)))).await?;
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}
