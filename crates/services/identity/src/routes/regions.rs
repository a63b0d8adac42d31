//! `/v3/regions`

use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    store::{self, region::Region},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Regions above one another that are looked at.
const MAX_DEPTH: usize = 64;
const KNOWN: &[&str] = &["description", "parent_region_id"];

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/regions/{region_id}";
    vec![
        Route::get("/v3/regions", || web::route().to(index))
            .policy(&["identity:list_regions"])
            .summary("List regions"),
        Route::post("/v3/regions", || web::route().to(create))
            .policy(&["identity:create_region"])
            .body(|| CHECKS.body("region"))
            .success(201)
            .summary("Create a region"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_region"]).summary("Show a region"),
        Route::put(one, || web::route().to(create_with_id))
            .policy(&["identity:create_region"])
            .body(|| CHECKS.body("region"))
            .success(201)
            .summary("Create a region with an id"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_region"])
            .body(|| CHECKS.body("region"))
            .summary("Update a region"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_region"])
            .success(204)
            .summary("Delete a region"),
    ]
}

static CHECKS: LazyLock<Checks> = LazyLock::new(|| {
    Checks::new(
        json!({
            "id": {"type": "string", "maxLength": 255}, "description": input::nullable_text(),
            "parent_region_id": {"type": ["string", "null"], "maxLength": 255},
        }),
        &[],
    )
});

async fn find(app: &App, id: &str) -> Result<Region> {
    store::region::get(app.db.reader(), id).await?.ok_or_else(|| faults::not_found("region", id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_regions", &[])?;
    let query = query_pairs(req.query_string());
    let regions = store::region::list(app.db.reader(), list::last(&query, "parent_region_id")).await?;
    list::answer(&req, &query, "regions", regions, |r| &r.id, view::service::region)
}

async fn insert(app: &App, req: &HttpRequest, id: String, input: &Map<String, Value>) -> ApiResult {
    let region = Region {
        id,
        description: input::string(input, "description").unwrap_or_default().to_owned(),
        parent_region_id: input::string(input, "parent_region_id").unwrap_or_default().to_owned(),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    check_parent(app, &region.id, &region.parent_region_id).await?;
    app.write(async |tx| store::region::insert(tx, &region).await).await?;
    created(&json!({"region": view::service::region(&region, &base_url(req))}))
}

/// The parent exists and is not below the region itself.
async fn check_parent(app: &App, id: &str, parent_id: &str) -> Result<()> {
    let mut next = parent_id.to_owned();
    for _ in 0..MAX_DEPTH {
        if next.is_empty() {
            return Ok(());
        }
        if next == id {
            break;
        }
        next = find(app, &next).await?.parent_region_id;
    }
    Err(Error::bad_request(format!(
        "The specified parent region {parent_id} would create a circular region hierarchy."
    )))
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_region", &[])?;
    let input = CHECKS.object(&body.0, "region")?;
    let id = input::string(input, "id").filter(|id| !id.is_empty()).map_or_else(id::hex, str::to_owned);
    insert(&app, &req, id, input).await
}

async fn create_with_id(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:create_region", &[])?;
    let input = CHECKS.object(&body.0, "region")?;
    if let Some(other) = input::string(input, "id").filter(|other| *other != *id) {
        return Err(
            Error::bad_request(format!("Conflicting region IDs specified: \"{id}\" != \"{other}\"")).into()
        );
    }
    if id.chars().count() > 255 {
        return Err(Error::bad_request("Invalid input for field/attribute id. It is too long").into());
    }
    insert(&app, &req, id.into_inner(), input).await
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:get_region", &[])?;
    let region = find(&app, &id).await?;
    json(&json!({"region": view::service::region(&region, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:update_region", &[])?;
    let input = CHECKS.object(&body.0, "region")?;
    input::same_id(input, &id, "region")?;
    let mut region = find(&app, &id).await?;
    if let Some(text) = input.get("description") {
        region.description = text.as_str().unwrap_or_default().to_owned();
    }
    if let Some(parent) = input.get("parent_region_id") {
        region.parent_region_id = parent.as_str().unwrap_or_default().to_owned();
        check_parent(&app, &region.id, &region.parent_region_id).await?;
    }
    region.extra = input::keep(&region.extra, input, KNOWN);
    if app.write(async |tx| store::region::update(tx, &region).await).await? != Change::Updated {
        return Err(faults::raced("region").into());
    }
    json(&json!({"region": view::service::region(&region, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_region", &[])?;
    let mut work = app.begin().await?;
    let tx = &mut *work.tx;
    let used = !store::endpoint::list(&mut *tx, "", "", &id).await?.is_empty()
        || !store::region::list(&mut *tx, &id).await?.is_empty();
    if used && !id.is_empty() {
        return Err(Error::forbidden(format!(
            "Unable to delete region {id} because it or its child regions have associated endpoints."
        ))
        .into());
    }
    if !id.is_empty() && !store::registered_limit::list(&mut *tx, "", &id, "").await?.is_empty() {
        return Err(faults::in_use("region", &id, "registered limits").into());
    }
    if store::region::delete(&mut *tx, &id).await? == 0 {
        return Err(faults::not_found("region", &id).into());
    }
    app.commit(work).await?;
    no_content()
}
