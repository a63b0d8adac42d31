//! What a token gives access to: catalog, projects, domains, system.

use super::tokens::catalog_for;
use crate::{
    app::App,
    auth::Context,
    list,
    listings::{Base, Projects},
    store::{self, Wanted},
    view::{domain::domain, project::project},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, base_url, json, query_pairs};
use ferrostack_model::Error;
use serde_json::json;

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

pub(super) async fn projects(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:get_auth_projects", &[])?;
    let query = query_pairs(req.query_string());
    let claims = &ctx.caller()?.claims;
    if claims.is_delegated() {
        // It can be exchanged for no other project.
        let id = claims.project.as_ref().map_or("", |p| p.id.as_str());
        let mut own: Vec<_> = store::project::get(app.db.reader(), id).await?.into_iter().collect();
        own.retain(|p| list::passes(&query, "name", &p.name) && list::passes_enabled(&query, p.enabled));
        let tags = store::project::tags(app.db.reader(), id).await?;
        return list::answer(&req, &query, "projects", own, |p| &p.id, |p, base| project(p, &tags, base));
    }
    let Some(wanted) = list::wanted(&query, None) else {
        return list::whole(&req, &query, "projects", list::Nothing).await;
    };
    let owner = ctx.caller()?.user_id().to_owned();
    let base = Base { app, query: query.clone(), wanted: Wanted { owner, ..wanted } };
    let source = Projects { base, usable: true, view: project };
    list::rows(&req, &query, "projects", source).await
}

pub(super) async fn domains(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:get_auth_domains", &[])?;
    let mut assignments = store::assignment::list_of_user(app.db.reader(), ctx.caller()?.user_id()).await?;
    let delegated = ctx.caller()?.claims.is_delegated();
    assignments.retain(|a| a.target_kind == "domain" && a.inherited == 0 && !delegated);
    assignments.dedup_by(|a, b| a.target_id == b.target_id);
    let (mut mine, mut tags) = (Vec::new(), Vec::new());
    for assignment in assignments {
        let domain = store::domain::get(app.db.reader(), &assignment.target_id).await?;
        if let Some(domain) = domain.filter(|d| d.enabled == 1) {
            tags.extend(store::project::tags(app.db.reader(), &domain.id).await?);
            mine.push(domain);
        }
    }
    mine.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    let query = query_pairs(req.query_string());
    list::answer(&req, &query, "domains", mine, |d| &d.id, |d, base| domain(d, &tags, base))
}

async fn system(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:get_auth_system", &[])?;
    let assignments = store::assignment::list_of_user(app.db.reader(), ctx.caller()?.user_id()).await?;
    let has = assignments.iter().any(|a| a.target_kind == "system") && !ctx.caller()?.claims.is_delegated();
    let systems = if has { json!([{"all": true}]) } else { json!([]) };
    json(&json!({"system": systems, "links": {"self": format!("{}/v3/auth/system", base_url(&req))}}))
}
