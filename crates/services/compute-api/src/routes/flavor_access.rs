//! Which projects may use a private flavor.

use crate::{
    app::App,
    input,
    projects::must_exist,
    store::flavors::{self, Viewer},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{Error, Result, microversion::since};
use serde_json::{Value, json};

const LIST: &str = "os_compute_api:os-flavor-access";
const ADD: &str = "os_compute_api:os-flavor-access:add_tenant_access";
const REMOVE: &str = "os_compute_api:os-flavor-access:remove_tenant_access";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/flavors/{flavor_id}/os-flavor-access", || web::route().to(index))
            .policy(&[LIST])
            .summary("Lists the projects that may use a private flavor"),
        Route::post("/v2.1/flavors/{id}/action", || web::route().to(action))
            .policy(&[ADD, REMOVE])
            .summary("Gives a flavor to a project or takes it away"),
    ]
}

async fn answer(app: &App, id: &str) -> ApiResult {
    let projects = flavors::list_access(&app.db, id).await?;
    let list: Vec<_> = projects.iter().map(|p| json!({"flavor_id": id, "tenant_id": p})).collect();
    json(&json!({"flavor_access": list}))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "flavor_access.index?", req.query_string())?;
    ctx.enforce(LIST, &[])?;
    let flavor = flavors::get_by_id(&app.db, &id, Viewer::Admin).await?;
    if flavor.is_public {
        return Err(Error::not_found("Access list not available for public flavors.").into());
    }
    answer(&app, &id).await
}

async fn action(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let name = match body.as_object() {
        Some(map) if map.len() == 1 => map.keys().next().cloned().unwrap_or_default(),
        _ => return Err(Error::bad_request("Malformed request body").into()),
    };
    match name.as_str() {
        "addTenantAccess" => add(&app, &ctx, &id, body).await?,
        "removeTenantAccess" => remove(&app, &ctx, &id, body).await?,
        _ => {
            let short: String = name.chars().take(255).collect();
            return Err(Error::bad_request(format!("There is no such action: {short}")).into());
        }
    }
    answer(&app, &id).await
}

async fn add(app: &App, ctx: &Ctx, id: &str, body: Value) -> Result<()> {
    let body = input::body(ctx, "flavor_access.add_tenant_access", body)?;
    ctx.enforce(ADD, &[])?;
    let project = body["addTenantAccess"]["tenant"].as_str().unwrap_or_default();
    must_exist(app, project).await?;
    let flavor = flavors::get_by_id(&app.db, id, Viewer::Admin).await?;
    if flavor.is_public && ctx.version.has(since(7)) {
        return Err(Error::conflict("Can not add access to a public flavor."));
    }
    if !flavors::add_access(&app.db, id, project).await? {
        return Err(Error::conflict(format!(
            "Flavor access already exists for flavor {id} and project {project} combination."
        )));
    }
    Ok(())
}

async fn remove(app: &App, ctx: &Ctx, id: &str, body: Value) -> Result<()> {
    let body = input::body(ctx, "flavor_access.remove_tenant_access", body)?;
    ctx.enforce(REMOVE, &[])?;
    let project = body["removeTenantAccess"]["tenant"].as_str().unwrap_or_default();
    must_exist(app, project).await?;
    flavors::get_by_id(&app.db, id, Viewer::Admin).await?;
    if !flavors::remove_access(&app.db, id, project).await? {
        return Err(Error::not_found(format!("Flavor access not found for {id} / {project} combination.")));
    }
    Ok(())
}
