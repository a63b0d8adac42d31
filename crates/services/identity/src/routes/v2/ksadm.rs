//! `/v2.0/OS-KSADM`: roles and services.

use super::{body, given, inner, nothing};
use crate::{
    app::App,
    faults, input,
    routes::{roles, services},
    store,
    view::{self, v2},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use serde_json::{Value, json};

const ROLES: &str = "/v2.0/OS-KSADM/roles";
const ROLE: &str = "/v2.0/OS-KSADM/roles/{role_id}";
const SERVICES: &str = "/v2.0/OS-KSADM/services";
const SERVICE: &str = "/v2.0/OS-KSADM/services/{service_id}";

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get(ROLES, || web::route().to(role_index))
            .policy(&["identity:list_roles"])
            .summary("List roles (v2.0)"),
        Route::post(ROLES, || web::route().to(role_create))
            .policy(&["identity:create_role"])
            .summary("Create a role (v2.0)"),
        Route::get(ROLE, || web::route().to(role_show))
            .policy(&["identity:get_role"])
            .summary("Show a role (v2.0)"),
        Route::delete(ROLE, || web::route().to(role_delete))
            .policy(&["identity:delete_role"])
            .success(204)
            .summary("Delete a role (v2.0)"),
        Route::get(SERVICES, || web::route().to(service_index))
            .policy(&["identity:list_services"])
            .summary("List services (v2.0)"),
        Route::post(SERVICES, || web::route().to(service_create))
            .policy(&["identity:create_service"])
            .summary("Create a service (v2.0)"),
        Route::get(SERVICE, || web::route().to(service_show))
            .policy(&["identity:get_service"])
            .summary("Show a service (v2.0)"),
        Route::delete(SERVICE, || web::route().to(service_delete))
            .policy(&["identity:delete_service"])
            .success(204)
            .summary("Delete a service (v2.0)"),
    ]
}

async fn role_index(app: web::Data<App>, ctx: Ctx) -> ApiResult {
    ctx.enforce("identity:list_roles", &[("target.role.domain_id", input::or_none(""))])?;
    let mut rows = store::role::list_all(app.db.reader()).await?;
    rows.retain(|role| role.domain_id.is_empty());
    let roles: Vec<Value> = rows.iter().map(|role| v2::role(view::role::role(role, ""))).collect();
    json(&json!({"roles": roles, "roles_links": []}))
}

async fn role_create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, input: JsonBody) -> ApiResult {
    let mut wanted = given(&input, "role")?;
    for name in ["id", "domain_id", "options"] {
        wanted.remove(name);
    }
    let made = inner(roles::create(app, ctx, req, body("role", wanted)).await, "role")?;
    json(&json!({"role": v2::role(made)}))
}

/// 404 for a domain's role, after what the policy says.
async fn known(app: &App, ctx: &Ctx, rule: &str, id: &str) -> ferrostack_model::Result<()> {
    let role = store::role::get(app.db.reader(), id).await?;
    if role.is_some_and(|r| r.domain_id.is_empty()) {
        return Ok(());
    }
    ctx.enforce(rule, &[])?;
    Err(faults::not_found("role", id))
}

async fn role_show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    known(&app, &ctx, "identity:get_role", &id).await?;
    let found = inner(roles::show(app, ctx, req, id).await, "role")?;
    json(&json!({"role": v2::role(found)}))
}

async fn role_delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    known(&app, &ctx, "identity:delete_role", &id).await?;
    nothing(roles::delete(app, ctx, id).await)
}

async fn service_index(app: web::Data<App>, ctx: Ctx) -> ApiResult {
    ctx.enforce("identity:list_services", &[])?;
    let rows = store::service::list(app.db.reader(), "").await?;
    let services: Vec<Value> = rows.iter().map(|s| v2::service(view::service::service(s, ""))).collect();
    json(&json!({"OS-KSADM:services": services, "OS-KSADM:services_links": []}))
}

async fn service_create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, input: JsonBody) -> ApiResult {
    let mut wanted = given(&input, "OS-KSADM:service")?;
    wanted.remove("id");
    let made = inner(services::create(app, ctx, req, body("service", wanted)).await, "service")?;
    json(&json!({"OS-KSADM:service": v2::service(made)}))
}

async fn service_show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let found = inner(services::show(app, ctx, req, id).await, "service")?;
    json(&json!({"OS-KSADM:service": v2::service(found)}))
}

async fn service_delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    nothing(services::delete(app, ctx, id).await)
}
