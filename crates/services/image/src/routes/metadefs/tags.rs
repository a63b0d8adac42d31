//! Tags.

use super::{deleted, enforce, last, load};
use crate::text::{is_true, short};
use crate::{
    app::App,
    metadefs::{Namespace, Tag, check},
    store::metadefs::{
        Part, delete as delete_part,
        tags::{self, Query, SortKey},
    },
    view::metadefs::tags as view,
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, web},
    created, json, no_content, query_pairs,
};
use ferrostack_model::{Error, Result, Timestamp};
use serde_json::json as value;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/metadefs/namespaces/{namespace}/tags", || web::get().to(list))
            .policy(&["get_metadef_tags"])
            .summary("Lists the tags of a namespace."),
        Route::post("/v2/metadefs/namespaces/{namespace}/tags", || web::post().to(create_many))
            .policy(&["add_metadef_tags"])
            .success(201)
            .summary("Replaces the tags of a namespace, or adds to them with X-Openstack-Append.")
            .request_schema(check::TAGS),
        Route::get("/v2/metadefs/namespaces/{namespace}/tags/{tag_name}", || web::get().to(show))
            .policy(&["get_metadef_tag"])
            .summary("Shows a tag."),
        Route::post("/v2/metadefs/namespaces/{namespace}/tags/{tag_name}", || web::post().to(create))
            .policy(&["add_metadef_tag"])
            .success(201)
            .summary("Adds a tag."),
        Route::put("/v2/metadefs/namespaces/{namespace}/tags/{tag_name}", || web::put().to(update))
            .policy(&["modify_metadef_tag"])
            .summary("Renames a tag.")
            .request_schema(check::TAG),
        Route::delete("/v2/metadefs/namespaces/{namespace}/tags/{tag_name}", || web::delete().to(delete))
            .policy(&["delete_metadef_tag"])
            .success(204)
            .summary("Deletes a tag."),
    ]
}

fn missing(name: &str) -> String {
    format!("Could not find metadata tag {}", short(name))
}

async fn list(app: web::Data<App>, ctx: Ctx, req: HttpRequest, path: web::Path<String>) -> ApiResult {
    let pairs = query_pairs(req.query_string());
    super::visibility(&pairs, &["public", "private", "shared"])?;
    let query = Query {
        descending: super::descending(&pairs)?,
        limit: super::limit(&pairs, 0)?,
        sort_key: SortKey::parse(last(&pairs, "sort_key").unwrap_or("created_at"))
            .ok_or_else(super::bad_sort_key)?,
    };
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "get_metadef_tags", &namespace)?;
    let marker = match last(&pairs, "marker").filter(|m| !m.is_empty()) {
        None => None,
        Some(name) => Some(get(&app, &namespace, name).await?),
    };
    json(&view::tags(&tags::list(&app.db, &namespace.id, &query, marker.as_ref()).await?))
}

async fn create_many(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    let namespace = load(&app, &ctx, &path).await?;
    enforce(&ctx, "add_metadef_tags", &namespace)?;
    let wanted = check::tags(&body.0, Timestamp::now())?;
    let append = req.headers().get("x-openstack-append").and_then(|v| v.to_str().ok()).is_some_and(is_true);
    if !wanted.is_empty() {
        tags::insert(&app.db, &namespace.id, &namespace.name, &wanted, !append).await?;
    }
    created(&view::tags(&wanted))
}

async fn get(app: &App, namespace: &Namespace, name: &str) -> Result<Tag> {
    let found = if name.contains('\0') { None } else { tags::get(&app.db, &namespace.id, name).await? };
    found.ok_or_else(|| Error::not_found(missing(name)))
}

async fn show(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "get_metadef_tag", &namespace)?;
    json(&view::tag(&get(&app, &namespace, &path.1).await?))
}

async fn create(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "add_metadef_tag", &namespace)?;
    if path.1.contains('\0') {
        return Err(Error::bad_request("A tag's name must not contain NUL.").into());
    }
    let tag = check::tag(&value!({"name": path.1}), Timestamp::now())?;
    tags::insert(&app.db, &namespace.id, &namespace.name, std::slice::from_ref(&tag), false).await?;
    created(&view::tag(&tag))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    body: JsonBody,
) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "modify_metadef_tag", &namespace)?;
    let wanted = check::tag(&body.0, Timestamp::now())?;
    let before = get(&app, &namespace, &path.1).await?;
    match tags::update(&app.db, &namespace.id, &namespace.name, &before.name, &wanted.name).await? {
        Change::Updated => json(&view::tag(&Tag { created_at: before.created_at, ..wanted })),
        _ => Err(Error::not_found(missing(&path.1)).into()),
    }
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let namespace = load(&app, &ctx, &path.0).await?;
    enforce(&ctx, "delete_metadef_tag", &namespace)?;
    let tag = get(&app, &namespace, &path.1).await?;
    let protected = || format!("Metadata definition tag {} is protected and cannot be deleted.", tag.name);
    let done = delete_part(&app.db, Part::Tag, &namespace.id, &tag.name).await?;
    deleted(done, protected, || missing(&path.1))?;
    no_content()
}
