//! Limits of a project with what it uses.

use crate::{app::App, input, store::quota, view::quota_sets as view};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};

const RULE: &str = "os_compute_api:limits";
const OTHER: &str = "os_compute_api:limits:other_project";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/limits", || web::route().to(index))
            .policy(&[RULE, OTHER])
            .summary("Shows the limits and the usage of a project"),
    ]
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce(RULE, &[])?;
    let query = input::query(&ctx, "limits.index?", req.query_string())?;
    let project = match query.get("tenant_id") {
        Some(other) => {
            ctx.enforce(OTHER, &[])?;
            other
        }
        None => ctx.caller()?.project_id(),
    };
    let limits = quota::limits(&app.db, project, &app.settings.compute.quota).await?;
    let used = quota::used(&app.db, project, "").await?;
    json(&view::absolute(&limits, used, ctx.version))
}
