//! Flavors.

use crate::{
    app::App,
    input::{self, Query, integer, is_true},
    store::flavors::{self, Filter, Flavor, NewFlavor, Viewer},
    view::{flavors as view, links::Links},
};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{Error, Result, microversion::feature};
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

const CREATE: &str = "os_compute_api:os-flavor-manage:create";
const UPDATE: &str = "os_compute_api:os-flavor-manage:update";
const DELETE: &str = "os_compute_api:os-flavor-manage:delete";
const SEE_SPECS: &str = "os_compute_api:os-flavor-extra-specs:index";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/flavors", || web::route().to(index)).summary("Lists flavors"),
        Route::get("/v2.1/flavors/detail", || web::route().to(detail)).summary("Lists flavors with details"),
        Route::post("/v2.1/flavors", || web::route().to(create))
            .policy(&[CREATE])
            .summary("Creates a flavor"),
        Route::get("/v2.1/flavors/{id}", || web::route().to(show)).summary("Shows a flavor"),
        Route::put("/v2.1/flavors/{id}", || web::route().to(update))
            .policy(&[UPDATE])
            .window(feature::FLAVOR_DESCRIPTION)
            .summary("Changes a flavor's description"),
        Route::delete("/v2.1/flavors/{id}", || web::route().to(delete))
            .policy(&[DELETE])
            .success(202)
            .summary("Deletes a flavor"),
    ]
}

/// Whether the caller sees extra specs in flavors.
pub(super) fn may_see_specs(ctx: &Ctx) -> Result<bool> {
    Ok(ctx.may(SEE_SPECS, &[("project_id", ctx.caller()?.project_id())]))
}

fn full(req: &HttpRequest, ctx: &Ctx, flavor: &Flavor) -> ApiResult {
    let body = view::full(flavor, ctx.version, &Links::of(req, ctx), may_see_specs(ctx)?);
    json(&json!({"flavor": body}))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    list(&app, &ctx, &req, "flavors.index?", false).await
}

async fn detail(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    list(&app, &ctx, &req, "flavors.detail?", true).await
}

async fn list(app: &App, ctx: &Ctx, req: &HttpRequest, schema: &str, detail: bool) -> ApiResult {
    let caller = ctx.caller()?;
    let query = input::query(ctx, schema, req.query_string())?;
    let filter = Filter {
        is_public: if caller.is_admin() { is_public(&query)? } else { Some(true) },
        project: caller.project_id(),
        min_ram: minimum(&query, "minRam")?,
        min_disk: minimum(&query, "minDisk")?,
    };
    let mut all = flavors::list(&app.db, filter).await?;
    if let Some(name) = query.get("name").filter(|_| ctx.version.has(feature::FLAVOR_NAME_FILTER)) {
        all.retain(|flavor| flavor.name == name);
    }
    let key = query.get("sort_key").filter(|k| !k.is_empty()).unwrap_or("flavorid").to_owned();
    let descending = query.get("sort_dir") == Some("desc");
    all.sort_by(|a, b| {
        let order = compare(a, b, &key).then(a.number.cmp(&b.number));
        if descending { order.reverse() } else { order }
    });
    let skip = match query.get("marker") {
        None | Some("") => 0,
        Some(marker) => match all.iter().position(|f| f.id == marker) {
            Some(at) => at + 1,
            None => return Err(marker_not_found(marker).into()),
        },
    };
    let limit = query.limit(app.settings.compute.max_limit);
    let page: Vec<&Flavor> = all.iter().skip(skip).take(usize::try_from(limit).unwrap_or(0)).collect();
    let (links, specs) = (Links::of(req, ctx), may_see_specs(ctx)?);
    let items: Vec<Value> = page
        .iter()
        .map(|f| match detail {
            true => view::full(f, ctx.version, &links, specs),
            false => view::basic(f, ctx.version, &links),
        })
        .collect();
    let mut body = json!({"flavors": items});
    if let Some(last) = page.last()
        && page.len() as i64 == limit
    {
        let path = if detail { "flavors/detail" } else { "flavors" };
        body["flavors_links"] = links.next(path, query.pairs(), &last.id);
    }
    json(&body)
}

/// 400 in Nova's words.
pub(super) fn marker_not_found(marker: &str) -> Error {
    let short: String = marker.chars().take(255).collect();
    Error::bad_request(format!("marker [{short}] not found"))
}

/// An admin's `is_public`: public ones if not given, `none` for all.
fn is_public(query: &Query) -> Result<Option<bool>> {
    let Some(text) = query.get("is_public") else { return Ok(Some(true)) };
    match text.trim().to_ascii_lowercase().as_str() {
        "none" => Ok(None),
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(Some(true)),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(Some(false)),
        _ => Err(bad_filter("is_public", text)),
    }
}

fn minimum(query: &Query, name: &str) -> Result<i64> {
    match query.get(name) {
        None => Ok(0),
        Some(text) => text.trim().parse().map_err(|_| bad_filter(name, text)),
    }
}

fn bad_filter(name: &str, text: &str) -> Error {
    let short: String = text.chars().take(255).collect();
    Error::bad_request(format!("Invalid {name} filter [{short}]"))
}

fn compare(a: &Flavor, b: &Flavor, key: &str) -> Ordering {
    match key {
        "created_at" => a.created_at.cmp(&b.created_at),
        "description" => a.description.cmp(&b.description),
        "disabled" => a.disabled.cmp(&b.disabled),
        "ephemeral_gb" => a.ephemeral_gb.cmp(&b.ephemeral_gb),
        "id" => a.number.cmp(&b.number),
        "is_public" => a.is_public.cmp(&b.is_public),
        "memory_mb" => a.memory_mb.cmp(&b.memory_mb),
        "name" => a.name.cmp(&b.name),
        "root_gb" => a.root_gb.cmp(&b.root_gb),
        "rxtx_factor" => a.rxtx_factor.total_cmp(&b.rxtx_factor),
        "swap" => a.swap_mb.cmp(&b.swap_mb),
        "updated_at" => a.updated_at.cmp(&b.updated_at),
        "vcpus" => a.vcpus.cmp(&b.vcpus),
        // Nobody has a CPU weight.
        "vcpu_weight" => Ordering::Equal,
        _ => a.id.cmp(&b.id),
    }
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "flavors.show?", req.query_string())?;
    let flavor = flavors::get_by_id(&app.db, &id, Viewer::of(ctx.caller()?)).await?;
    full(&req, &ctx, &flavor)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "flavors.create", body)?;
    ctx.enforce(CREATE, &[])?;
    let new = read(&body["flavor"], ctx.legacy)?;
    let flavor = flavors::insert(&app.db, new).await?;
    full(&req, &ctx, &flavor)
}

/// A body that passed the schema.
fn read(flavor: &Value, legacy: bool) -> Result<NewFlavor> {
    let empty = Map::new();
    let flavor = flavor.as_object().unwrap_or(&empty);
    let number = |name: &str| flavor.get(name).map_or(Ok(0), integer);
    let name = flavor.get("name").and_then(Value::as_str).unwrap_or_default();
    let id = match flavor.get("id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(other) => Some(other.to_string()),
    };
    let rxtx_factor = match flavor.get("rxtx_factor") {
        None => 1.0,
        Some(Value::String(text)) => text.parse().unwrap_or(1.0),
        Some(other) => other.as_f64().unwrap_or(1.0),
    };
    Ok(NewFlavor {
        id: id.filter(|id| !id.is_empty()),
        // `/v2` takes blanks around names and drops them.
        name: if legacy { name.trim().to_owned() } else { name.to_owned() },
        vcpus: number("vcpus")?,
        memory_mb: number("ram")?,
        root_gb: number("disk")?,
        ephemeral_gb: number("OS-FLV-EXT-DATA:ephemeral")?,
        swap_mb: number("swap")?,
        rxtx_factor,
        is_public: flavor.get("os-flavor-access:is_public").is_none_or(is_true),
        description: flavor.get("description").and_then(Value::as_str).map(Into::into),
    })
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "flavors.update", body)?;
    ctx.enforce(UPDATE, &[])?;
    flavors::update_description(&app.db, &id, body["flavor"]["description"].as_str()).await?;
    let flavor = flavors::get_by_id(&app.db, &id, Viewer::Admin).await?;
    full(&req, &ctx, &flavor)
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce(DELETE, &[])?;
    flavors::delete(&app.db, &id).await?;
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}
