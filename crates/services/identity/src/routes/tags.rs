//! `/v3/projects/{id}/tags`

use super::projects::allowed;
use crate::{
    app::App,
    faults,
    input::{self, Checks},
    store,
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, json, no_content};
use ferrostack_model::{Error, Result};
use serde_json::json;
use std::sync::LazyLock;

/// Tags of one project.
const MAX_TAGS: usize = 80;

pub(super) fn rows() -> Vec<Route> {
    let (all, one) = ("/v3/projects/{project_id}/tags", "/v3/projects/{project_id}/tags/{value}");
    vec![
        Route::get(all, || web::route().to(index))
            .policy(&["identity:list_project_tags"])
            .summary("List a project's tags"),
        Route::put(all, || web::route().to(replace))
            .policy(&["identity:update_project_tags"])
            .body(|| TAGS.document())
            .summary("Replace a project's tags"),
        Route::delete(all, || web::route().to(clear))
            .policy(&["identity:delete_project_tags"])
            .success(204)
            .summary("Remove a project's tags"),
        Route::get(one, || web::route().to(check))
            .policy(&["identity:get_project_tag"])
            .success(204)
            .summary("Check a project's tag"),
        Route::put(one, || web::route().to(add))
            .policy(&["identity:create_project_tag"])
            .success(201)
            .summary("Add a tag to a project"),
        Route::delete(one, || web::route().to(remove))
            .policy(&["identity:delete_project_tag"])
            .success(204)
            .summary("Remove a tag of a project"),
    ]
}

static TAGS: LazyLock<Checks> = LazyLock::new(|| Checks::new(json!({"tags": input::tags()}), &["tags"]));

async fn answer(app: &App, req: &HttpRequest, id: &str) -> ApiResult {
    let tags = store::project::tags(app.db.reader(), id).await?;
    let names: Vec<&str> = tags.iter().map(|(_, tag)| tag.as_str()).collect();
    json(&json!({
        "tags": names,
        "links": {"next": null, "self": format!("{}{}", base_url(req), req.uri()), "previous": null},
    }))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    allowed(&app, &ctx, &id, "identity:list_project_tags").await?;
    answer(&app, &req, &id).await
}

async fn replace(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    let project = allowed(&app, &ctx, &id, "identity:update_project_tags").await?;
    TAGS.check(&body.0)?;
    if project.immutable() {
        return Err(faults::immutable("update", "project", &id).into());
    }
    let tags = body.0.as_object().and_then(|map| input::strings(map, "tags")).unwrap_or_default();
    let mut work = app.begin().await?;
    if !store::hold(&mut *work.tx, "project", &id).await? {
        return Err(faults::not_found("project", &id).into());
    }
    store::project::remove_tags(&mut *work.tx, &id, "").await?;
    for tag in tags {
        store::project::add_tag(&mut *work.tx, &id, &tag).await?;
    }
    app.commit(work).await?;
    answer(&app, &req, &id).await
}

async fn clear(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let project = allowed(&app, &ctx, &id, "identity:delete_project_tags").await?;
    if project.immutable() {
        return Err(faults::immutable("update", "project", &id).into());
    }
    app.write(async |tx| store::project::remove_tags(tx, &id, "").await).await?;
    no_content()
}

async fn has(app: &App, id: &str, tag: &str) -> Result<bool> {
    Ok(store::project::tags(app.db.reader(), id).await?.iter().any(|(_, t)| t == tag))
}

async fn check(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (id, tag) = path.into_inner();
    allowed(&app, &ctx, &id, "identity:get_project_tag").await?;
    if !has(&app, &id, &tag).await? {
        return Err(faults::not_found("project tag", &tag).into());
    }
    no_content()
}

async fn add(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let (id, tag) = path.into_inner();
    let project = allowed(&app, &ctx, &id, "identity:create_project_tag").await?;
    TAGS.check(&json!({"tags": [tag]}))?;
    if project.immutable() {
        return Err(faults::immutable("update", "project", &id).into());
    }
    let mut work = app.begin().await?;
    if !store::hold(&mut *work.tx, "project", &id).await? {
        return Err(faults::not_found("project", &id).into());
    }
    let tags = store::project::tags(&mut *work.tx, &id).await?;
    if tags.len() >= MAX_TAGS && !tags.iter().any(|(_, t)| *t == tag) {
        return Err(Error::bad_request(format!(
            "Invalid input for field/attribute tags. A project has at most {MAX_TAGS} tags."
        ))
        .into());
    }
    store::project::add_tag(&mut *work.tx, &id, &tag).await?;
    app.commit(work).await?;
    let location = format!("{}{}", base_url(&req), req.uri());
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).finish())
}

async fn remove(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (id, tag) = path.into_inner();
    let project = allowed(&app, &ctx, &id, "identity:delete_project_tag").await?;
    if project.immutable() {
        return Err(faults::immutable("update", "project", &id).into());
    }
    if tag.is_empty() || app.write(async |tx| store::project::remove_tags(tx, &id, &tag).await).await? == 0 {
        return Err(faults::not_found("project tag", &tag).into());
    }
    no_content()
}
