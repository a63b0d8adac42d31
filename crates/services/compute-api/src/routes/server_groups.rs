//! Server groups.

use crate::{
    app::App,
    input::{self, integer},
    store::server_groups::{self as groups, ServerGroup},
    view::server_groups as view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, no_content};
use ferrostack_model::{Error, Result, Timestamp, id, microversion::feature, placement::GroupPolicy};
use serde_json::{Value, json};

const INDEX: &str = "os_compute_api:os-server-groups:index";
const ALL: &str = "os_compute_api:os-server-groups:index:all_projects";
const SHOW: &str = "os_compute_api:os-server-groups:show";
const CREATE: &str = "os_compute_api:os-server-groups:create";
const DELETE: &str = "os_compute_api:os-server-groups:delete";
/// Largest rule: what Nova's column holds.
const MOST: i64 = i32::MAX as i64;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-server-groups", || web::route().to(index))
            .policy(&[INDEX, ALL])
            .summary("Lists server groups"),
        Route::post("/v2.1/os-server-groups", || web::route().to(create))
            .policy(&[CREATE])
            .summary("Makes a server group"),
        Route::get("/v2.1/os-server-groups/{id}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows a server group"),
        Route::delete("/v2.1/os-server-groups/{id}", || web::route().to(delete))
            .policy(&[DELETE])
            .success(204)
            .summary("Deletes a server group"),
    ]
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "server_groups.index?", req.query_string())?;
    let caller = ctx.caller()?;
    let target = [("project_id", caller.project_id())];
    ctx.enforce(INDEX, &target)?;
    // As in Nova: of those who are not admins it is not refused but not heard.
    let all = query.get("all_projects").is_some() && caller.is_admin();
    if all {
        ctx.enforce(ALL, &target)?;
    }
    let offset = match query.get("offset") {
        None | Some("") => 0,
        // Only digits pass the schema.
        Some(text) => text.parse().unwrap_or(i64::MAX),
    };
    let limit = query.limit(app.settings.compute.max_limit);
    let project = (!all).then(|| caller.project_id());
    let found = groups::list(&app.db, project, limit, offset).await?;
    let members = groups::members(&app.db, &found).await?;
    let items: Vec<Value> = found
        .iter()
        .map(|group| view::full(group, members.get(&group.id).map_or(&[], Vec::as_slice), ctx.version))
        .collect();
    json(&json!({"server_groups": items}))
}

/// The group if the caller may do `rule` to it.
async fn allowed(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<ServerGroup> {
    let group = groups::get(&app.db, id).await?;
    ctx.enforce(rule, &[("project_id", &group.project_id)])?;
    Ok(group)
}

async fn one(app: &App, ctx: &Ctx, group: ServerGroup) -> ApiResult {
    let members = groups::members(&app.db, std::slice::from_ref(&group)).await?;
    let members = members.get(&group.id).map_or(&[][..], Vec::as_slice);
    json(&json!({"server_group": view::full(&group, members, ctx.version)}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "server_groups.show?", req.query_string())?;
    let group = allowed(&app, &ctx, &id, SHOW).await?;
    one(&app, &ctx, group).await
}

async fn create(app: web::Data<App>, ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "server_groups.create", body)?;
    let caller = ctx.caller()?;
    ctx.enforce(CREATE, &[("project_id", caller.project_id())])?;
    if caller.project_id().is_empty() {
        return Err(Error::forbidden(format!("Policy doesn't allow {CREATE} to be performed.")).into());
    }
    let asked = &body["server_group"];
    let text = if ctx.version.has(feature::GROUP_POLICY) { &asked["policy"] } else { &asked["policies"][0] };
    let policy = text.as_str().and_then(GroupPolicy::parse);
    let policy = policy.ok_or_else(|| Error::bad_request("Invalid input for field/attribute policies."))?;
    let rules = asked["rules"].as_object().filter(|rules| !rules.is_empty());
    if rules.is_some() && policy != GroupPolicy::AntiAffinity {
        return Err(Error::bad_request("Only anti-affinity policy supports rules.").into());
    }
    let name = asked["name"].as_str().unwrap_or_default();
    let group = ServerGroup {
        id: id::uuid(),
        project_id: caller.project_id().to_owned(),
        user_id: caller.user_id().to_owned(),
        name: if ctx.legacy { name.trim().to_owned() } else { name.to_owned() },
        policy,
        max_server_per_host: rules
            .and_then(|rules| rules.get("max_server_per_host"))
            .map(most)
            .transpose()?,
        created_at: Timestamp::now(),
    };
    groups::insert(&app.db, &group, &app.settings.compute.quota).await?;
    one(&app, &ctx, group).await
}

fn most(value: &Value) -> Result<i64> {
    integer(value).ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(|| {
        let shown: String = value.to_string().chars().take(64).collect();
        Error::bad_request(format!(
            "Invalid input for field/attribute max_server_per_host. Value: {shown}. It must be between 1 and {MOST}."
        ))
    })
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let group = allowed(&app, &ctx, &id, DELETE).await?;
    groups::delete(&app.db, &group.id).await?;
    no_content()
}
