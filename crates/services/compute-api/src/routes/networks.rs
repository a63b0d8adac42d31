//! Networks through 2.35, passed on to the network service with the caller's token.

use crate::{app::App, input, network::segment, proxy::Call, view::networks as view};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::{
    Error, ErrorKind, Result,
    microversion::{Feature, until},
};
use serde_json::{Value, json};

const LIST: &str = "os_compute_api:os-networks:list";
const SHOW: &str = "os_compute_api:os-networks:show";
const TENANT_LIST: &str = "os_compute_api:os-tenant-networks:list";
const TENANT_SHOW: &str = "os_compute_api:os-tenant-networks:show";
const WINDOW: Feature = until(35);

/// The rows.
pub fn routes() -> Vec<Route> {
    let rows = vec![
        Route::get("/v2.1/os-networks", || web::route().to(index)).policy(&[LIST]).summary("Lists networks"),
        Route::get("/v2.1/os-networks/{id}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows a network"),
        Route::get("/v2.1/os-tenant-networks", || web::route().to(tenant_index))
            .policy(&[TENANT_LIST])
            .summary("Lists a project's networks"),
        Route::get("/v2.1/os-tenant-networks/{id}", || web::route().to(tenant_show))
            .policy(&[TENANT_SHOW])
            .summary("Shows a project's network"),
    ];
    rows.into_iter().map(|row| row.window(WINDOW)).collect()
}

/// The networks that servers of the caller may be in: the project's own and the shared ones.
async fn all(app: &App, ctx: &Ctx) -> Result<Vec<Value>> {
    let project = ctx.caller()?.project_id();
    let mut found = app.network.pass_list(ctx, "networks", "networks").await?;
    found.retain(|n| n["shared"] == true || n["project_id"] == project);
    Ok(found)
}

async fn one(app: &App, ctx: &Ctx, id: &str) -> Result<Value> {
    match app.network.pass(ctx, Call::get(&format!("networks/{}", segment(id)))).await {
        Ok(mut body) => Ok(body["network"].take()),
        Err(error) if error.kind == ErrorKind::NotFound => Err(Error::not_found("Network not found")),
        Err(error) => Err(error),
    }
}

fn own(ctx: &Ctx) -> Result<[(&'static str, &str); 1]> {
    Ok([("project_id", ctx.caller()?.project_id())])
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce(LIST, &own(&ctx)?)?;
    input::query(&ctx, "networks.index?", req.query_string())?;
    let is_admin = ctx.caller()?.is_admin();
    let items: Vec<Value> = all(&app, &ctx).await?.iter().map(|n| view::full(n, is_admin)).collect();
    json(&json!({"networks": items}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce(SHOW, &own(&ctx)?)?;
    input::query(&ctx, "networks.show?", req.query_string())?;
    let network = one(&app, &ctx, &id).await?;
    json(&json!({"network": view::full(&network, ctx.caller()?.is_admin())}))
}

async fn tenant_index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce(TENANT_LIST, &own(&ctx)?)?;
    input::query(&ctx, "tenant_networks.index?", req.query_string())?;
    let items: Vec<Value> = all(&app, &ctx).await?.iter().map(view::of_project).collect();
    json(&json!({"networks": items}))
}

async fn tenant_show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce(TENANT_SHOW, &own(&ctx)?)?;
    input::query(&ctx, "tenant_networks.show?", req.query_string())?;
    json(&json!({"network": view::of_project(&one(&app, &ctx, &id).await?)}))
}
