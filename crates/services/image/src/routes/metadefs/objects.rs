//! Objects.

use super::{deleted, enforce, load};
use crate::text::short;
use crate::{
    app::App,
    metadefs::{Namespace, Object, check},
    store::metadefs::{Part, delete as delete_part, objects},
    view::metadefs::objects as view,
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, web},
    created, json, no_content, query_pairs,
};
use ferrostack_model::{Error, Result, Timestamp};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/metadefs/namespaces/{namespace}/objects", || web::get().to(list))
            .policy(&["get_metadef_objects", "get_metadef_object"])
            .summary("Lists the objects of a namespace."),
        Route::post("/v2/metadefs/namespaces/{namespace}/objects", || web::post().to(create))
            .policy(&["add_metadef_object"])
            .success(201)
            .summary("Adds an object.")
            .request_schema(check::OBJECT),
        Route::get("/v2/metadefs/namespaces/{namespace}/objects/{object_name}", || web::get().to(show))
            .policy(&["get_metadef_object"])
            .summary("Shows an object."),
        Route::put("/v2/metadefs/namespaces/{namespace}/objects/{object_name}", || web::put().to(update))
            .policy(&["modify_metadef_object"])
            .summary("Replaces an object.")
            .request_schema(check::OBJECT),
        Route::delete("/v2/metadefs/namespaces/{namespace}/objects/{object_name}", || {
            web::delete().to(delete)
        })
        .policy(&["delete_metadef_object"])
        .success(204)
        .summary("Deletes an object."),
    ]
}

fn missing(name: &str) -> String {
    format!("Could not find metadata object {}", short(name))
}

/// The whole list, whatever limit and marker say, as Glance does.
async fn list(app: web::Data<App>, ctx: Ctx, req: HttpRequest, path: web::Path<String>) -> ApiResult {
    let pairs = query_pairs(req.query_string());
    super::descending(&pairs)?;
    super::visibility(&pairs, &["public", "private", "shared"])?;
    super::limit(&pairs, 1)?;
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "get_metadef_objects", &namespace)?;
    let mut all = objects::list(&app.db, &namespace.id).await?;
    if !ctx.may("get_metadef_object", &namespace.target()) {
        all.clear();
    }
    json(&view::objects(&namespace.name, &all))
}

async fn create(app: web::Data<App>, ctx: Ctx, path: web::Path<String>, body: JsonBody) -> ApiResult {
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "add_metadef_object", &namespace)?;
    let object = check::object(&body.0, Timestamp::now())?;
    objects::insert(&app.db, &namespace.id, &namespace.name, &object).await?;
    created(&view::object(&namespace.name, &object))
}

async fn get(app: &App, namespace: &Namespace, name: &str) -> Result<Object> {
    let found = if name.contains('\0') { None } else { objects::get(&app.db, &namespace.id, name).await? };
    found.ok_or_else(|| Error::not_found(missing(name)))
}

async fn show(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "get_metadef_object", &namespace)?;
    json(&view::object(&namespace.name, &get(&app, &namespace, &path.1).await?))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    body: JsonBody,
) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "modify_metadef_object", &namespace)?;
    let wanted = check::object(&body.0, Timestamp::now())?;
    let before = get(&app, &namespace, &path.1).await?;
    match objects::update(&app.db, &namespace.id, &namespace.name, &before.name, &wanted).await? {
        Change::Updated => {
            json(&view::object(&namespace.name, &Object { created_at: before.created_at, ..wanted }))
        }
        _ => Err(Error::not_found(missing(&path.1)).into()),
    }
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "delete_metadef_object", &namespace)?;
    let object = get(&app, &namespace, &path.1).await?;
    let protected =
        || format!("Metadata definition object {} is protected and cannot be deleted.", object.name);
    let done = delete_part(&app.db, Part::Object, &namespace.id, &object.name).await?;
    deleted(done, protected, || missing(&path.1))?;
    no_content()
}
