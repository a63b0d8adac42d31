//! Compute services.

use crate::{
    app::App,
    input::{self, is_true},
    store::{
        control_services::{self, ControlService},
        hosts::{self, Host},
        services::{self, Change},
    },
    view::services as view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, no_content};
use ferrostack_model::{
    Error, Result, id,
    microversion::{feature, since},
};
use serde_json::{Value, json};

const LIST: &str = "os_compute_api:os-services:list";
const UPDATE: &str = "os_compute_api:os-services:update";
const DELETE: &str = "os_compute_api:os-services:delete";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-services", || web::route().to(index))
            .policy(&[LIST])
            .summary("Lists compute services"),
        Route::put("/v2.1/os-services/{id}", || web::route().to(update))
            .policy(&[UPDATE])
            .summary("Enables, disables or forces down a compute service"),
        Route::delete("/v2.1/os-services/{id}", || web::route().to(delete))
            .policy(&[DELETE])
            .success(204)
            .summary("Forgets a compute service"),
    ]
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "services.index?", req.query_string())?;
    ctx.enforce(LIST, &[])?;
    let wanted = |name: &str, value: &str| query.get(name).is_none_or(|w| w.is_empty() || w == value);
    let down_time = app.settings.compute.service_down_time;
    let mut found: Vec<(i64, Value)> = Vec::new();
    for host in hosts::list(&app.db).await? {
        if wanted("host", &host.host) && wanted("binary", view::BINARY) {
            found.push((host.service_number, view::full(&host, ctx.version, down_time)));
        }
    }
    for service in control_services::list(&app.db).await? {
        if wanted("host", &service.host) && wanted("binary", &service.binary) {
            found.push((service.number, view::control(&service, ctx.version, down_time)));
        }
    }
    found.sort_by_key(|(number, _)| *number);
    let items: Vec<Value> = found.into_iter().map(|(_, item)| item).collect();
    json(&json!({"services": items}))
}

fn short(text: &str) -> String {
    text.chars().take(255).collect()
}

async fn update(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "services.update", body)?;
    ctx.enforce(UPDATE, &[])?;
    if ctx.version.has(feature::SERVICE_UUID) {
        by_id(&app, &ctx, &id, &body).await
    } else {
        by_verb(&app, &ctx, &id, &body).await
    }
}

/// From 2.53: `{id}` is the service's.
async fn by_id(app: &App, ctx: &Ctx, id: &str, body: &Value) -> ApiResult {
    let host = match find(app, ctx, id).await? {
        Found::Compute(host) => host,
        Found::Control(service) => {
            return Err(Error::bad_request(format!(
                "Updating a {} service is not supported. Only nova-compute services can be updated.",
                service.binary
            ))
            .into());
        }
    };
    let change = read(body)?;
    match services::update(&app.db, &host.host, &change).await? {
        Some(host) => {
            app.hosts.changed(&host.host);
            let down_time = app.settings.compute.service_down_time;
            json(&json!({"service": view::full(&host, ctx.version, down_time)}))
        }
        None => Err(not_found(id).into()),
    }
}

fn not_found(id: &str) -> Error {
    Error::not_found(format!("Service {} could not be found.", short(id)))
}

/// A service by its id.
enum Found {
    /// Of a host.
    Compute(Box<Host>),
    /// Of the control plane.
    Control(ControlService),
}

/// The service with this id: a UUID from 2.53, a number before.
async fn find(app: &App, ctx: &Ctx, id: &str) -> Result<Found> {
    let by_uuid = ctx.version.has(feature::SERVICE_UUID);
    if by_uuid && !id::is_uuid_like(id) {
        return Err(Error::bad_request(format!("Invalid uuid {}", short(id))));
    }
    let asked: i64 = match by_uuid {
        true => 0,
        false => id.parse().map_err(|_| Error::bad_request("id must be an integer"))?,
    };
    let is = |uuid: &str, number: i64| if by_uuid { same_uuid(uuid, id) } else { number == asked };
    if let Some(host) = hosts::list(&app.db).await?.into_iter().find(|h| is(&h.service_id, h.service_number))
    {
        return Ok(Found::Compute(Box::new(host)));
    }
    let control = control_services::list(&app.db).await?.into_iter().find(|s| is(&s.id, s.number));
    control.map(Found::Control).ok_or_else(|| not_found(id))
}

/// Whether two texts are one UUID, dashes and case apart.
pub(super) fn same_uuid(a: &str, b: &str) -> bool {
    a.replace('-', "").eq_ignore_ascii_case(&b.replace('-', ""))
}

fn read(body: &Value) -> Result<Change> {
    let disabled = body["status"].as_str().map(|s| s == "disabled");
    let disabled_reason = body["disabled_reason"].as_str().map(str::to_owned);
    if disabled_reason.is_some() && disabled != Some(true) {
        return Err(Error::bad_request("Specifying disabled_reason requires that status is 'disabled'."));
    }
    let forced_down = body.get("forced_down").map(is_true);
    if disabled.is_none() && forced_down.is_none() {
        return Err(Error::bad_request(
            "No updates were requested. Fields 'status' or 'forced_down' should be specified.",
        ));
    }
    Ok(Change { disabled, disabled_reason, forced_down })
}

/// Below 2.53: `{id}` is what to do, the body names the host.
async fn by_verb(app: &App, ctx: &Ctx, verb: &str, body: &Value) -> ApiResult {
    let (host, binary) = (body["host"].as_str().unwrap_or(""), body["binary"].as_str().unwrap_or(""));
    let mut answer = json!({"host": host, "binary": binary});
    let mut change = Change::default();
    match verb {
        "enable" => {
            change.disabled = Some(false);
            answer["status"] = json!("enabled");
        }
        "disable" => {
            change.disabled = Some(true);
            answer["status"] = json!("disabled");
        }
        "disable-log-reason" => {
            let Some(reason) = body["disabled_reason"].as_str() else {
                return Err(Error::bad_request("Missing disabled reason field").into());
            };
            change.disabled = Some(true);
            change.disabled_reason = Some(reason.into());
            answer["status"] = json!("disabled");
            answer["disabled_reason"] = json!(reason);
        }
        "force-down" if ctx.version.has(since(11)) => {
            let Some(down) = body.get("forced_down").map(is_true) else {
                return Err(Error::bad_request("Missing forced_down field").into());
            };
            change.forced_down = Some(down);
            answer["forced_down"] = json!(down);
        }
        _ => return Err(Error::not_found("Unknown action").into()),
    }
    if binary != view::BINARY {
        let text = format!("Could not find binary {binary} on host {host}.");
        return Err(Error::not_found(text).into());
    }
    if services::update(&app.db, host, &change).await?.is_none() {
        return Err(Error::not_found(format!("Host '{host}' is not mapped to any cell")).into());
    }
    app.hosts.changed(host);
    json(&json!({"service": answer}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce(DELETE, &[])?;
    match find(&app, &ctx, &id).await? {
        Found::Compute(host) => services::delete(&app.db, &host.host).await?,
        Found::Control(service) => control_services::delete(&app.db, &service.id).await?,
    }
    no_content()
}
