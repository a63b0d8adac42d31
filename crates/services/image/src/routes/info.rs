//! What this deployment can do.

use ferrostack_http::{ApiResult, Route, actix_web::web, json};
use serde_json::json as value;

/// The import methods.
pub const IMPORT_METHODS: &[&str] = &["glance-direct", "web-download", "copy-image", "glance-download"];

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/info/import", || web::get().to(import)).summary("Lists the import methods."),
        Route::get("/v2/info/usage", || web::get().to(usage)).summary("Shows limits and their use."),
    ]
}

async fn import() -> ApiResult {
    json(&value!({"import-methods": {
        "description": "Import methods available.", "type": "array", "value": IMPORT_METHODS}}))
}

/// No limits are registered, so there is none to show.
async fn usage() -> ApiResult {
    json(&value!({"usage": {}}))
}
