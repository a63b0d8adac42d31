//! The list of extensions.

use crate::view::extensions as view;
use actix_web::web;
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::Error;

const RULE: &str = "os_compute_api:extensions";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/extensions", || web::route().to(index)).policy(&[RULE]).summary("Lists extensions"),
        Route::get("/v2.1/extensions/{alias}", || web::route().to(show))
            .policy(&[RULE])
            .summary("Shows an extension"),
    ]
}

async fn index(ctx: Ctx) -> ApiResult {
    ctx.enforce(RULE, &[])?;
    json(&view::all())
}

async fn show(ctx: Ctx, alias: web::Path<String>) -> ApiResult {
    ctx.enforce(RULE, &[])?;
    json(&view::one(&alias).ok_or_else(|| Error::not_found("The resource could not be found."))?)
}
