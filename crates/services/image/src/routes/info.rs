//! What this deployment can do.

use ferrostack_http::{ApiResult, Route, actix_web::web, json};
use ferrostack_model::Error;
use serde_json::json as value;

/// The import methods.
pub const IMPORT_METHODS: &[&str] = &["glance-direct"];

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/info/import", || web::get().to(import)).summary("Lists the import methods."),
        Route::get("/v2/info/stores", || web::get().to(stores))
            .success(404)
            .summary("Lists the stores; there is one, which is not listed."),
        Route::get("/v2/info/usage", || web::get().to(usage)).summary("Shows limits and their use."),
    ]
}

async fn import() -> ApiResult {
    json(&value!({"import-methods": {
        "description": "Import methods available.", "type": "array", "value": IMPORT_METHODS}}))
}

async fn stores() -> ApiResult {
    Err(Error::not_found("Multi backend is not supported at this site.").into())
}

/// No limits are registered, so there is none to show.
async fn usage() -> ApiResult {
    json(&value!({"usage": {}}))
}
