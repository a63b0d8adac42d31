//! `/v3/registered_limits`

use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    store::{self, registered_limit::RegisteredLimit},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

pub(super) fn rows() -> Vec<Route> {
    let (all, one) = ("/v3/registered_limits", "/v3/registered_limits/{registered_limit_id}");
    vec![
        Route::get(all, || web::route().to(index))
            .policy(&["identity:list_registered_limits"])
            .summary("List registered limits"),
        Route::post(all, || web::route().to(create))
            .policy(&["identity:create_registered_limits"])
            .body(|| CREATE.body("registered_limits"))
            .success(201)
            .summary("Create registered limits"),
        Route::get(one, || web::route().to(show))
            .policy(&["identity:get_registered_limit"])
            .summary("Show a registered limit"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_registered_limit"])
            .body(|| UPDATE.body("registered_limit"))
            .summary("Update a registered limit that no limit refers to"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_registered_limit"])
            .success(204)
            .summary("Delete a registered limit that no limit refers to"),
    ]
}

/// A limit's value: Keystone's column is a signed 32-bit number.
pub(super) fn number() -> Value {
    json!({"type": "integer", "minimum": -1, "maximum": i32::MAX})
}

/// A region's id or null.
pub(super) fn region() -> Value {
    json!({"type": ["string", "null"], "maxLength": 255})
}

/// The number in a member that was checked against [`number`].
pub(super) fn amount(input: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = input.get(name)?;
    // 5.0 is an integer to JSON schema; the bounds are checked.
    value.as_i64().or_else(|| value.as_f64().map(|n| n as i64))
}

fn item(required: &[&str]) -> Value {
    json!({
        "type": "object", "additionalProperties": false, "required": required,
        "properties": {
            "service_id": input::id(), "region_id": region(), "resource_name": input::name(),
            "default_limit": number(), "description": input::nullable_text(),
        },
    })
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| {
    let item = item(&["service_id", "resource_name", "default_limit"]);
    Checks::of(json!({"type": "array", "minItems": 1, "items": item}))
});
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::of(item(&[])));

fn not_found(id: &str) -> Error {
    Error::not_found(format!("Could not find registered limit for {}.", faults::short(id)))
}

async fn find(app: &App, id: &str) -> Result<RegisteredLimit> {
    store::registered_limit::get(app.db.reader(), id).await?.ok_or_else(|| not_found(id))
}

/// 400 unless the service and region exist that `input` names.
pub(super) async fn check_places(app: &App, input: &Map<String, Value>, what: &str) -> Result<()> {
    if let Some(service) = input::string(input, "service_id")
        && store::service::get(app.db.reader(), service).await?.is_none()
    {
        return Err(faults::expected("service_id", what));
    }
    if let Some(region) = input::string(input, "region_id")
        && store::region::get(app.db.reader(), region).await?.is_none()
    {
        return Err(faults::expected("region_id", what));
    }
    Ok(())
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_registered_limits", &[])?;
    let query = query_pairs(req.query_string());
    let last = |name| list::last(&query, name);
    let mut rows = store::registered_limit::list(
        app.db.reader(),
        last("service_id"),
        last("region_id"),
        last("resource_name"),
    )
    .await?;
    rows.retain(|r| list::passes(&query, "resource_name", &r.resource_name));
    list::answer(&req, &query, "registered_limits", rows, |r| &r.id, view::limit::registered_limit)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_registered_limits", &[])?;
    let items =
        CREATE.member(&body.0, "registered_limits")?.as_array().map(Vec::as_slice).unwrap_or_default();
    let now = Timestamp::now().0;
    let mut rows = Vec::with_capacity(items.len());
    for (n, input) in items.iter().filter_map(Value::as_object).enumerate() {
        check_places(&app, input, "registered_limit").await?;
        rows.push(RegisteredLimit {
            id: id::hex(),
            service_id: input::string(input, "service_id").unwrap_or_default().to_owned(),
            region_id: input::string(input, "region_id").map(str::to_owned),
            resource_name: input::string(input, "resource_name").unwrap_or_default().to_owned(),
            default_limit: amount(input, "default_limit").unwrap_or_default(),
            description: input::string(input, "description").map(str::to_owned),
            created_at: now + n as i64,
            generation: 1,
        });
    }
    let mut work = app.begin().await?;
    for row in &rows {
        store::registered_limit::insert(&mut *work.tx, row).await?;
    }
    app.commit(work).await?;
    let base = base_url(&req);
    let shown: Vec<Value> = rows.iter().map(|r| view::limit::registered_limit(r, &base)).collect();
    created(&json!({"registered_limits": shown}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:get_registered_limit", &[])?;
    let row = find(&app, &id).await?;
    json(&json!({"registered_limit": view::limit::registered_limit(&row, &base_url(&req))}))
}

fn in_use(id: &str) -> Error {
    Error::forbidden(format!(
        "Unable to update or delete registered limit {id} because there are project limits associated with it."
    ))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:update_registered_limit", &[])?;
    let input = UPDATE.object(&body.0, "registered_limit")?;
    check_places(&app, input, "registered_limit").await?;
    let mut work = app.begin().await?;
    let tx = &mut *work.tx;
    let mut row = store::registered_limit::get(&mut *tx, &id).await?.ok_or_else(|| not_found(&id))?;
    if store::limit::any_of(&mut *tx, &row.id).await? {
        return Err(in_use(&row.id).into());
    }
    for (name, column) in [("service_id", &mut row.service_id), ("resource_name", &mut row.resource_name)] {
        if let Some(text) = input::string(input, name) {
            *column = text.to_owned();
        }
    }
    for (name, column) in [("region_id", &mut row.region_id), ("description", &mut row.description)] {
        if let Some(value) = input.get(name) {
            *column = value.as_str().map(str::to_owned);
        }
    }
    if let Some(limit) = amount(input, "default_limit") {
        row.default_limit = limit;
    }
    if store::registered_limit::update(&mut *tx, &row).await? != Change::Updated {
        return Err(faults::raced("registered_limit").into());
    }
    app.commit(work).await?;
    json(&json!({"registered_limit": view::limit::registered_limit(&row, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_registered_limit", &[])?;
    let mut work = app.begin().await?;
    if store::limit::any_of(&mut *work.tx, &id).await? {
        return Err(in_use(&id).into());
    }
    if store::registered_limit::delete(&mut *work.tx, &id).await? == 0 {
        return Err(not_found(&id).into());
    }
    app.commit(work).await?;
    no_content()
}
