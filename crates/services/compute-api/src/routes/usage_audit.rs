//! `os-instance_usage_audit_log`: which hosts counted the usage of the last month. As in a Nova without
//! `instance_usage_audit` none does: usage is counted from the servers when it is asked for.

use crate::{app::App, input, store::hosts, view::usage_audit as view};
use actix_web::{HttpRequest, web};
use chrono::NaiveDateTime;
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::{Error, Result};
use serde_json::json;

const LIST: &str = "os_compute_api:os-instance-usage-audit-log:list";
const SHOW: &str = "os_compute_api:os-instance-usage-audit-log:show";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-instance_usage_audit_log", || web::route().to(index))
            .policy(&[LIST])
            .summary("Shows the usage audits of the last whole month"),
        Route::get("/v2.1/os-instance_usage_audit_log/{before}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows the usage audits of the last whole month before a time"),
    ]
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    input::query(&ctx, "instance_usage_audit_log.index?", req.query_string())?;
    ctx.enforce(LIST, &[])?;
    let log = view::log(&hosts::list(&app.db).await?, chrono::Utc::now().naive_utc());
    json(&json!({"instance_usage_audit_logs": log}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, before: web::Path<String>) -> ApiResult {
    input::query(&ctx, "instance_usage_audit_log.show?", req.query_string())?;
    ctx.enforce(SHOW, &[])?;
    let log = view::log(&hosts::list(&app.db).await?, time(&before)?);
    json(&json!({"instance_usage_audit_log": log}))
}

fn time(text: &str) -> Result<NaiveDateTime> {
    let format = if text.contains('.') { "%Y-%m-%d %H:%M:%S%.f" } else { "%Y-%m-%d %H:%M:%S" };
    NaiveDateTime::parse_from_str(text, format).map_err(|_| {
        let short: String = text.chars().take(255).collect();
        Error::bad_request(format!("Invalid timestamp for date {short}"))
    })
}
