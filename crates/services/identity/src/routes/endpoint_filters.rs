//! `/v3/OS-EP-FILTER/projects` and `/v3/OS-EP-FILTER/endpoints`: what a project's catalog is limited to.

use crate::{
    app::App,
    endpoint_filter, faults, list,
    store::{self, project::Project},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, no_content, query_pairs};
use ferrostack_model::{Error, Result};

const ENDPOINT: &str = "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}";

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get("/v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects", || web::route().to(of_endpoint))
            .policy(&["identity:list_projects_for_endpoint"])
            .summary("List the projects that an endpoint is associated with"),
        Route::get("/v3/OS-EP-FILTER/projects/{project_id}/endpoints", || web::route().to(of_project))
            .policy(&["identity:list_endpoints_for_project"])
            .summary("List the endpoints that a project's catalog is limited to"),
        Route::get("/v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups", || {
            web::route().to(groups_of_project)
        })
        .policy(&["identity:list_endpoint_groups_for_project"])
        .summary("List the endpoint groups that a project's catalog is limited to"),
        Route::put(ENDPOINT, || web::route().to(add))
            .policy(&["identity:add_endpoint_to_project"])
            .success(204)
            .summary("Limit a project's catalog to an endpoint"),
        Route::get(ENDPOINT, || web::route().to(check))
            .policy(&["identity:check_endpoint_in_project"])
            .success(204)
            .summary("Check an endpoint's association with a project"),
        Route::delete(ENDPOINT, || web::route().to(remove))
            .policy(&["identity:remove_endpoint_from_project"])
            .success(204)
            .summary("End an endpoint's association with a project"),
    ]
}

async fn project(app: &App, id: &str) -> Result<Project> {
    store::project::get(app.db.reader(), id).await?.ok_or_else(|| faults::not_found("project", id))
}

/// A list of projects by id.
pub(super) async fn projects(app: &App, req: &HttpRequest, ids: &[String]) -> ApiResult {
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        rows.extend(store::project::get(app.db.reader(), id).await?);
    }
    let mut tags = Vec::new();
    for row in &rows {
        tags.extend(store::project::tags(app.db.reader(), &row.id).await?);
    }
    let query = query_pairs(req.query_string());
    list::answer(req, &query, "projects", rows, |p| &p.id, |p, base| view::project::project(p, &tags, base))
}

async fn of_endpoint(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:list_projects_for_endpoint", &[])?;
    if store::endpoint::get(app.db.reader(), &id).await?.is_none() {
        return Err(faults::not_found("endpoint", &id).into());
    }
    let ids = store::project_endpoint::projects(app.db.reader(), &id).await?;
    projects(&app, &req, &ids).await
}

async fn of_project(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:list_endpoints_for_project", &[])?;
    let project = project(&app, &id).await?;
    let allowed = store::project_endpoint::allowed(app.db.reader(), &project.id).await?;
    let all = store::endpoint::list(app.db.reader(), "", "", "").await?;
    let mine = endpoint_filter::select(&allowed, &all);
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "endpoints", mine, |e| &e.id, view::service::endpoint)
}

async fn groups_of_project(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
) -> ApiResult {
    ctx.enforce("identity:list_endpoint_groups_for_project", &[])?;
    let project = project(&app, &id).await?;
    let groups = store::endpoint_group::list_of_project(app.db.reader(), &project.id).await?;
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "endpoint_groups", groups, |g| &g.id, view::endpoint_group::endpoint_group)
}

/// Project and endpoint of the path, after the policy, if both exist.
async fn pair(app: &App, ctx: &Ctx, path: (String, String), rule: &str) -> Result<(String, String)> {
    ctx.enforce(rule, &[])?;
    if store::endpoint::get(app.db.reader(), &path.1).await?.is_none() {
        return Err(faults::not_found("endpoint", &path.1));
    }
    Ok((project(app, &path.0).await?.id, path.1))
}

fn no_association((project, endpoint): &(String, String)) -> Error {
    Error::not_found(format!("Endpoint {endpoint} not found in project {project}"))
}

async fn add(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let pair = pair(&app, &ctx, path.into_inner(), "identity:add_endpoint_to_project").await?;
    let mut work = app.begin().await?;
    store::project_endpoint::insert(&mut *work.tx, &pair.0, &pair.1).await?;
    app.commit(work).await?;
    no_content()
}

async fn check(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let pair = pair(&app, &ctx, path.into_inner(), "identity:check_endpoint_in_project").await?;
    if !store::project_endpoint::exists(app.db.reader(), &pair.0, &pair.1).await? {
        return Err(no_association(&pair).into());
    }
    no_content()
}

async fn remove(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let pair = pair(&app, &ctx, path.into_inner(), "identity:remove_endpoint_from_project").await?;
    let mut work = app.begin().await?;
    if store::project_endpoint::delete(&mut *work.tx, &pair.0, &pair.1).await? == 0 {
        return Err(no_association(&pair).into());
    }
    app.commit(work).await?;
    no_content()
}
