//! `GET /servers/{id}/diagnostics`

use super::servers::allowed;
use crate::{agent, app::App, input, view::diagnostics};
use actix_web::{HttpRequest, web};
use ferrostack_client::transport_error;
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::{
    Error, Timestamp, diagnostics::Diagnostics, microversion::feature, server::PowerState,
};
use reqwest::Method;

const RULE: &str = "os_compute_api:os-server-diagnostics";

/// The row.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/servers/{id}/diagnostics", || web::route().to(show))
            .policy(&[RULE])
            .summary("Shows what a running server uses of its host"),
    ]
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "server_diagnostics.index?", req.query_string())?;
    let server = allowed(&app, &ctx, &id, RULE).await?;
    let response = agent::ask(&app, &server, Method::GET, "diagnostics", &ctx.request_id).await?;
    let told: Diagnostics = response.json().await.map_err(transport_error)?;
    if told.state != PowerState::Running {
        let state = diagnostics::state(told.state);
        return Err(Error::conflict(format!(
            "Cannot 'get_diagnostics' instance {} while it is in power state {state}",
            server.id
        ))
        .into());
    }
    if ctx.version.has(feature::DIAGNOSTICS_STANDARD) {
        return json(&diagnostics::standard(&told, &server, Timestamp::now()));
    }
    json(&diagnostics::plain(&told))
}
