//! What this deployment can do.

use crate::app::App;
use ferrostack_http::{ApiResult, Ctx, Route, actix_web::web, json};
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

/// Without limits of the identity service there is none to show.
async fn usage(app: web::Data<App>, ctx: Ctx) -> ApiResult {
    let limits = app.quota.limits(ctx.caller()?.project_id()).await?;
    let Some((limits, project)) = limits.and_then(|l| Some((l.unified?, l.project))) else {
        return json(&value!({"usage": {}}));
    };
    let used = crate::store::quota::usage(app.db.reader(), &project, None).await?;
    json(&crate::view::usage::usage(&limits, &used))
}
