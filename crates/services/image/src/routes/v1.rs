//! Image API v1, which Glance had until Queens, as far as old SDKs use it (`image.v1_api`): everything goes the way of
//! v2, so that its rules, checks and stores are the same.

use super::{data, images, load};
use crate::{
    app::App,
    attributes,
    image::{Image, Status},
    v1, view,
};
use ferrostack_http::{
    ApiResult, Ctx, Route,
    actix_web::{
        HttpRequest, HttpResponse,
        http::{
            StatusCode,
            header::{self, HeaderMap, HeaderName, HeaderValue},
        },
        web,
    },
    base_url, json, no_content, query_pairs,
};
use ferrostack_model::{Error, ErrorKind, Result};
use serde_json::{Value, json as value};

/// The rows, there with `image.v1_api`.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/images", || web::get().to(list)).policy(&["get_images"]).summary("v1: lists images."),
        Route::post("/v1/images", || web::post().to(create))
            .policy(&["add_image", "publicize_image", "upload_image"])
            .success(201)
            .summary("v1: makes an image of headers and, if there is a body, its data."),
        Route::get("/v1/images/detail", || web::get().to(detail))
            .policy(&["get_images"])
            .summary("v1: lists images with everything."),
        Route::get("/v1/images/{image_id}", || web::get().to(show))
            .policy(&["get_image", "download_image"])
            .summary("v1: the data of an image, with its record in headers."),
        Route::head("/v1/images/{image_id}", || web::head().to(head))
            .policy(&["get_image"])
            .summary("v1: the record of an image in headers."),
        Route::put("/v1/images/{image_id}", || web::put().to(update))
            .policy(&["modify_image", "publicize_image", "upload_image"])
            .summary("v1: changes what the headers say and takes data, if there is a body."),
        Route::delete("/v1/images/{image_id}", || web::delete().to(delete))
            .policy(&["delete_image"])
            .success(204)
            .summary("v1: deletes an image."),
    ]
}

/// The filters of v1 in the words of v2.
fn filters(query: &str) -> Vec<(String, String)> {
    let mut pairs = query_pairs(query);
    for (name, value) in &mut pairs {
        if let Some(property) = name.strip_prefix("property-") {
            *name = property.to_owned();
        } else if name == "is_public" {
            *name = "visibility".into();
            // Not public is what a project sees by itself; `None` is everything.
            *value = match value.to_ascii_lowercase().as_str() {
                "true" | "1" => "public",
                "false" | "0" => "shared",
                _ => "all",
            }
            .into();
        }
    }
    pairs
}

async fn list(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let (images, _) = images::listed(&app, &ctx, &filters(req.query_string())).await?;
    json(&value!({"images": images.iter().map(view::v1::brief).collect::<Vec<_>>()}))
}

async fn detail(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let (images, _) = images::listed(&app, &ctx, &filters(req.query_string())).await?;
    let images = images.into_iter().map(|image| view::v1::image(&app.protections.readable(&ctx, image)));
    json(&value!({"images": images.collect::<Vec<_>>()}))
}

fn meta(headers: &HeaderMap) -> Result<v1::Meta> {
    v1::parse(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// Whether the request brings data.
fn has_body(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    text(header::TRANSFER_ENCODING).is_some_and(|t| t.to_ascii_lowercase().contains("chunked"))
        || text(header::CONTENT_LENGTH).and_then(|l| l.trim().parse::<u64>().ok()).is_some_and(|l| l > 0)
}

fn answer(app: &App, ctx: &Ctx, image: Image) -> Value {
    value!({"image": view::v1::image(&app.protections.readable(ctx, image))})
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, mut body: web::Payload) -> ApiResult {
    let made = async {
        let meta = meta(req.headers())?;
        check_media_type(&req)?;
        attributes::check_new(&meta.attributes)?;
        images::made(&app, &ctx, &meta.attributes).await
    };
    let mut image = match made.await {
        Ok(image) => image,
        Err(error) => {
            data::drain(&mut body).await;
            return Err(error.into());
        }
    };
    if has_body(req.headers()) {
        let id = web::Path::from(image.id.clone());
        let taken =
            data::take(app.clone(), ctx.clone(), req.clone(), id, body, "upload_image", Status::Saving).await;
        if let Err(error) = taken {
            // The client knows no id under which to try again: what it asked for as one is not there at all.
            if let Ok(Some(left)) = crate::store::image::get(&app.db, &image.id).await
                && left.status == Status::Queued
            {
                let store = &app.stores.default().id;
                crate::store::image::delete(&app.db, &left, store).await?;
            }
            return Err(error);
        }
        image = load(&app, &ctx, &image.id).await?.image;
    }
    let mut created = HttpResponse::Created();
    created.insert_header((header::LOCATION, format!("{}/v1/images/{}", base_url(&req), image.id)));
    if let Some(checksum) = &image.checksum {
        created.insert_header((header::ETAG, checksum.as_str()));
    }
    Ok(created.json(answer(&app, &ctx, image)))
}

fn check_media_type(req: &HttpRequest) -> Result<()> {
    if has_body(req.headers()) && super::content_type(req) != "application/octet-stream" {
        return Err(Error::bad_request("Content-Type must be application/octet-stream"));
    }
    Ok(())
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<String>,
    mut body: web::Payload,
) -> ApiResult {
    let changed = async {
        let meta = meta(req.headers())?;
        check_media_type(&req)?;
        if meta.attributes.get("id").is_some_and(|id| *id != *path.as_str()) {
            return Err(Error::forbidden("Attribute 'id' is read-only."));
        }
        images::changed(&app, &ctx, &path, &[], |image| changed(image, &meta)).await
    };
    let mut image = match changed.await {
        Ok(image) => image,
        Err(error) => {
            data::drain(&mut body).await;
            return Err(error.into());
        }
    };
    if has_body(req.headers()) {
        let id = web::Path::from(image.id.clone());
        data::take(app.clone(), ctx.clone(), req.clone(), id, body, "upload_image", Status::Saving).await?;
        image = load(&app, &ctx, &image.id).await?.image;
    }
    json(&answer(&app, &ctx, image))
}

/// The image with what the headers say, by the rules of a patch.
fn changed(image: &Image, meta: &v1::Meta) -> Result<Image> {
    attributes::validate(&meta.attributes)?;
    let mut changed = image.clone();
    if !meta.keep_properties {
        changed.properties.clear();
    }
    for (name, value) in meta.attributes.iter().filter(|(name, _)| *name != "id") {
        attributes::set(&mut changed, name, value)?;
    }
    let formats = |image: &Image| (image.disk_format.clone(), image.container_format.clone());
    if image.status != Status::Queued && formats(image) != formats(&changed) {
        return Err(Error::forbidden("Attribute disk_format can be only replaced for a queued image."));
    }
    attributes::check_formats(&mut changed)?;
    attributes::check_quota(&changed)?;
    Ok(changed)
}

/// Puts the record into the answer's headers, as far as they can hold it.
fn tell(headers: &mut HeaderMap, req: &HttpRequest, image: &Image) {
    let mut told = view::v1::headers(image);
    told.push(("location".into(), format!("{}/v1/images/{}", base_url(req), image.id)));
    if let Some(checksum) = &image.checksum {
        told.push(("etag".into(), checksum.clone()));
    }
    for (name, text) in told {
        let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes());
        if let (Ok(name), Ok(text)) = (name, HeaderValue::from_bytes(text.as_bytes())) {
            headers.insert(name, text);
        }
    }
}

async fn head(app: web::Data<App>, ctx: Ctx, req: HttpRequest, path: web::Path<String>) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    let mut answer = HttpResponse::Ok().finish();
    tell(answer.headers_mut(), &req, &app.protections.readable(&ctx, seen.image));
    Ok(answer)
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, path: web::Path<String>) -> ApiResult {
    let image = load(&app, &ctx, &path).await?.image;
    let mut answer = data::get_file(app.clone(), ctx.clone(), req.clone(), path).await?;
    if answer.status() == StatusCode::NO_CONTENT {
        return Err(Error::new(ErrorKind::NotFound, format!("Image {} is not active", image.id)).into());
    }
    tell(answer.headers_mut(), &req, &app.protections.readable(&ctx, image));
    Ok(answer)
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    images::removed(&app, &ctx, &path).await?;
    no_content()
}
