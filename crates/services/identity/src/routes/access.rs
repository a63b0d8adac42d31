//! What a token gives access to: catalog, projects, domains, system.

use super::tokens::catalog_for;
use crate::{
    app::App,
    auth::Context,
    list, store,
    view::{domain::domain, project::project},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, base_url, json, query_pairs};
use ferrostack_model::{Error, Result};
use serde_json::json;
use std::collections::{HashMap, HashSet};

/// Most projects above one another.
const MAX_DEPTH: usize = 16;

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::get("/v3/auth/catalog", || web::route().to(catalog))
            .policy(&["identity:get_auth_catalog"])
            .summary("Show the token's catalog"),
        Route::get("/v3/auth/projects", || web::route().to(projects))
            .policy(&["identity:get_auth_projects"])
            .summary("List projects the caller can scope to"),
        Route::get("/v3/auth/domains", || web::route().to(domains))
            .policy(&["identity:get_auth_domains"])
            .summary("List domains the caller can scope to"),
        Route::get("/v3/auth/system", || web::route().to(system))
            .policy(&["identity:get_auth_system"])
            .summary("List systems the caller can scope to"),
    ]
}

async fn catalog(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:get_auth_catalog", &[])?;
    let claims = &ctx.caller()?.claims;
    if claims.project.is_none() && claims.domain.is_none() && !claims.system {
        return Err(Error::forbidden("You are not authorized to perform the requested action.").into());
    }
    let context = Context::of_claims(&app.db, claims).await?.ok_or_else(Error::unauthorized)?;
    let catalog = catalog_for(&app, &context).await?;
    json(&json!({"catalog": catalog, "links": {"self": format!("{}/v3/auth/catalog", base_url(&req))}}))
}

/// The projects a user has a role on; only those a token can be got for unless `disabled_too`.
pub(super) async fn projects_of(
    app: &App,
    user_id: &str,
    disabled_too: bool,
) -> Result<Vec<store::project::Project>> {
    let assignments = store::assignment::list_of_user(app.db.reader(), user_id).await?;
    let all = store::project::list(app.db.reader(), &Default::default()).await?;
    let domains = store::project::list(
        app.db.reader(),
        &store::project::Wanted { domains: true, ..Default::default() },
    )
    .await?;
    let open: HashSet<&str> = domains.iter().filter(|d| d.enabled == 1).map(|d| d.id.as_str()).collect();
    let direct: HashSet<&str> = assignments
        .iter()
        .filter(|a| a.target_kind == "project" && a.inherited == 0)
        .map(|a| a.target_id.as_str())
        .collect();
    let inherited: HashSet<&str> =
        assignments.iter().filter(|a| a.inherited == 1).map(|a| a.target_id.as_str()).collect();
    let parents: HashMap<&str, &str> = all.iter().map(|p| (p.id.as_str(), p.parent_id.as_str())).collect();
    let inherits = |project: &store::project::Project| {
        let above = std::iter::successors(Some(project.parent_id.as_str()), |id| parents.get(id).copied());
        inherited.contains(project.domain_id.as_str())
            || above.take(MAX_DEPTH).any(|id| inherited.contains(id))
    };
    let usable =
        |p: &store::project::Project| disabled_too || (p.enabled == 1 && open.contains(p.domain_id.as_str()));
    let mine = all
        .iter()
        .filter(|p| usable(p) && (direct.contains(p.id.as_str()) || inherits(p)))
        .cloned()
        .collect();
    Ok(mine)
}

async fn projects(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:get_auth_projects", &[])?;
    let mine = projects_of(&app, ctx.caller()?.user_id(), false).await?;
    let tags = store::project::tags(app.db.reader(), "").await?;
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "projects", mine, |p| &p.id, |p, base| project(p, &tags, base))
}

async fn domains(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:get_auth_domains", &[])?;
    let assignments = store::assignment::list_of_user(app.db.reader(), ctx.caller()?.user_id()).await?;
    let wanted = store::project::Wanted { domains: true, ..Default::default() };
    let mut mine = store::project::list(app.db.reader(), &wanted).await?;
    mine.retain(|d| {
        d.enabled == 1
            && assignments
                .iter()
                .any(|a| a.target_kind == "domain" && a.inherited == 0 && a.target_id == d.id)
    });
    let tags = store::project::tags(app.db.reader(), "").await?;
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "domains", mine, |d| &d.id, |d, base| domain(d, &tags, base))
}

async fn system(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:get_auth_system", &[])?;
    let assignments = store::assignment::list_of_user(app.db.reader(), ctx.caller()?.user_id()).await?;
    let has = assignments.iter().any(|a| a.target_kind == "system");
    let systems = if has { json!([{"all": true}]) } else { json!([]) };
    json(&json!({"system": systems, "links": {"self": format!("{}/v3/auth/system", base_url(&req))}}))
}
