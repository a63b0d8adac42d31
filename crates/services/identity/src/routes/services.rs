//! `/v3/services`

use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    store::{self, service::Service},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Result, Timestamp, id};
use serde_json::{Value, json};
use std::sync::LazyLock;

const KNOWN: &[&str] = &["type", "enabled"];

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/services/{service_id}";
    vec![
        Route::get("/v3/services", || web::route().to(index))
            .policy(&["identity:list_services"])
            .summary("List services"),
        Route::post("/v3/services", || web::route().to(create))
            .policy(&["identity:create_service"])
            .body(|| CREATE.body("service"))
            .success(201)
            .summary("Create a service"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_service"]).summary("Show a service"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_service"])
            .body(|| UPDATE.body("service"))
            .summary("Update a service"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_service"])
            .success(204)
            .summary("Delete a service with its endpoints"),
    ]
}

fn properties() -> Value {
    json!({
        "name": {"type": ["string", "null"], "maxLength": 255}, "description": input::nullable_text(),
        "type": {"type": "string", "minLength": 1, "maxLength": 255}, "enabled": input::boolean(),
    })
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &["type"]));
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &[]));

async fn find(app: &App, id: &str) -> Result<Service> {
    store::service::get(app.db.reader(), id).await?.ok_or_else(|| faults::not_found("service", id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_services", &[])?;
    let query = query_pairs(req.query_string());
    let mut services = store::service::list(app.db.reader(), list::last(&query, "type")).await?;
    services.retain(|s| list::passes(&query, "name", &s.name()) && list::passes(&query, "type", &s.r#type));
    list::answer(&req, &query, "services", services, |s| &s.id, view::service::service)
}

pub(super) async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_service", &[])?;
    let input = CREATE.object(&body.0, "service")?;
    let service = Service {
        id: id::hex(),
        r#type: input::string(input, "type").unwrap_or_default().to_owned(),
        enabled: input::flag(input, "enabled").unwrap_or(true).into(),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    let mut work = app.begin().await?;
    store::service::insert(&mut *work.tx, &service).await?;
    app.commit(work).await?;
    created(&json!({"service": view::service::service(&service, &base_url(&req))}))
}

pub(super) async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
) -> ApiResult {
    ctx.enforce("identity:get_service", &[])?;
    let service = find(&app, &id).await?;
    json(&json!({"service": view::service::service(&service, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:update_service", &[])?;
    let input = UPDATE.object(&body.0, "service")?;
    input::same_id(input, &id, "service")?;
    let mut service = find(&app, &id).await?;
    if let Some(kind) = input::string(input, "type") {
        service.r#type = kind.to_owned();
    }
    if let Some(enabled) = input::flag(input, "enabled") {
        service.enabled = enabled.into();
    }
    service.extra = input::keep(&service.extra, input, KNOWN);
    let mut work = app.begin().await?;
    if store::service::update(&mut *work.tx, &service).await? != Change::Updated {
        return Err(faults::raced("service").into());
    }
    app.commit(work).await?;
    json(&json!({"service": view::service::service(&service, &base_url(&req))}))
}

pub(super) async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_service", &[])?;
    let mut work = app.begin().await?;
    if !store::registered_limit::list(&mut *work.tx, &id, "", "").await?.is_empty() {
        return Err(faults::in_use("service", &id, "registered limits").into());
    }
    if store::service::delete(&mut *work.tx, &id).await? == 0 {
        return Err(faults::not_found("service", &id).into());
    }
    app.commit(work).await?;
    no_content()
}
