//! Images through 2.35 and their metadata through 2.38, passed on to the image service with the caller's token.

use crate::{
    app::App,
    input::{self, Query},
    network::segment,
    proxy::Call,
    store::quota,
    view::{images as view, links::Links},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, no_content};
use ferrostack_model::{
    Error, ErrorKind, Result, id,
    microversion::{Feature, until},
};
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::form_urlencoded::Serializer;

const IMAGES: Feature = until(35);
const METADATA: Feature = until(38);
const PATCH: &str = "application/openstack-images-v2.1-json-patch";

/// The rows.
pub fn routes() -> Vec<Route> {
    let images = vec![
        Route::get("/v2.1/images", || web::route().to(index)).summary("Lists images"),
        Route::get("/v2.1/images/detail", || web::route().to(detail)).summary("Lists images with details"),
        Route::get("/v2.1/images/{id}", || web::route().to(show)).summary("Shows an image"),
        Route::delete("/v2.1/images/{id}", || web::route().to(delete))
            .success(204)
            .summary("Deletes an image"),
    ];
    let metadata = vec![
        Route::get("/v2.1/images/{image_id}/metadata", || web::route().to(all_metadata))
            .summary("Lists the metadata of an image"),
        Route::post("/v2.1/images/{image_id}/metadata", || web::route().to(add_metadata))
            .summary("Adds metadata to an image"),
        Route::put("/v2.1/images/{image_id}/metadata", || web::route().to(replace_metadata))
            .summary("Replaces the metadata of an image"),
        Route::get("/v2.1/images/{image_id}/metadata/{key}", || web::route().to(item))
            .summary("Shows an item of an image's metadata"),
        Route::put("/v2.1/images/{image_id}/metadata/{key}", || web::route().to(set_item))
            .summary("Sets an item of an image's metadata"),
        Route::delete("/v2.1/images/{image_id}/metadata/{key}", || web::route().to(delete_item))
            .success(204)
            .summary("Deletes an item of an image's metadata"),
    ];
    let images = images.into_iter().map(|row| row.window(IMAGES));
    images.chain(metadata.into_iter().map(|row| row.window(METADATA))).collect()
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "images.index?", req.query_string())?;
    list(&app, &ctx, &req, &query, false).await
}

async fn detail(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "images.detail?", req.query_string())?;
    list(&app, &ctx, &req, &query, true).await
}

/// The image service's name of a filter, with its value.
fn filter(name: &str, value: &str) -> Option<(String, String)> {
    let same = |name: &str| Some((name.to_owned(), value.to_owned()));
    match name {
        "name" => same("name"),
        "status" => Some(("status".into(), value.to_lowercase())),
        "changes-since" => Some(("updated_at".into(), format!("gte:{value}"))),
        // A server may be given by its URL.
        "server" => Some(("instance_uuid".into(), value.rsplit('/').next().unwrap_or(value).to_owned())),
        "type" => same("image_type"),
        "minRam" => same("min_ram"),
        "minDisk" => same("min_disk"),
        _ => same(name.strip_prefix("property-")?),
    }
}

async fn list(app: &App, ctx: &Ctx, req: &HttpRequest, query: &Query, detail: bool) -> ApiResult {
    let limit = query.limit(app.settings.compute.max_limit);
    let mut text = Serializer::new(String::new());
    for (name, value) in query.pairs() {
        if let Some((name, value)) = filter(name, value) {
            text.append_pair(&name, &value);
        }
    }
    text.append_pair("limit", &limit.to_string());
    if let Some(marker) = query.get("marker").filter(|m| !m.is_empty()) {
        text.append_pair("marker", marker);
    }
    let path = format!("images?{}", text.finish());
    let mut found = app.image.pass(ctx, Call::get(&path)).await?;
    let images: Vec<Value> = found["images"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let (links, service) = (Links::of(req, ctx), app.image.base().await?);
    let show = if detail { view::full } else { view::basic };
    let items: Vec<Value> = images.iter().map(|image| show(image, &links, &service)).collect();
    let mut body = json!({"images": items});
    if let Some(last) = images.last()
        && images.len() as i64 == limit
    {
        let path = if detail { "images/detail" } else { "images" };
        body["images_links"] = links.next(path, query.pairs(), last["id"].as_str().unwrap_or_default());
    }
    json(&body)
}

/// Whatever the image service says of an image that the caller does not see, there is none.
fn not_found(error: Error) -> Error {
    match error.kind {
        ErrorKind::NotFound => Error::not_found("Image not found."),
        _ => error,
    }
}

async fn find(app: &App, ctx: &Ctx, id: &str) -> Result<Value> {
    if !id::is_uuid_like(id) {
        return Err(Error::not_found("Image not found."));
    }
    app.image.pass(ctx, Call::get(&format!("images/{}", segment(id)))).await.map_err(|error| {
        // To them it does not exist.
        let hidden = error.kind == ErrorKind::Forbidden;
        not_found(if hidden { Error { kind: ErrorKind::NotFound, ..error } } else { error })
    })
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "images.show?", req.query_string())?;
    let image = find(&app, &ctx, &id).await?;
    json(&json!({"image": view::full(&image, &Links::of(&req, &ctx), &app.image.base().await?)}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    find(&app, &ctx, &id).await?;
    let path = format!("images/{}", segment(&id));
    app.image.pass(&ctx, Call::new(Method::DELETE, &path)).await.map_err(|error| match error.kind {
        ErrorKind::Forbidden => Error::forbidden("You are not allowed to delete the image."),
        _ => not_found(error),
    })?;
    no_content()
}

async fn all_metadata(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "image_metadata.index?", req.query_string())?;
    json(&json!({"metadata": view::properties(&find(&app, &ctx, &id).await?)}))
}

async fn item(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "image_metadata.show?", req.query_string())?;
    let (id, key) = path.into_inner();
    match view::properties(&find(&app, &ctx, &id).await?).remove(&key) {
        Some(value) => json(&json!({"meta": {key: value}})),
        None => Err(Error::not_found("Metadata item was not found").into()),
    }
}

/// Makes the properties `wanted`: only the differences are sent.
async fn write(
    app: &App,
    ctx: &Ctx,
    image: &Value,
    wanted: &Map<String, Value>,
) -> Result<Map<String, Value>> {
    let project = ctx.caller()?.project_id();
    let most = quota::limits(&app.db, project, &app.settings.compute.quota).await?.metadata_items;
    if most >= 0 && wanted.len() as i64 > most {
        return Err(Error::over_limit("Image metadata limit exceeded"));
    }
    let have = view::properties(image);
    let pointer = |key: &str| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
    let mut patch = Vec::new();
    for (key, value) in wanted {
        match have.get(key) {
            Some(old) if old == value => {}
            Some(_) => patch.push(json!({"op": "replace", "path": pointer(key), "value": value})),
            None => patch.push(json!({"op": "add", "path": pointer(key), "value": value})),
        }
    }
    for key in have.keys().filter(|key| !wanted.contains_key(*key)) {
        patch.push(json!({"op": "remove", "path": pointer(key)}));
    }
    if patch.is_empty() {
        return Ok(have);
    }
    let path = format!("images/{}", segment(image["id"].as_str().unwrap_or_default()));
    let patch = Value::Array(patch);
    let call = Call::new(Method::PATCH, &path).json(&patch).typed(PATCH);
    let changed = app.image.pass(ctx, call).await.map_err(not_found)?;
    Ok(view::properties(&changed))
}

fn given(body: &Value) -> Map<String, Value> {
    body["metadata"].as_object().cloned().unwrap_or_default()
}

async fn add_metadata(
    app: web::Data<App>,
    ctx: Ctx,
    id: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "image_metadata.create", body)?;
    let image = find(&app, &ctx, &id).await?;
    let mut wanted = view::properties(&image);
    wanted.extend(given(&body));
    json(&json!({"metadata": write(&app, &ctx, &image, &wanted).await?}))
}

async fn replace_metadata(
    app: web::Data<App>,
    ctx: Ctx,
    id: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "image_metadata.update_all", body)?;
    let image = find(&app, &ctx, &id).await?;
    json(&json!({"metadata": write(&app, &ctx, &image, &given(&body)).await?}))
}

async fn set_item(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "image_metadata.update", body)?;
    let (id, key) = path.into_inner();
    let Some(value) = body["meta"].get(&key) else {
        return Err(Error::bad_request("Request body and URI mismatch").into());
    };
    let image = find(&app, &ctx, &id).await?;
    let mut wanted = view::properties(&image);
    wanted.insert(key, value.clone());
    write(&app, &ctx, &image, &wanted).await?;
    json(&json!({"meta": body["meta"]}))
}

async fn delete_item(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (id, key) = path.into_inner();
    let image = find(&app, &ctx, &id).await?;
    let mut wanted = view::properties(&image);
    if wanted.remove(&key).is_none() {
        return Err(Error::not_found("Invalid metadata key").into());
    }
    write(&app, &ctx, &image, &wanted).await?;
    no_content()
}
