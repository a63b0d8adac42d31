//! Quotas of projects.

use super::{State, commit, enforce};
use crate::{
    app::App,
    attribute::{check, invalid},
    error::http_bad_request,
    store::{
        self,
        quota::{Limits, Resource},
    },
};
use ferrostack_db::Tx;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, web},
    json, no_content,
};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.0/quotas", || web::get().to(list))
            .policy(&["get_quota"])
            .summary("Lists the projects with quotas of their own"),
        Route::get("/v2.0/quotas/{project_id}", || web::get().to(show))
            .policy(&["get_quota"])
            .summary("Shows the quotas of a project"),
        Route::get("/v2.0/quotas/{project_id}/default", || web::get().to(default))
            .summary("Shows the default quotas"),
        Route::get("/v2.0/quotas/{project_id}/details", || web::get().to(details))
            .summary("Shows the quotas of a project with what is used"),
        Route::put("/v2.0/quotas/{project_id}", || web::put().to(update))
            .policy(&["update_quota"])
            .summary("Sets quotas of a project"),
        Route::delete("/v2.0/quotas/{project_id}", || web::delete().to(delete))
            .policy(&["delete_quota"])
            .success(204)
            .summary("Sets a project back to the default quotas"),
    ]
}

/// How many a request adds for each project, and what each may have.
pub(super) struct Adding(BTreeMap<String, (i64, Limits)>);

/// The limits for what a request adds; `projects` has the owner of each new resource.
pub(super) async fn limits<'a>(app: &App, projects: impl Iterator<Item = &'a str>) -> Result<Adding> {
    let mut adding: BTreeMap<String, (i64, Limits)> = BTreeMap::new();
    for project in projects {
        if let Some((count, _)) = adding.get_mut(project) {
            *count += 1;
            continue;
        }
        let limits = store::quota::get(&app.db, project, &app.settings.quota).await?;
        adding.insert(project.to_owned(), (1, limits));
    }
    Ok(Adding(adding))
}

impl Adding {
    /// 409 OverQuota if any project would have too many. First thing in the transaction.
    pub(super) async fn reserve(&self, tx: &mut Tx, resource: Resource) -> Result<()> {
        for (project, (count, limits)) in &self.0 {
            let limit = limits.get(&resource).copied().unwrap_or(-1);
            store::quota::reserve(tx, project, resource, limit, *count).await?;
        }
        Ok(())
    }
}

fn view(limits: &Limits) -> Map<String, Value> {
    limits.iter().map(|(resource, limit)| (resource.name().to_owned(), json!(limit))).collect()
}

/// The project of the path; the caller's own for `/quotas/project` and `/quotas/tenant`.
fn project<'a>(req: &'a HttpRequest, ctx: &'a Ctx) -> Result<&'a str> {
    let named = req.match_info().query("project_id");
    let project = if matches!(named, "project" | "tenant") { ctx.caller()?.project_id() } else { named };
    if project.is_empty() || project.len() > 255 || !store::storable(project) {
        return Err(http_bad_request("the project id is not valid"));
    }
    Ok(project)
}

async fn list(ctx: Ctx, app: State) -> ApiResult {
    enforce(&ctx, "get_quota", &[("project_id", ctx.caller()?.project_id())])?;
    let all = store::quota::list(&app.db, &app.settings.quota).await?;
    let quotas: Vec<Value> = all
        .iter()
        .filter(|(project, _)| ctx.may("get_quota", &[("project_id", project)]))
        .map(|(project, limits)| {
            let mut view = view(limits);
            view.insert("project_id".into(), json!(project));
            view.insert("tenant_id".into(), json!(project));
            Value::Object(view)
        })
        .collect();
    json(&json!({"quotas": quotas}))
}

async fn show(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let project = project(&req, &ctx)?;
    if matches!(req.match_info().query("project_id"), "project" | "tenant") {
        return json(&json!({"tenant": {"tenant_id": project}}));
    }
    enforce(&ctx, "get_quota", &[("project_id", project)])?;
    json(&json!({"quota": view(&store::quota::get(&app.db, project, &app.settings.quota).await?)}))
}

/// Defaults and usage are not asked of policy: one's own, or an admin.
fn own_or_admin(ctx: &Ctx, project: &str) -> Result<()> {
    let caller = ctx.caller()?;
    if caller.project_id() == project || caller.is_admin() {
        return Ok(());
    }
    Err(Error::forbidden(
        "User does not have admin privileges: Only admin is authorized to access quotas for another project",
    )
    .named("AdminRequired"))
}

async fn default(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    own_or_admin(&ctx, project(&req, &ctx)?)?;
    json(&json!({"quota": view(&store::quota::defaults(&app.settings.quota))}))
}

async fn details(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let project = project(&req, &ctx)?;
    own_or_admin(&ctx, project)?;
    let mut quota = Map::new();
    for (resource, limit) in store::quota::get(&app.db, project, &app.settings.quota).await? {
        let used = store::quota::used(&app.db, project, resource).await?;
        quota.insert(resource.name().into(), json!({"limit": limit, "used": used, "reserved": 0}));
    }
    json(&json!({"quota": quota}))
}

fn read(body: &Value) -> Result<(Limits, bool)> {
    let given = body
        .get("quota")
        .and_then(Value::as_object)
        .ok_or_else(|| http_bad_request("Unable to find 'quota' in request body"))?;
    let (mut limits, mut checked) = (Limits::new(), false);
    for (name, value) in given {
        if let Some(resource) = Resource::ALL.into_iter().find(|r| r.name() == name) {
            let limit = check::number::<-1, 2_147_483_647>(value).map_err(|r| invalid(name, r))?;
            limits.insert(resource, limit.as_i64().unwrap_or(-1));
        } else if matches!(name.as_str(), "check_limit" | "force") {
            let set = check::flag(value).map_err(|r| invalid(name, r))? == json!(true);
            checked |= set && name == "check_limit";
        } else if !matches!(name.as_str(), "tenant_id" | "project_id") {
            let text = format!("Unrecognized attribute(s) '{}'", check::short(name));
            return Err(http_bad_request(text));
        }
    }
    Ok((limits, checked))
}

async fn update(req: HttpRequest, ctx: Ctx, app: State, body: JsonBody) -> ApiResult {
    let project = project(&req, &ctx)?;
    enforce(&ctx, "update_quota", &[("project_id", project)])?;
    let (limits, checked) = read(&body.0)?;
    for (resource, limit) in limits.iter().filter(|(_, limit)| checked && **limit >= 0) {
        let used = store::quota::used(&app.db, project, *resource).await?;
        if used > *limit {
            let text =
                format!("Quota limit {limit} is less than used {used} for resource {}", resource.name());
            return Err(http_bad_request(text).named("InvalidQuotaValue").into());
        }
    }
    let mut tx = app.db.begin_write().await?;
    store::quota::update(&mut tx, project, &limits).await?;
    commit(tx).await?;
    json(&json!({"quota": view(&store::quota::get(&app.db, project, &app.settings.quota).await?)}))
}

async fn delete(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let project = project(&req, &ctx)?;
    enforce(&ctx, "delete_quota", &[("project_id", project)])?;
    if !store::quota::delete(&app.db, project).await? {
        let text = format!("Quota for tenant {} could not be found.", check::short(project));
        return Err(Error::not_found(text).named("TenantQuotaNotFound").into());
    }
    no_content()
}
