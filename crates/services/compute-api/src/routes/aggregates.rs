//! Host aggregates.

use crate::{
    app::App,
    input,
    store::aggregates::{self, Aggregate},
    view::aggregates as view,
};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_bus::Address;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    message::{CacheImages, Envelope},
    microversion::feature,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

const INDEX: &str = "os_compute_api:os-aggregates:index";
const SHOW: &str = "os_compute_api:os-aggregates:show";
const CREATE: &str = "os_compute_api:os-aggregates:create";
const UPDATE: &str = "os_compute_api:os-aggregates:update";
const DELETE: &str = "os_compute_api:os-aggregates:delete";
const ADD_HOST: &str = "os_compute_api:os-aggregates:add_host";
const REMOVE_HOST: &str = "os_compute_api:os-aggregates:remove_host";
const SET_METADATA: &str = "os_compute_api:os-aggregates:set_metadata";
const IMAGES: &str = "compute:aggregates:images";
/// Seconds after which nobody waits for a cached image any more.
const CACHE_DEADLINE: i64 = 3600;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-aggregates", || web::route().to(index))
            .policy(&[INDEX])
            .summary("Lists host aggregates"),
        Route::post("/v2.1/os-aggregates", || web::route().to(create))
            .policy(&[CREATE])
            .summary("Creates a host aggregate"),
        Route::get("/v2.1/os-aggregates/{id}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows a host aggregate"),
        Route::put("/v2.1/os-aggregates/{id}", || web::route().to(update))
            .policy(&[UPDATE])
            .summary("Changes the name or the availability zone of a host aggregate"),
        Route::delete("/v2.1/os-aggregates/{id}", || web::route().to(delete))
            .policy(&[DELETE])
            .summary("Deletes a host aggregate"),
        Route::post("/v2.1/os-aggregates/{id}/action", || web::route().to(action))
            .policy(&[ADD_HOST, REMOVE_HOST, SET_METADATA])
            .summary("Adds or removes a host of an aggregate, or sets its metadata"),
        Route::post("/v2.1/os-aggregates/{id}/images", || web::route().to(images))
            .policy(&[IMAGES])
            .window(feature::AGGREGATE_IMAGES)
            .success(202)
            .summary("Fetches images to the hosts of an aggregate before servers want them"),
    ]
}

/// The number in a path; 400 if it is none.
fn number(id: &str) -> Result<i64> {
    let text = id.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::bad_request("Invalid input received: id must be an integer"));
    }
    let short: String = text.chars().take(255).collect();
    // What does not fit is nobody's number.
    text.parse().map_err(|_| Error::not_found(format!("Aggregate {short} could not be found.")))
}

fn full(ctx: &Ctx, aggregate: &Aggregate) -> ApiResult {
    json(&json!({"aggregate": view::full(aggregate, ctx.version)}))
}

/// Tells the schedulers what has become of the hosts.
fn tell<'a>(app: &App, hosts: impl IntoIterator<Item = &'a String>) {
    hosts.into_iter().for_each(|host| app.hosts.changed(host));
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    input::query(&ctx, "aggregates.index?", req.query_string())?;
    ctx.enforce(INDEX, &[])?;
    let all = aggregates::list(&app.db).await?;
    let items: Vec<Value> = all.iter().map(|a| view::full(a, ctx.version)).collect();
    json(&json!({"aggregates": items}))
}

async fn create(app: web::Data<App>, ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "aggregates.create", body)?;
    ctx.enforce(CREATE, &[])?;
    let asked = &body["aggregate"];
    let name = asked["name"].as_str().unwrap_or_default().trim();
    let zone = asked["availability_zone"].as_str().map(str::trim).filter(|z| !z.is_empty());
    let made = aggregates::insert(&app.db, name, zone).await?;
    json(&json!({"aggregate": view::created(&made, ctx.version)}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "aggregates.show?", req.query_string())?;
    ctx.enforce(SHOW, &[])?;
    full(&ctx, &aggregates::get(&app.db, number(&id)?).await?)
}

async fn update(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "aggregates.update", body)?;
    ctx.enforce(UPDATE, &[])?;
    let asked = &body["aggregate"];
    let name = asked["name"].as_str().map(str::trim);
    let zone = asked.get("availability_zone").map(|zone| zone.as_str().map(str::trim));
    let changed = aggregates::update(&app.db, number(&id)?, name, zone).await?;
    tell(&app, &changed.hosts);
    full(&ctx, &changed)
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce(DELETE, &[])?;
    aggregates::delete(&app.db, number(&id)?).await?;
    Ok(HttpResponse::Ok().content_type("application/json").finish())
}

async fn action(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let name = match body.as_object() {
        Some(map) if map.len() == 1 => map.keys().next().cloned().unwrap_or_default(),
        _ => return Err(Error::bad_request("Malformed request body").into()),
    };
    let rule = match name.as_str() {
        "add_host" => ADD_HOST,
        "remove_host" => REMOVE_HOST,
        "set_metadata" => SET_METADATA,
        _ => {
            let short: String = name.chars().take(255).collect();
            return Err(Error::bad_request(format!("There is no such action: {short}")).into());
        }
    };
    let body = input::body(&ctx, &format!("aggregates.{name}"), body)?;
    ctx.enforce(rule, &[])?;
    let id = number(&id)?;
    let wish = &body[&name];
    let host = wish["host"].as_str().unwrap_or_default();
    let changed = match rule {
        ADD_HOST => aggregates::add_host(&app.db, id, host).await?,
        REMOVE_HOST => aggregates::remove_host(&app.db, id, host).await?,
        _ => {
            let changes: BTreeMap<String, Option<String>> = wish["metadata"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned)))
                .collect();
            aggregates::set_metadata(&app.db, id, &changes).await?
        }
    };
    tell(&app, changed.hosts.iter().chain((rule == REMOVE_HOST).then_some(&host.to_owned())));
    full(&ctx, &changed)
}

/// The images as the caller sees them, told to the agents of the hosts that are up and enabled.
async fn images(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "aggregates.images", body)?;
    ctx.enforce(IMAGES, &[])?;
    let ids: Vec<&str> =
        body["cache"].as_array().into_iter().flatten().filter_map(|i| i["id"].as_str()).collect();
    let distinct: HashSet<&str> = ids.iter().copied().collect();
    if distinct.len() != ids.len() {
        return Err(Error::bad_request("Duplicate images in request").into());
    }
    let aggregate = aggregates::get(&app.db, number(&id)?).await?;
    let mut sources = Vec::with_capacity(ids.len());
    for image in ids {
        match app.image.get(image, ctx.caller()?, &ctx.request_id).await {
            Ok(found) if found.status == "active" => sources.push(found.source),
            Ok(_) => return Err(Error::bad_request(format!("Image {image} is not active.")).into()),
            Err(error) if error.kind == ErrorKind::NotFound => {
                return Err(Error::bad_request(format!("Image {image} could not be found.")).into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let wanted = CacheImages { images: sources };
    let now = Timestamp::now();
    let down = app.settings.compute.service_down_time;
    for host in crate::store::hosts::list(&app.db).await? {
        if !aggregate.hosts.contains(&host.host) || host.disabled || !host.is_up(now, down) {
            continue;
        }
        let message = Envelope::new(&wanted, Some(&ctx.request_id))?.until(now.plus_seconds(CACHE_DEADLINE));
        app.bus.publish(&Address::Agent(host.host), &message).await?;
    }
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}
