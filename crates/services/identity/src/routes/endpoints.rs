//! `/v3/endpoints`

use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    store::{self, endpoint::Endpoint},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const KNOWN: &[&str] = &["service_id", "interface", "region", "region_id", "url", "enabled"];

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/endpoints/{endpoint_id}";
    vec![
        Route::get("/v3/endpoints", || web::route().to(index))
            .policy(&["identity:list_endpoints"])
            .summary("List endpoints"),
        Route::post("/v3/endpoints", || web::route().to(create))
            .policy(&["identity:create_endpoint"])
            .body(|| CREATE.body("endpoint"))
            .success(201)
            .summary("Create an endpoint"),
        Route::get(one, || web::route().to(show))
            .policy(&["identity:get_endpoint"])
            .summary("Show an endpoint"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_endpoint"])
            .body(|| UPDATE.body("endpoint"))
            .summary("Update an endpoint"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_endpoint"])
            .success(204)
            .summary("Delete an endpoint"),
    ]
}

fn properties() -> Value {
    let region = json!({"type": ["string", "null"], "maxLength": 255});
    json!({
        "service_id": input::id(), "interface": {"type": "string", "enum": ["admin", "internal", "public"]},
        "region": region, "region_id": region, "enabled": input::boolean(), "description": input::nullable_text(),
        "url": {"type": "string", "minLength": 0, "maxLength": 225, "pattern": "^[a-zA-Z0-9+.-]+:.+"},
    })
}

pub(super) static CREATE: LazyLock<Checks> =
    LazyLock::new(|| Checks::new(properties(), &["interface", "service_id", "url"]));
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &[]));

async fn find(app: &App, id: &str) -> Result<Endpoint> {
    store::endpoint::get(app.db.reader(), id).await?.ok_or_else(|| faults::not_found("endpoint", id))
}

/// Checks service, region and the URL's placeholders; an unknown `region` (the old member) is to be made.
pub(super) async fn check(app: &App, input: &Map<String, Value>) -> Result<Option<String>> {
    if let Some(url) = input::string(input, "url")
        && view::catalog::substitute(url, Some("p"), "u").is_none_or(|u| u.contains("%(") || u.contains("$("))
    {
        return Err(Error::bad_request(format!("Cannot create an endpoint with an invalid URL: {url}.")));
    }
    if let Some(service) = input::string(input, "service_id")
        && store::service::get(app.db.reader(), service).await?.is_none()
    {
        return Err(faults::expected("endpoint service_id", "service table"));
    }
    if let Some(region) = input::string(input, "region_id") {
        if !region.is_empty() && store::region::get(app.db.reader(), region).await?.is_none() {
            return Err(faults::expected("endpoint region_id", "region table"));
        }
        return Ok(None);
    }
    Ok(input::string(input, "region").filter(|r| !r.is_empty()).map(str::to_owned))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_endpoints", &[])?;
    let query = query_pairs(req.query_string());
    let last = |name| list::last(&query, name);
    let endpoints =
        store::endpoint::list(app.db.reader(), last("service_id"), last("interface"), last("region_id"))
            .await?;
    list::answer(&req, &query, "endpoints", endpoints, |e| &e.id, view::service::endpoint)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_endpoint", &[])?;
    let input = CREATE.object(&body.0, "endpoint")?;
    let new_region = check(&app, input).await?;
    let now = Timestamp::now().0;
    let text = |name| input::string(input, name).unwrap_or_default().to_owned();
    let endpoint = Endpoint {
        id: id::hex(),
        service_id: text("service_id"),
        interface: text("interface"),
        region_id: new_region.clone().unwrap_or_else(|| text("region_id")),
        url: text("url"),
        enabled: input::flag(input, "enabled").unwrap_or(true).into(),
        extra: input::keep("{}", input, KNOWN),
        created_at: now,
        generation: 1,
    };
    let mut work = app.begin().await?;
    if let Some(region) = &new_region {
        store::region::ensure(&mut *work.tx, region, now).await?;
    }
    store::endpoint::insert(&mut *work.tx, &endpoint).await?;
    app.commit(work).await?;
    created(&json!({"endpoint": view::service::endpoint(&endpoint, &base_url(&req))}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:get_endpoint", &[])?;
    let endpoint = find(&app, &id).await?;
    json(&json!({"endpoint": view::service::endpoint(&endpoint, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:update_endpoint", &[])?;
    let input = UPDATE.object(&body.0, "endpoint")?;
    input::same_id(input, &id, "endpoint")?;
    let mut endpoint = find(&app, &id).await?;
    let new_region = check(&app, input).await?;
    for (name, column) in [
        ("service_id", &mut endpoint.service_id),
        ("interface", &mut endpoint.interface),
        ("region_id", &mut endpoint.region_id),
        ("url", &mut endpoint.url),
    ] {
        if let Some(value) = input.get(name) {
            *column = value.as_str().unwrap_or_default().to_owned();
        }
    }
    if let Some(region) = &new_region {
        endpoint.region_id.clone_from(region);
    }
    if let Some(enabled) = input::flag(input, "enabled") {
        endpoint.enabled = enabled.into();
    }
    endpoint.extra = input::keep(&endpoint.extra, input, KNOWN);
    let mut work = app.begin().await?;
    if let Some(region) = &new_region {
        store::region::ensure(&mut *work.tx, region, Timestamp::now().0).await?;
    }
    if store::endpoint::update(&mut *work.tx, &endpoint).await? != Change::Updated {
        return Err(faults::raced("endpoint").into());
    }
    app.commit(work).await?;
    json(&json!({"endpoint": view::service::endpoint(&endpoint, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_endpoint", &[])?;
    let mut work = app.begin().await?;
    if store::endpoint::delete(&mut *work.tx, &id).await? == 0 {
        return Err(faults::not_found("endpoint", &id).into());
    }
    app.commit(work).await?;
    no_content()
}
