//! Resource types and their associations with namespaces.

use super::{deleted, enforce, enforce_own, load};
use crate::{
    app::App,
    metadefs::check,
    store::metadefs::{associations, resource_types},
    text::short,
    view::metadefs as view,
};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, actix_web::web, created, json, no_content};
use ferrostack_model::Timestamp;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/metadefs/resource_types", || web::get().to(types))
            .policy(&["list_metadef_resource_types"])
            .summary("Lists resource types."),
        Route::get("/v2/metadefs/namespaces/{namespace}/resource_types", || web::get().to(list))
            .policy(&["list_metadef_resource_types", "get_metadef_resource_type"])
            .summary("Lists the resource types a namespace is for."),
        Route::post("/v2/metadefs/namespaces/{namespace}/resource_types", || web::post().to(create))
            .policy(&["add_metadef_resource_type_association"])
            .success(201)
            .summary("Says that a namespace is for a resource type.")
            .request_schema(check::ASSOCIATION),
        Route::delete("/v2/metadefs/namespaces/{namespace}/resource_types/{resource_type}", || {
            web::delete().to(delete)
        })
        .policy(&["remove_metadef_resource_type_association"])
        .success(204)
        .summary("Says that a namespace is not for a resource type any more."),
    ]
}

async fn types(app: web::Data<App>, ctx: Ctx) -> ApiResult {
    enforce_own(&ctx, "list_metadef_resource_types")?;
    json(&view::resource_types::resource_types(&resource_types::list(&app.db).await?))
}

async fn list(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "list_metadef_resource_types", &namespace)?;
    let mut found = associations::list(&app.db, &namespace.id).await?;
    if !ctx.may("get_metadef_resource_type", &namespace.target()) {
        found.clear();
    }
    json(&view::associations::associations(&found))
}

async fn create(app: web::Data<App>, ctx: Ctx, path: web::Path<String>, body: JsonBody) -> ApiResult {
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "add_metadef_resource_type_association", &namespace)?;
    let association = check::association(&body.0, Timestamp::now())?;
    associations::insert(&app.db, &namespace.id, &namespace.name, &association).await?;
    created(&view::associations::association(&association))
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "remove_metadef_resource_type_association", &namespace)?;
    let name = short(&path.1);
    let missing = || format!("Failed to find resource type {name} to delete");
    let there = associations::list(&app.db, &namespace.id).await?.into_iter().any(|a| a.name == path.1);
    if !there {
        return Err(ferrostack_model::Error::not_found(missing()).into());
    }
    let protected = || {
        format!("Metadata definition resource-type-association {name} is protected and cannot be deleted.")
    };
    deleted(associations::delete(&app.db, &namespace.id, &path.1).await?, protected, missing)?;
    no_content()
}
