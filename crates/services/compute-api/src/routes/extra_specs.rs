//! Extra specs of flavors.

use crate::{
    app::App,
    extra_specs::validate,
    input,
    store::flavors::{self, Viewer},
};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{Error, Result, microversion::feature};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const INDEX: &str = "os_compute_api:os-flavor-extra-specs:index";
const SHOW: &str = "os_compute_api:os-flavor-extra-specs:show";
const CREATE: &str = "os_compute_api:os-flavor-extra-specs:create";
const UPDATE: &str = "os_compute_api:os-flavor-extra-specs:update";
const DELETE: &str = "os_compute_api:os-flavor-extra-specs:delete";
const ALL: &str = "/v2.1/flavors/{flavor_id}/os-extra_specs";
const ONE: &str = "/v2.1/flavors/{flavor_id}/os-extra_specs/{key}";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get(ALL, || web::route().to(index)).policy(&[INDEX]).summary("Lists a flavor's extra specs"),
        Route::post(ALL, || web::route().to(create))
            .policy(&[CREATE])
            .summary("Sets extra specs of a flavor"),
        Route::get(ONE, || web::route().to(show)).policy(&[SHOW]).summary("Shows an extra spec"),
        Route::put(ONE, || web::route().to(update)).policy(&[UPDATE]).summary("Changes an extra spec"),
        Route::delete(ONE, || web::route().to(delete)).policy(&[DELETE]).summary("Removes an extra spec"),
    ]
}

fn enforce_read(ctx: &Ctx, rule: &str) -> Result<()> {
    ctx.enforce(rule, &[("project_id", ctx.caller()?.project_id())])
}

fn not_found(flavor_id: &str, key: &str) -> Error {
    let short: String = key.chars().take(255).collect();
    Error::not_found(format!("Flavor {flavor_id} has no extra specs with key {short}."))
}

/// Reads a checked object of texts and numbers; from 2.86 each must be of its key's kind.
fn read(ctx: &Ctx, specs: &Value) -> Result<BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    for (key, value) in specs.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if ctx.version.has(feature::EXTRA_SPECS_VALIDATED) {
            validate(key, &text)?;
        }
        read.insert(key.clone(), text);
    }
    Ok(read)
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "extra_specs.index?", req.query_string())?;
    enforce_read(&ctx, INDEX)?;
    let flavor = flavors::get_by_id(&app.db, &id, Viewer::of(ctx.caller()?)).await?;
    json(&json!({"extra_specs": flavor.extra_specs}))
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "extra_specs.show?", req.query_string())?;
    enforce_read(&ctx, SHOW)?;
    let (id, key) = path.into_inner();
    let flavor = flavors::get_by_id(&app.db, &id, Viewer::of(ctx.caller()?)).await?;
    match flavor.extra_specs.get(&key) {
        Some(value) => json(&json!({key: value})),
        None => Err(not_found(&id, &key).into()),
    }
}

async fn create(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "extra_specs.create", body)?;
    ctx.enforce(CREATE, &[])?;
    let specs = read(&ctx, &body["extra_specs"])?;
    flavors::set_extra_specs(&app.db, &id, &specs).await?;
    json(&body)
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let (id, key) = path.into_inner();
    let body = input::body(&ctx, "extra_specs.update", body)?;
    ctx.enforce(UPDATE, &[])?;
    let specs = read(&ctx, &body)?;
    if !specs.contains_key(&key) {
        return Err(Error::bad_request("Request body and URI mismatch").into());
    }
    flavors::set_extra_specs(&app.db, &id, &specs).await?;
    json(&body)
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    ctx.enforce(DELETE, &[])?;
    let (id, key) = path.into_inner();
    flavors::get_by_id(&app.db, &id, Viewer::Admin).await?;
    if !flavors::delete_extra_spec(&app.db, &id, &key).await? {
        return Err(not_found(&id, &key).into());
    }
    Ok(HttpResponse::Ok().content_type("application/json").finish())
}
