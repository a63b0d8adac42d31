//! Hosts under their oldest name, through 2.42. Power actions are refused: no driver of ours switches a host.

use crate::{
    app::App,
    input,
    store::{
        hosts::{self, Host},
        services::{self, Change},
    },
    view::os_hosts as view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{
    Error, ErrorKind, Result,
    microversion::{Feature, until},
};
use serde_json::{Value, json};

const LIST: &str = "os_compute_api:os-hosts:list";
const SHOW: &str = "os_compute_api:os-hosts:show";
const UPDATE: &str = "os_compute_api:os-hosts:update";
const REBOOT: &str = "os_compute_api:os-hosts:reboot";
const SHUTDOWN: &str = "os_compute_api:os-hosts:shutdown";
const START: &str = "os_compute_api:os-hosts:start";
const WINDOW: Feature = until(42);

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-hosts", || web::route().to(index))
            .policy(&[LIST])
            .window(WINDOW)
            .summary("Lists hosts"),
        Route::get("/v2.1/os-hosts/{host}", || web::route().to(show))
            .policy(&[SHOW])
            .window(WINDOW)
            .summary("Shows the capacity and the use of a host"),
        Route::put("/v2.1/os-hosts/{host}", || web::route().to(update))
            .policy(&[UPDATE])
            .window(WINDOW)
            .summary("Enables or disables a host"),
        Route::get("/v2.1/os-hosts/{host}/reboot", || web::route().to(reboot))
            .policy(&[REBOOT])
            .window(WINDOW)
            .summary("Refused: no driver of ours reboots a host"),
        Route::get("/v2.1/os-hosts/{host}/shutdown", || web::route().to(shutdown))
            .policy(&[SHUTDOWN])
            .window(WINDOW)
            .summary("Refused: no driver of ours shuts a host down"),
        Route::get("/v2.1/os-hosts/{host}/startup", || web::route().to(startup))
            .policy(&[START])
            .window(WINDOW)
            .summary("Refused: no driver of ours starts a host"),
    ]
}

async fn power(app: &App, ctx: &Ctx, rule: &str, host: &str) -> ApiResult {
    ctx.enforce(rule, &[])?;
    find(app, host).await?;
    Err(Error::new(ErrorKind::NotImplemented, "The requested functionality is not supported.").into())
}

async fn reboot(app: web::Data<App>, ctx: Ctx, host: web::Path<String>) -> ApiResult {
    power(&app, &ctx, REBOOT, &host).await
}

async fn shutdown(app: web::Data<App>, ctx: Ctx, host: web::Path<String>) -> ApiResult {
    power(&app, &ctx, SHUTDOWN, &host).await
}

async fn startup(app: web::Data<App>, ctx: Ctx, host: web::Path<String>) -> ApiResult {
    power(&app, &ctx, START, &host).await
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "os_hosts.index?", req.query_string())?;
    ctx.enforce(LIST, &[])?;
    let zone = query.get("zone").filter(|z| !z.is_empty());
    let found = hosts::list(&app.db).await?;
    let items: Vec<Value> =
        found.iter().filter(|h| zone.is_none_or(|z| h.availability_zone == z)).map(view::basic).collect();
    json(&json!({"hosts": items}))
}

fn not_found(host: &str) -> Error {
    let short: String = host.chars().take(255).collect();
    Error::not_found(format!("Compute host {short} could not be found."))
}

async fn find(app: &App, host: &str) -> Result<Host> {
    hosts::get(&app.db, host).await?.ok_or_else(|| not_found(host))
}

async fn show(app: web::Data<App>, ctx: Ctx, host: web::Path<String>) -> ApiResult {
    ctx.enforce(SHOW, &[])?;
    let host = find(&app, &host).await?;
    json(&view::full(&host, &services::usage(&app.db, &host.host).await?))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    host: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "os_hosts.update", body)?;
    ctx.enforce(UPDATE, &[])?;
    find(&app, &host).await?;
    if body.get("maintenance_mode").is_some() {
        return Err(Error::new(ErrorKind::NotImplemented, "Unable to complete the requested action.").into());
    }
    let disabled = body["status"].as_str().is_some_and(|s| s.eq_ignore_ascii_case("disable"));
    let change = Change { disabled: Some(disabled), ..Change::default() };
    services::update(&app.db, &host, &change).await?.ok_or_else(|| not_found(&host))?;
    app.hosts.changed(&host);
    json(&json!({"host": *host, "status": if disabled { "disabled" } else { "enabled" }}))
}
