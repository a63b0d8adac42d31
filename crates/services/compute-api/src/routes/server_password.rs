//! `/servers/{id}/os-server-password`: what the guest posted, encrypted, to the metadata service.

use super::servers::allowed;
use crate::{agent, app::App, input, store::servers::states};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json, no_content};
use reqwest::Method;
use serde_json::json;

const SHOW: &str = "os_compute_api:os-server-password:show";
const CLEAR: &str = "os_compute_api:os-server-password:clear";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/servers/{id}/os-server-password", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows the encrypted password that a server's guest has posted"),
        Route::delete("/v2.1/servers/{id}/os-server-password", || web::route().to(clear))
            .policy(&[CLEAR])
            .success(204)
            .summary("Forgets the encrypted password that a server's guest has posted"),
    ]
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "server_password.index?", req.query_string())?;
    let server = allowed(&app, &ctx, &id, SHOW).await?;
    let password = states::posted_password(&app.db, &server.id).await?;
    json(&json!({"password": password.unwrap_or_default()}))
}

async fn clear(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let server = allowed(&app, &ctx, &id, CLEAR).await?;
    states::clear_posted_password(&app.db, &server.id).await?;
    // Its agent would refuse another.
    if server.host.is_some()
        && let Err(error) = agent::ask(&app, &server, Method::DELETE, "password", &ctx.request_id).await
    {
        tracing::info!(server = server.id, error = error.for_log(), "password not forgotten by the agent");
    }
    no_content()
}
