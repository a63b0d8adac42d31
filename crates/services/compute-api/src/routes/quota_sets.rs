//! Quota sets of projects, users and classes.

use crate::{
    app::App,
    input::{self, integer, is_true},
    projects::must_exist,
    store::quota,
    view::quota_sets as view,
};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{Error, Result};
use ferrostack_settings::Quota;
use serde_json::Value;

const SHOW: &str = "os_compute_api:os-quota-sets:show";
const DEFAULTS: &str = "os_compute_api:os-quota-sets:defaults";
const DETAIL: &str = "os_compute_api:os-quota-sets:detail";
const UPDATE: &str = "os_compute_api:os-quota-sets:update";
const DELETE: &str = "os_compute_api:os-quota-sets:delete";
const CLASS_SHOW: &str = "os_compute_api:os-quota-class-sets:show";
const CLASS_UPDATE: &str = "os_compute_api:os-quota-class-sets:update";
const ONE: &str = "/v2.1/os-quota-sets/{project_id}";
const CLASS: &str = "/v2.1/os-quota-class-sets/{class}";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get(ONE, || web::route().to(show)).policy(&[SHOW]).summary("Shows a project's quotas"),
        Route::get("/v2.1/os-quota-sets/{project_id}/defaults", || web::route().to(defaults))
            .policy(&[DEFAULTS])
            .summary("Shows the default quotas"),
        Route::get("/v2.1/os-quota-sets/{project_id}/detail", || web::route().to(detail))
            .policy(&[DETAIL])
            .summary("Shows a project's quotas with what is in use"),
        Route::put(ONE, || web::route().to(update)).policy(&[UPDATE]).summary("Changes quotas"),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&[DELETE])
            .success(202)
            .summary("Puts a project back to the default quotas"),
        Route::get(CLASS, || web::route().to(class)).policy(&[CLASS_SHOW]).summary("Shows a quota class"),
        Route::put(CLASS, || web::route().to(update_class))
            .policy(&[CLASS_UPDATE])
            .summary("Changes a quota class"),
    ]
}

/// Checks the right, then that the project exists.
async fn admit(app: &App, ctx: &Ctx, rule: &str, project: &str) -> Result<()> {
    ctx.enforce(rule, &[("project_id", project)])?;
    must_exist(app, project).await
}

async fn effective(app: &App, project: &str, user: &str) -> Result<Quota> {
    let defaults = &app.settings.compute.quota;
    if user.is_empty() {
        quota::limits(&app.db, project, defaults).await
    } else {
        quota::user_limits(&app.db, project, user, defaults).await
    }
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, project: web::Path<String>) -> ApiResult {
    let query = input::query(&ctx, "quota_sets.show?", req.query_string())?;
    admit(&app, &ctx, SHOW, &project).await?;
    let limits = effective(&app, &project, query.get("user_id").unwrap_or("")).await?;
    json(&view::limits(Some(&project), &limits, ctx.version))
}

async fn defaults(app: web::Data<App>, ctx: Ctx, req: HttpRequest, project: web::Path<String>) -> ApiResult {
    input::query(&ctx, "quota_sets.defaults?", req.query_string())?;
    admit(&app, &ctx, DEFAULTS, &project).await?;
    let limits = quota::class_limits(&app.db, quota::DEFAULT_CLASS, &app.settings.compute.quota).await?;
    json(&view::limits(Some(&project), &limits, ctx.version))
}

async fn detail(app: web::Data<App>, ctx: Ctx, req: HttpRequest, project: web::Path<String>) -> ApiResult {
    let query = input::query(&ctx, "quota_sets.detail?", req.query_string())?;
    admit(&app, &ctx, DETAIL, &project).await?;
    let user = query.get("user_id").unwrap_or("");
    let limits = effective(&app, &project, user).await?;
    let used = quota::used(&app.db, &project, user).await?;
    json(&view::detail(&project, &limits, used, ctx.version))
}

/// The limits a checked body sets; `force` and members of other services are left out.
fn read(set: &Value) -> Result<Vec<(&'static str, i64)>> {
    let mut limits = Vec::new();
    for name in quota::RESOURCES {
        match set.get(name) {
            None | Some(Value::Null) => {}
            Some(value) => limits.push((name, integer(value)?)),
        }
    }
    Ok(limits)
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    project: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let query = input::query(&ctx, "quota_sets.update?", req.query_string())?;
    let body = input::body(&ctx, "quota_sets.update", body)?;
    admit(&app, &ctx, UPDATE, &project).await?;
    let user = query.get("user_id").unwrap_or("");
    let set = &body["quota_set"];
    let change = quota::Update {
        project_id: &project,
        user_id: user,
        limits: &read(set)?,
        force: set.get("force").is_some_and(is_true),
    };
    quota::update(&app.db, &app.settings.compute.quota, change).await?;
    json(&view::limits(None, &effective(&app, &project, user).await?, ctx.version))
}

async fn delete(app: web::Data<App>, ctx: Ctx, req: HttpRequest, project: web::Path<String>) -> ApiResult {
    let query = input::query(&ctx, "quota_sets.delete?", req.query_string())?;
    ctx.enforce(DELETE, &[("project_id", &project)])?;
    quota::delete(&app.db, &project, query.get("user_id").unwrap_or("")).await?;
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}

fn class_name(class: &str) -> Result<&str> {
    if class.len() > 255 {
        Err(Error::bad_request("The name of a quota class is too long."))
    } else {
        Ok(class)
    }
}

async fn class(app: web::Data<App>, ctx: Ctx, req: HttpRequest, class: web::Path<String>) -> ApiResult {
    input::query(&ctx, "quota_classes.show?", req.query_string())?;
    ctx.enforce(CLASS_SHOW, &[])?;
    let limits = quota::class_limits(&app.db, class_name(&class)?, &app.settings.compute.quota).await?;
    json(&view::class(Some(&class), &limits, ctx.version))
}

async fn update_class(
    app: web::Data<App>,
    ctx: Ctx,
    class: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "quota_classes.update", body)?;
    ctx.enforce(CLASS_UPDATE, &[])?;
    quota::set_class(&app.db, class_name(&class)?, &read(&body["quota_class_set"])?).await?;
    let limits = quota::class_limits(&app.db, &class, &app.settings.compute.quota).await?;
    json(&view::class(None, &limits, ctx.version))
}
