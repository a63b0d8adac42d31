//! Image records: create, list, show, update, delete.

use super::{Seen, load, stores::whereabouts};
use crate::{
    app::App,
    attributes,
    image::{Image, Status, Visibility},
    locations, patch,
    protections::Operation,
    query::{Filter, ListQuery},
    reconcile,
    store::{self, list::Viewer},
    view,
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, HttpResponse, http::header, web},
    base_url, json, no_content, query_pairs,
};
use ferrostack_model::{Error, ErrorKind, Result, Timestamp, id};
use serde_json::{Map, Value};

/// How often a change is tried again when somebody else's came in between.
const ATTEMPTS: usize = 10;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/images", || web::get().to(list)).policy(&["get_images"]).summary("Lists images."),
        Route::post("/v2/images", || web::post().to(create))
            .policy(&["add_image", "publicize_image", "communitize_image"])
            .success(201)
            .summary("Makes an image record without data.")
            .request_schema(super::IMAGE_SCHEMA),
        Route::get("/v2/images/{image_id}", || web::get().to(show))
            .policy(&["get_image"])
            .summary("Shows an image."),
        Route::patch("/v2/images/{image_id}", || web::patch().to(update))
            .policy(&[
                "modify_image",
                "publicize_image",
                "communitize_image",
                "set_image_location",
                "delete_image_location",
            ])
            .body(patch::schema)
            .summary("Changes attributes by a JSON patch."),
        Route::delete("/v2/images/{image_id}", || web::delete().to(delete))
            .policy(&["delete_image"])
            .success(204)
            .summary("Deletes an image and its data."),
    ]
}

async fn list(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let pairs = query_pairs(req.query_string());
    let (images, next) = listed(&app, &ctx, &pairs).await?;
    let images: Vec<_> = images.into_iter().map(|image| shown(&app, &ctx, image)).collect();
    json(&view::image::images(images, &pairs, next.as_deref()))
}

/// The page of a list that a query asks for, and the id after which more may follow.
pub(super) async fn listed(
    app: &App,
    ctx: &Ctx,
    pairs: &[(String, String)],
) -> Result<(Vec<Image>, Option<String>)> {
    let caller = ctx.caller()?.clone();
    let query = ListQuery::parse(pairs)?;
    ctx.enforce("get_images", &[("project_id", caller.project_id())])?;
    let marker = match query.marker.as_deref() {
        None => None,
        Some(marker) => match load(app, ctx, marker).await {
            Ok(seen) => Some(seen.image),
            Err(error) if error.kind == ErrorKind::NotFound => {
                return Err(Error::bad_request(error.public));
            }
            Err(error) => return Err(error),
        },
    };
    // Nobody finds out by asking what it may not read.
    let hidden = query.filters.iter().any(|filter| match filter {
        Filter::Property(name, _) => !app.protections.allow(ctx, name, Operation::Read),
        _ => false,
    });
    if query.limit == 0 || hidden {
        return Ok((Vec::new(), None));
    }
    let viewer = Viewer { project: caller.project_id().to_owned(), admin: caller.is_admin() };
    let mut images = store::list::list(&app.db, &query, &viewer, marker.as_ref()).await?;
    let full = i64::try_from(images.len()).is_ok_and(|n| n == query.limit);
    let next = images.last().filter(|_| full).map(|image| image.id.clone());
    // An operator may have made the rule narrower than what the database selects by.
    images.retain(|image| {
        let owns = image.owner.as_deref() == Some(caller.project_id());
        let member = image.visibility == Visibility::Shared && !owns && !viewer.admin;
        ctx.may("get_image", &image.target(caller.project_id(), member))
    });
    Ok((images, next))
}

/// The record as the caller may see it.
pub(super) fn shown(app: &App, ctx: &Ctx, image: Image) -> Value {
    let image = app.protections.readable(ctx, image);
    view::image::image(&image, whereabouts(app, ctx, &image))
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let Value::Object(attributes) = &body.0 else {
        return Err(Error::bad_request("Request body must be a JSON object.").into());
    };
    let image = made(&app, &ctx, attributes).await?;
    let mut answer = HttpResponse::Created();
    if app.stores.named() {
        answer.insert_header(("OpenStack-image-store-ids", app.stores.ids()));
    }
    Ok(answer
        .insert_header((header::LOCATION, format!("{}/v2/images/{}", base_url(&req), image.id)))
        .insert_header(("OpenStack-image-import-methods", super::info::IMPORT_METHODS.join(",")))
        .json(shown(&app, &ctx, image)))
}

/// Makes a record with these attributes; 400, 403 or 409 in Glance's words if that cannot or may not be.
pub(super) async fn made(app: &App, ctx: &Ctx, attributes: &Map<String, Value>) -> Result<Image> {
    let image = build(app, ctx, attributes)?;
    app.quota.insert(&app.db, &image).await?;
    Ok(image)
}

/// A new image with `attributes`, if the caller may make it.
pub(super) fn build(app: &App, ctx: &Ctx, attributes: &Map<String, Value>) -> Result<Image> {
    let caller = ctx.caller()?;
    attributes::check_new(attributes)?;
    let now = Timestamp::now();
    let mut image = Image {
        id: id::uuid(),
        name: None,
        status: Status::Queued,
        visibility: Visibility::Shared,
        owner: Some(caller.project_id().to_owned()).filter(|p| !p.is_empty()),
        disk_format: None,
        container_format: None,
        size: None,
        virtual_size: None,
        checksum: None,
        os_hash_algo: None,
        os_hash_value: None,
        min_disk: 0,
        min_ram: 0,
        protected: false,
        os_hidden: false,
        file: None,
        upload: None,
        created_at: now,
        updated_at: now,
        generation: 1,
        properties: Default::default(),
        tags: Default::default(),
        locations: Vec::new(),
    };
    for (name, value) in attributes {
        attributes::set(&mut image, name, value)?;
    }
    attributes::check_formats(&mut image)?;
    attributes::check_quota(&image)?;
    ctx.enforce("add_image", &image.target(caller.project_id(), false)).map_err(|error| {
        match image.owner.as_deref() {
            Some(owner) if owner != caller.project_id() => {
                Error::forbidden(format!("You are not permitted to create images owned by '{owner}'"))
                    .as_detail()
            }
            _ => error,
        }
    })?;
    check_visibility(ctx, None, &image)?;
    app.protections.check_new(ctx, &image)?;
    Ok(image)
}

/// public and community need a right of their own.
fn check_visibility(ctx: &Ctx, before: Option<Visibility>, image: &Image) -> Result<()> {
    if before == Some(image.visibility) {
        return Ok(());
    }
    let target = image.target("", false);
    match image.visibility {
        Visibility::Public => ctx.enforce("publicize_image", &target),
        Visibility::Community => ctx.enforce("communitize_image", &target),
        Visibility::Shared | Visibility::Private => Ok(()),
    }
}

async fn show(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    json(&shown(&app, &ctx, seen.image))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult {
    let given = super::content_type(&req);
    let Some(media_type) = patch::MEDIA_TYPES.into_iter().find(|t| *t == given) else {
        return Ok(unsupported_patch());
    };
    let JsonBody(body) = super::json_body(&req, payload).await?;
    let (body, edits) = locations::split(body, media_type == patch::MEDIA_TYPES[0])?;
    let operations = patch::parse(&body, media_type)?;
    let image = changed(&app, &ctx, &path, &edits, |image| patch::apply(image, &operations)).await?;
    json(&shown(&app, &ctx, image))
}

/// Changes the record to what `make` makes of the part that the caller may read, and its locations by `edits`.
pub(super) async fn changed(
    app: &App,
    ctx: &Ctx,
    id: &str,
    edits: &[locations::Edit],
    make: impl Fn(&Image) -> Result<Image>,
) -> Result<Image> {
    // Locations and the rest are two transactions: the rest is looked at first, and written last.
    let mut relocated = false;
    for _ in 0..ATTEMPTS {
        let seen = load(app, ctx, id).await?;
        seen.enforce(ctx, "modify_image")?;
        let changed = make(&app.protections.readable(ctx, seen.image.clone()))?;
        let changed = app.protections.merge(ctx, &seen.image, changed)?;
        check_change(ctx, &seen, &changed)?;
        if !edits.is_empty() && !relocated {
            for edit in edits {
                seen.enforce(ctx, edit.rule())?;
            }
            let moved = locations::apply(app, &seen.image, edits).await?;
            let limits = app.quota.of(&seen.image).await?;
            let done = store::place::edit(&app.db, &seen.image, &moved, limits.as_ref()).await?;
            relocated = done == Change::Updated;
            if relocated {
                reconcile::objects::remove_now(app, &seen.image.id).await;
            }
            continue;
        }
        if changed == seen.image || store::image::update(&app.db, &changed).await? == Change::Updated {
            return Ok(load(app, ctx, id).await?.image);
        }
    }
    Err(Error::conflict("The image is changed by others all the time. Please try again."))
}

fn check_change(ctx: &Ctx, seen: &Seen, changed: &Image) -> Result<()> {
    check_visibility(ctx, Some(seen.image.visibility), changed)?;
    if changed.owner != seen.image.owner && !ctx.may("context_is_admin", &[]) {
        return Err(Error::forbidden("Owner can't be updated by non admin.").as_detail());
    }
    Ok(())
}

fn unsupported_patch() -> HttpResponse {
    let types = patch::MEDIA_TYPES.join(", ");
    let mut response =
        HttpResponse::UnsupportedMediaType().insert_header(("Accept-Patch", types.as_str())).finish();
    response.extensions_mut().insert(Error::new(
        ErrorKind::UnsupportedMediaType,
        format!("Image PATCH expects Content-Type one of: {types}"),
    ));
    response
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    removed(&app, &ctx, &path).await?;
    no_content()
}

/// Deletes the image and its data.
pub(super) async fn removed(app: &App, ctx: &Ctx, id: &str) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let seen = load(app, ctx, id).await.map_err(|error| match error.kind {
            ErrorKind::NotFound => {
                let short = crate::text::short(id);
                Error::not_found(format!("Failed to find image {short} to delete"))
            }
            _ => error,
        })?;
        seen.enforce(ctx, "delete_image")?;
        if seen.image.protected {
            return Err(Error::forbidden(format!(
                "Image {} is protected and cannot be deleted.",
                seen.image.id
            )));
        }
        if store::image::delete(&app.db, &seen.image, &app.stores.default().id).await? == Change::Updated {
            reconcile::objects::remove_now(app, &seen.image.id).await;
            return Ok(());
        }
    }
    Err(Error::conflict("The image is changed by others all the time. Please try again."))
}
