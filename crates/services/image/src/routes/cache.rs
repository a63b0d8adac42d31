//! The cache of images: this cloud has none, and says so as Glance does without one.

use super::load_parent;
use crate::app::App;
use ferrostack_http::{ApiResult, Ctx, Route, actix_web::web};
use ferrostack_model::{Error, Result};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/cache", || web::get().to(state))
            .policy(&["cache_list"])
            .success(404)
            .summary("Lists cached images; there is no cache."),
        Route::delete("/v2/cache", || web::delete().to(clear))
            .policy(&["cache_delete"])
            .success(404)
            .summary("Clears the cache; there is no cache."),
        Route::delete("/v2/cache/{image_id}", || web::delete().to(remove))
            .policy(&["cache_delete"])
            .success(404)
            .summary("Takes an image out of the cache; there is no cache."),
        Route::put("/v2/cache/{image_id}", || web::put().to(queue))
            .policy(&["cache_image"])
            .success(404)
            .summary("Caches an image; there is no cache."),
        Route::get("/v2/cache/nodes/{image_id}", || web::get().to(nodes))
            .policy(&["list_cached_nodes"])
            .success(404)
            .summary("Lists the nodes that have cached an image; there is no cache."),
        Route::post("/v2/cache/clean", || web::post().to(clean))
            .policy(&["cache_clean"])
            .success(404)
            .summary("Cleans the cache; there is no cache."),
        Route::post("/v2/cache/prune", || web::post().to(prune))
            .policy(&["cache_prune"])
            .success(404)
            .summary("Prunes the cache; there is no cache."),
    ]
}

/// What everybody hears: 403 who may not, 404 who may.
fn none(ctx: &Ctx, rule: &str) -> Result<()> {
    if !ctx.may(rule, &[]) {
        return Err(Error::forbidden("Access was denied to this resource."));
    }
    Err(Error::not_found("Caching via API is not supported at this site."))
}

fn nothing(ctx: &Ctx, rule: &str) -> ApiResult {
    none(ctx, rule)?;
    ferrostack_http::no_content()
}

async fn state(ctx: Ctx) -> ApiResult {
    nothing(&ctx, "cache_list")
}

async fn clear(ctx: Ctx) -> ApiResult {
    nothing(&ctx, "cache_delete")
}

async fn remove(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    load_parent(&app, &ctx, &path).await?;
    nothing(&ctx, "cache_delete")
}

async fn queue(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    load_parent(&app, &ctx, &path).await?;
    nothing(&ctx, "cache_image")
}

async fn nodes(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    load_parent(&app, &ctx, &path).await?;
    nothing(&ctx, "list_cached_nodes")
}

async fn clean(ctx: Ctx) -> ApiResult {
    nothing(&ctx, "cache_clean")
}

async fn prune(ctx: Ctx) -> ApiResult {
    nothing(&ctx, "cache_prune")
}
