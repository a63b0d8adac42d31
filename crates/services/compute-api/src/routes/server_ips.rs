//! A server's addresses.

use super::servers::allowed;
use crate::{app::App, input, view::servers::addresses};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::Error;
use serde_json::json;

const INDEX: &str = "os_compute_api:ips:index";
const SHOW: &str = "os_compute_api:ips:show";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/servers/{id}/ips", || web::route().to(index))
            .policy(&[INDEX])
            .summary("Lists a server's addresses"),
        Route::get("/v2.1/servers/{id}/ips/{network}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Lists a server's addresses on one network"),
    ]
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "ips.index?", req.query_string())?;
    let server = allowed(&app, &ctx, &id, INDEX).await?;
    json(&json!({"addresses": addresses(&server.ports, false)}))
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "ips.show?", req.query_string())?;
    let (id, network) = path.into_inner();
    let server = allowed(&app, &ctx, &id, SHOW).await?;
    let mut all = addresses(&server.ports, false);
    let list = all
        .remove(&network)
        .ok_or_else(|| Error::not_found("Instance is not a member of specified network"))?;
    json(&json!({network: list}))
}
