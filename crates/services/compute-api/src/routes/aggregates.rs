//! Host aggregates cannot be made yet, so there are none: the list says so, because clients read it when they show
//! a hypervisor. Everything else about them is absent.

use actix_web::web;
use ferrostack_http::{ApiResult, Ctx, Route, json};
use serde_json::json;

const LIST: &str = "os_compute_api:os-aggregates:index";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-aggregates", || web::route().to(index))
            .policy(&[LIST])
            .summary("Lists host aggregates"),
    ]
}

async fn index(ctx: Ctx) -> ApiResult {
    ctx.enforce(LIST, &[])?;
    json(&json!({"aggregates": []}))
}
