//! A server's NUMA topology: what its flavor and image ask for.

use super::servers::allowed;
use crate::{app::App, input};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::microversion::feature;
use serde_json::json;

const INDEX: &str = "compute:server:topology:index";
const HOST: &str = "compute:server:topology:host:index";

/// The row.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/servers/{id}/topology", || web::route().to(index))
            .policy(&[INDEX, HOST])
            .window(feature::SERVER_TOPOLOGY)
            .summary("Shows a server's NUMA topology"),
    ]
}

/// Guests have no NUMA nodes of their own here (what asks for them finds no host), which Nova shows as no nodes.
async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "server_topology.index?", req.query_string())?;
    allowed(&app, &ctx, &id, INDEX).await?;
    json(&json!({"nodes": [], "pagesize_kb": null}))
}
