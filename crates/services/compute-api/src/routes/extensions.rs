//! The list of extensions.

use crate::{input, view::extensions as view};
use actix_web::{HttpRequest, web};
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

async fn index(ctx: Ctx, req: HttpRequest) -> ApiResult {
    input::query(&ctx, "extensions.index?", req.query_string())?;
    ctx.enforce(RULE, &[])?;
    json(&view::all())
}

async fn show(ctx: Ctx, req: HttpRequest, alias: web::Path<String>) -> ApiResult {
    input::query(&ctx, "extensions.show?", req.query_string())?;
    ctx.enforce(RULE, &[])?;
    json(&view::one(&alias).ok_or_else(|| Error::not_found("The resource could not be found."))?)
}
