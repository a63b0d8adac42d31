//! `/v3/OS-EP-FILTER/endpoint_groups`

use crate::{
    app::App,
    endpoint_filter, faults,
    input::{self, Checks},
    list,
    store::{self, endpoint_group::EndpointGroup},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const ALL: &str = "/v3/OS-EP-FILTER/endpoint_groups";
const ONE: &str = "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}";
const PROJECT: &str = "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}";

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get(ALL, || web::route().to(index))
            .policy(&["identity:list_endpoint_groups"])
            .summary("List endpoint groups"),
        Route::post(ALL, || web::route().to(create))
            .policy(&["identity:create_endpoint_group"])
            .body(|| CREATE.body("endpoint_group"))
            .success(201)
            .summary("Create an endpoint group"),
        Route::get(ONE, || web::route().to(show))
            .policy(&["identity:get_endpoint_group"])
            .summary("Show an endpoint group"),
        Route::patch(ONE, || web::route().to(update))
            .policy(&["identity:update_endpoint_group"])
            .body(|| UPDATE.body("endpoint_group"))
            .summary("Update an endpoint group"),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&["identity:delete_endpoint_group"])
            .success(204)
            .summary("Delete an endpoint group"),
        Route::get("/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints", || {
            web::route().to(endpoints)
        })
        .policy(&["identity:list_endpoints_associated_with_endpoint_group"])
        .summary("List the endpoints of an endpoint group"),
        Route::get("/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects", || {
            web::route().to(projects)
        })
        .policy(&["identity:list_projects_associated_with_endpoint_group"])
        .summary("List the projects that an endpoint group is for"),
        Route::put(PROJECT, || web::route().to(add))
            .policy(&["identity:add_endpoint_group_to_project"])
            .success(204)
            .summary("Limit a project's catalog to an endpoint group"),
        Route::get(PROJECT, || web::route().to(check))
            .policy(&["identity:get_endpoint_group_in_project"])
            .summary("Show an endpoint group's association with a project"),
        Route::delete(PROJECT, || web::route().to(remove))
            .policy(&["identity:remove_endpoint_group_from_project"])
            .success(204)
            .summary("End an endpoint group's association with a project"),
    ]
}

fn properties() -> Value {
    json!({
        "name": input::name(), "description": input::nullable_text(),
        "filters": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 255}},
    })
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &["name", "filters"]));
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &[]));

async fn find(app: &App, id: &str) -> Result<EndpointGroup> {
    let found = store::endpoint_group::get(app.db.reader(), id).await?;
    found.ok_or_else(|| faults::not_found("Endpoint Group", id))
}

/// The filters, if given: at least one, and only known ones.
fn filters(input: &Map<String, Value>) -> Result<Option<String>> {
    let Some(filters) = input.get("filters").and_then(Value::as_object) else { return Ok(None) };
    if filters.is_empty() {
        return Err(Error::bad_request("filters field is required and cannot be empty"));
    }
    if filters.keys().any(|key| !endpoint_filter::KEYS.contains(&key.as_str())) {
        return Err(faults::expected(&endpoint_filter::KEYS.join(" or "), "endpoint_group"));
    }
    Ok(Some(store::text(filters)))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_endpoint_groups", &[])?;
    let query = query_pairs(req.query_string());
    let mut groups = store::endpoint_group::list(app.db.reader(), list::last(&query, "name")).await?;
    groups.retain(|g| list::passes(&query, "name", &g.name));
    list::answer(&req, &query, "endpoint_groups", groups, |g| &g.id, view::endpoint_group::endpoint_group)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_endpoint_group", &[])?;
    let input = CREATE.object(&body.0, "endpoint_group")?;
    let group = EndpointGroup {
        id: id::hex(),
        name: input::string(input, "name").unwrap_or_default().to_owned(),
        description: input::string(input, "description").map(str::to_owned),
        filters: filters(input)?.unwrap_or_default(),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    app.write(async |tx| store::endpoint_group::insert(tx, &group).await).await?;
    created(&json!({"endpoint_group": view::endpoint_group::endpoint_group(&group, &base_url(&req))}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:get_endpoint_group", &[])?;
    let group = find(&app, &id).await?;
    json(&json!({"endpoint_group": view::endpoint_group::endpoint_group(&group, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:update_endpoint_group", &[])?;
    let input = UPDATE.object(&body.0, "endpoint_group")?;
    input::same_id(input, &id, "endpoint group")?;
    let new_filters = filters(input)?;
    let mut group = find(&app, &id).await?;
    if let Some(name) = input::string(input, "name") {
        group.name = name.to_owned();
    }
    if let Some(text) = input.get("description") {
        group.description = text.as_str().map(str::to_owned);
    }
    if let Some(filters) = new_filters {
        group.filters = filters;
    }
    let mut work = app.begin().await?;
    if store::endpoint_group::update(&mut *work.tx, &group).await? != Change::Updated {
        return Err(faults::raced("endpoint_group").into());
    }
    app.commit(work).await?;
    json(&json!({"endpoint_group": view::endpoint_group::endpoint_group(&group, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_endpoint_group", &[])?;
    let mut work = app.begin().await?;
    if store::endpoint_group::delete(&mut *work.tx, &id).await? == 0 {
        return Err(faults::not_found("Endpoint Group", &id).into());
    }
    app.commit(work).await?;
    no_content()
}

async fn endpoints(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:list_endpoints_associated_with_endpoint_group", &[])?;
    let group = find(&app, &id).await?;
    let mut endpoints = store::endpoint::list(app.db.reader(), "", "", "").await?;
    endpoints.retain(|e| endpoint_filter::fits(&group.filters, e));
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "endpoints", endpoints, |e| &e.id, view::service::endpoint)
}

async fn projects(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:list_projects_associated_with_endpoint_group", &[])?;
    let group = find(&app, &id).await?;
    let ids = store::endpoint_group::projects(app.db.reader(), &group.id).await?;
    super::endpoint_filters::projects(&app, &req, &ids).await
}

/// Group and project of the path, after the policy, if both exist.
async fn pair(app: &App, ctx: &Ctx, path: (String, String), rule: &str) -> Result<(String, String)> {
    ctx.enforce(rule, &[])?;
    if store::project::get(app.db.reader(), &path.1).await?.is_none() {
        return Err(faults::not_found("project", &path.1));
    }
    Ok((find(app, &path.0).await?.id, path.1))
}

fn no_association() -> Error {
    Error::not_found("Endpoint Group Project Association not found")
}

async fn add(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let rule = "identity:add_endpoint_group_to_project";
    let (group, project) = pair(&app, &ctx, path.into_inner(), rule).await?;
    let mut work = app.begin().await?;
    store::endpoint_group::add_project(&mut *work.tx, &group, &project).await?;
    app.commit(work).await?;
    no_content()
}

async fn check(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let rule = "identity:get_endpoint_group_in_project";
    let (group, project) = pair(&app, &ctx, path.into_inner(), rule).await?;
    if !store::endpoint_group::projects(app.db.reader(), &group).await?.contains(&project) {
        return Err(no_association().into());
    }
    let shown = view::endpoint_group::project_endpoint_group(&group, &project, &base_url(&req));
    json(&json!({"project_endpoint_group": shown}))
}

async fn remove(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let rule = "identity:remove_endpoint_group_from_project";
    let (group, project) = pair(&app, &ctx, path.into_inner(), rule).await?;
    let mut work = app.begin().await?;
    if store::endpoint_group::remove_project(&mut *work.tx, &group, &project).await? == 0 {
        return Err(no_association().into());
    }
    app.commit(work).await?;
    no_content()
}
