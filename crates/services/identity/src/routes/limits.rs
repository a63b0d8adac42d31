//! `/v3/limits`

use super::registered_limits::{amount, check_places, number, region};
use crate::{
    app::App,
    faults,
    input::{self, Checks},
    limits, list,
    store::{
        self,
        limit::{Limit, Wanted},
        project::Project,
        registered_limit::RegisteredLimit,
    },
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::LazyLock};

pub(super) fn rows() -> Vec<Route> {
    let (all, one) = ("/v3/limits", "/v3/limits/{limit_id}");
    vec![
        Route::get(all, || web::route().to(index))
            .policy(&["identity:list_limits"])
            .summary("List the limits of the token's scope"),
        Route::post(all, || web::route().to(create))
            .policy(&["identity:create_limits"])
            .body(|| CREATE.body("limits"))
            .success(201)
            .summary("Create limits of projects or domains"),
        Route::get("/v3/limits/model", || web::route().to(model))
            .policy(&["identity:get_limit_model"])
            .summary("Show the enforcement model of limits"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_limit"]).summary("Show a limit"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_limit"])
            .body(|| UPDATE.body("limit"))
            .summary("Update a limit"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_limit"])
            .success(204)
            .summary("Delete a limit"),
    ]
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| {
    Checks::of(json!({"type": "array", "minItems": 1, "items": {
        "type": "object", "additionalProperties": false,
        "required": ["service_id", "resource_name", "resource_limit"],
        "oneOf": [{"required": ["project_id"]}, {"required": ["domain_id"]}],
        "properties": {
            "service_id": input::id(), "region_id": region(), "resource_name": input::name(),
            "resource_limit": number(), "description": input::nullable_text(),
            "project_id": input::id(), "domain_id": input::id(),
        },
    }}))
});
static UPDATE: LazyLock<Checks> = LazyLock::new(|| {
    Checks::of(json!({
        "type": "object", "additionalProperties": false,
        "properties": {"resource_limit": number(), "description": input::nullable_text()},
    }))
});

fn not_found(id: &str) -> Error {
    Error::not_found(format!("Could not find limit for {}.", faults::short(id)))
}

fn no_reference() -> Error {
    Error::forbidden("Unable to create a limit that has no corresponding registered limit.")
}

async fn model(app: web::Data<App>, ctx: Ctx) -> ApiResult {
    ctx.enforce("identity:get_limit_model", &[])?;
    json(&json!({"model": limits::describe(app.limit_model)}))
}

/// A system's token sees all limits, a domain's those of the domain and its projects, a project's its own.
async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_limits", &[])?;
    let query = query_pairs(req.query_string());
    let claims = &ctx.caller()?.claims;
    let mut wanted = Wanted {
        service_id: list::last(&query, "service_id"),
        region_id: list::last(&query, "region_id"),
        resource_name: list::last(&query, "resource_name"),
        project_id: list::last(&query, "project_id"),
        domain_id: list::last(&query, "domain_id"),
        ..Default::default()
    };
    let mut visible = true;
    if let Some(domain) = &claims.domain {
        wanted.within_domain = &domain.id;
    } else if let Some(project) = &claims.project {
        visible = wanted.project_id.is_empty() || wanted.project_id == project.id;
        wanted.project_id = &project.id;
    } else {
        visible = claims.system;
    }
    let mut rows = if visible { store::limit::list(app.db.reader(), &wanted).await? } else { Vec::new() };
    rows.retain(|r| list::passes(&query, "resource_name", &r.resource_name));
    list::answer(&req, &query, "limits", rows, |r| &r.id, view::limit::limit)
}

/// A wanted limit, its registered limit's id, and the project if it is one's.
struct New {
    row: Limit,
    project: Option<Project>,
}

/// Finds what `input` refers to: 400 for a service, region, project or domain that there is none of, 403 without a
/// registered limit.
async fn resolve(
    app: &App,
    input: &Map<String, Value>,
    registered: &mut BTreeMap<String, RegisteredLimit>,
    created_at: i64,
) -> Result<New> {
    check_places(app, input, "limit").await?;
    let text = |name| input::string(input, name).unwrap_or_default();
    let mut project = None;
    let mut domain_id = input::string(input, "domain_id").map(str::to_owned);
    if let Some(id) = input::string(input, "project_id") {
        let found = store::project::get(app.db.reader(), id).await?;
        let found = found.ok_or_else(|| faults::expected("project_id", "limit"))?;
        // A domain is a project as well; its limit is the domain's.
        if found.is_domain == 1 {
            domain_id = Some(found.id);
        } else {
            project = Some(found);
        }
    } else if store::domain::get(app.db.reader(), text("domain_id")).await?.is_none() {
        return Err(faults::expected("domain_id", "limit"));
    }
    let above = store::registered_limit::find(
        app.db.reader(),
        text("service_id"),
        text("region_id"),
        text("resource_name"),
    )
    .await?
    .ok_or_else(no_reference)?;
    let row = Limit {
        id: id::hex(),
        registered_limit_id: above.id.clone(),
        project_id: project.as_ref().map(|p| p.id.clone()),
        domain_id,
        resource_limit: amount(input, "resource_limit").unwrap_or_default(),
        description: input::string(input, "description").map(str::to_owned),
        created_at,
        generation: 1,
        service_id: above.service_id.clone(),
        region_id: above.region_id.clone(),
        resource_name: above.resource_name.clone(),
    };
    registered.insert(above.id.clone(), above);
    Ok(New { row, project })
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_limits", &[])?;
    let items = CREATE.member(&body.0, "limits")?.as_array().map(Vec::as_slice).unwrap_or_default();
    let now = Timestamp::now().0;
    let mut registered = BTreeMap::new();
    let mut new = Vec::with_capacity(items.len());
    for (n, input) in items.iter().filter_map(Value::as_object).enumerate() {
        new.push(resolve(&app, input, &mut registered, now + n as i64).await?);
    }
    let mut work = app.begin().await?;
    // In the order of ids, so that two requests never wait for each other.
    for row in registered.values_mut() {
        let now = store::registered_limit::hold(&mut *work.tx, &row.id).await?;
        *row = now.filter(|now| now.key() == row.key()).ok_or_else(no_reference)?;
    }
    for limit in &new {
        store::limit::insert(&mut *work.tx, &limit.row).await?;
    }
    // A limit may come in one request with the one above it, in any order.
    for limit in &new {
        if let Some(above) = registered.get(&limit.row.registered_limit_id) {
            limits::check(&mut work.tx, app.limit_model, above, &limit.row, limit.project.as_ref()).await?;
        }
    }
    app.commit(work).await?;
    let base = base_url(&req);
    let shown: Vec<Value> = new.iter().map(|n| view::limit::limit(&n.row, &base)).collect();
    created(&json!({"limits": shown}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let row = store::limit::get(app.db.reader(), &id).await?;
    match &row {
        Some(limit) => {
            let project = match &limit.project_id {
                Some(project) => store::project::get(app.db.reader(), project).await?,
                None => None,
            };
            ctx.enforce(
                "identity:get_limit",
                &[
                    ("target.limit.project_id", limit.project_id.as_deref().unwrap_or("None")),
                    ("target.limit.project.domain_id", project.as_ref().map_or("", |p| p.domain_id.as_str())),
                    ("target.limit.domain.id", limit.domain_id.as_deref().unwrap_or_default()),
                ],
            )?;
        }
        None => ctx.enforce("identity:get_limit", &[])?,
    }
    let row = row.ok_or_else(|| not_found(&id))?;
    json(&json!({"limit": view::limit::limit(&row, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:update_limit", &[])?;
    let input = UPDATE.object(&body.0, "limit")?;
    let mut work = app.begin().await?;
    let tx = &mut *work.tx;
    let found = store::limit::get(&mut *tx, &id).await?.ok_or_else(|| not_found(&id))?;
    let above = store::registered_limit::hold(&mut *tx, &found.registered_limit_id).await?;
    let above = above.ok_or_else(|| not_found(&id))?;
    // Again: it may have changed while we waited.
    let mut row = store::limit::get(&mut *tx, &id).await?.ok_or_else(|| not_found(&id))?;
    if let Some(limit) = amount(input, "resource_limit") {
        row.resource_limit = limit;
    }
    if let Some(text) = input.get("description") {
        row.description = text.as_str().map(str::to_owned);
    }
    if store::limit::update(&mut *tx, &row).await? != Change::Updated {
        return Err(faults::raced("limit").into());
    }
    let project = match &row.project_id {
        Some(project) => store::project::get(&mut *tx, project).await?,
        None => None,
    };
    limits::check(&mut *tx, app.limit_model, &above, &row, project.as_ref()).await?;
    app.commit(work).await?;
    json(&json!({"limit": view::limit::limit(&row, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_limit", &[])?;
    app.write(async |tx| match store::limit::delete(tx, &id).await? {
        0 => Err(not_found(&id)),
        _ => Ok(()),
    })
    .await?;
    no_content()
}

/// Puts each project's limits into it (`include_limits`); `entries` are `{"project": {…}}`.
pub(super) async fn include(app: &App, entries: &mut Value) -> Result<()> {
    for entry in entries.as_array_mut().into_iter().flatten() {
        let id = entry["project"]["id"].as_str().unwrap_or_default().to_owned();
        let wanted = Wanted { project_id: &id, ..Default::default() };
        let rows = store::limit::list(app.db.reader(), &wanted).await?;
        entry["project"]["limits"] = rows.iter().map(view::limit::bare).collect();
    }
    Ok(())
}
