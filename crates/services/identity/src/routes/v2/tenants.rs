//! `/v2.0/tenants`: projects of the domain Default.

use super::{body, given, inner, known_tenant, known_user, nothing};
use crate::{
    app::App,
    bootstrap::DEFAULT_DOMAIN,
    faults, list,
    routes::{grants, projects},
    store::{self, After, Wanted, assignment::Scan, project::Tagged},
    view::{self, v2},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Page, Route, json, query_pairs};
use ferrostack_model::Result;
use serde_json::{Value, json};
use std::collections::HashSet;

const ONE: &str = "/v2.0/tenants/{project_id}";
const GRANT: &str = "/v2.0/tenants/{project_id}/users/{user_id}/roles/OS-KSADM/{role_id}";

pub(super) fn rows() -> Vec<Route> {
    let update = |route: Route| route.policy(&["identity:update_project"]).summary("Update a tenant (v2.0)");
    vec![
        Route::get("/v2.0/tenants", || web::route().to(index))
            .policy(&["identity:list_projects"])
            .summary("List tenants, without the right to see all only one's own (v2.0)"),
        Route::post("/v2.0/tenants", || web::route().to(create))
            .policy(&["identity:create_project"])
            .summary("Create a tenant (v2.0)"),
        Route::get(ONE, || web::route().to(show))
            .policy(&["identity:get_project"])
            .summary("Show a tenant (v2.0)"),
        update(Route::put(ONE, || web::route().to(change))),
        update(Route::post(ONE, || web::route().to(change))),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&["identity:delete_project"])
            .success(204)
            .summary("Delete a tenant (v2.0)"),
        Route::get("/v2.0/tenants/{project_id}/users", || web::route().to(users))
            .policy(&["identity:list_role_assignments"])
            .summary("List users with roles in a tenant (v2.0)"),
        Route::get("/v2.0/tenants/{project_id}/users/{user_id}/roles", || web::route().to(roles))
            .policy(&["identity:list_grants"])
            .summary("List a user's roles in a tenant (v2.0)"),
        Route::put(GRANT, || web::route().to(grant))
            .policy(&["identity:create_grant"])
            .summary("Give a user a role in a tenant (v2.0)"),
        Route::delete(GRANT, || web::route().to(revoke))
            .policy(&["identity:revoke_grant"])
            .success(204)
            .summary("Take a role in a tenant from a user (v2.0)"),
    ]
}

fn tenant(row: &Tagged) -> Value {
    v2::tenant(view::project::project(&row.project, &[], ""))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let caller = ctx.caller()?;
    let query = query_pairs(req.query_string());
    let all = ctx.may("identity:list_projects", &[("target.domain_id", DEFAULT_DOMAIN)]);
    let db = app.db.reader();
    let name = list::last(&query, "name");
    let wanted = Wanted {
        domain_id: DEFAULT_DOMAIN.into(),
        name: name.into(),
        owner: caller.user_id().into(),
        ..Wanted::default()
    };
    let mut rows = if all {
        store::project::list(db, &wanted, &After::nothing(), i64::MAX).await?
    } else {
        let mine = Wanted { name: String::new(), ..wanted };
        store::project::page_of_user(db, &mine, true, &After::nothing(), i64::MAX).await?
    };
    // A token sees no further than the project it was made for, if its holder acts by a delegation.
    if caller.claims.is_delegated() {
        rows.retain(|row| row.project.id == caller.project_id());
    }
    rows.retain(|row| {
        row.project.domain_id == DEFAULT_DOMAIN && (name.is_empty() || row.project.name == name)
    });
    if !name.is_empty() {
        let row = rows.first().ok_or_else(|| faults::not_found("project", name))?;
        return json(&json!({"tenant": tenant(row)}));
    }
    let page = Page::of(&query, i64::MAX)?;
    if let Some(marker) = &page.marker {
        let at = rows.iter().position(|row| row.project.id == *marker);
        let at = at.ok_or_else(|| faults::expected("the marker", "list of tenants"))?;
        rows.drain(..=at);
    }
    if page.limit_given {
        rows.truncate(usize::try_from(page.limit).unwrap_or(usize::MAX));
    }
    let tenants: Vec<Value> = rows.iter().map(tenant).collect();
    json(&json!({"tenants": tenants, "tenants_links": []}))
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, input: JsonBody) -> ApiResult {
    let mut wanted = given(&input, "tenant")?;
    for name in ["id", "parent_id", "is_domain"] {
        wanted.remove(name);
    }
    wanted.insert("domain_id".into(), json!(DEFAULT_DOMAIN));
    let made = inner(projects::create(app, ctx, req, body("project", wanted)).await, "project")?;
    json(&json!({"tenant": v2::tenant(made)}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    known_tenant(&app, &ctx, "identity:get_project", &id).await?;
    let found = inner(projects::show(app, ctx, req, id).await, "project")?;
    json(&json!({"tenant": v2::tenant(found)}))
}

async fn change(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    input: JsonBody,
) -> ApiResult {
    known_tenant(&app, &ctx, "identity:update_project", &id).await?;
    let mut wanted = given(&input, "tenant")?;
    for name in ["domain_id", "parent_id", "is_domain"] {
        wanted.remove(name);
    }
    let changed = inner(projects::update(app, ctx, req, id, body("project", wanted)).await, "project")?;
    json(&json!({"tenant": v2::tenant(changed)}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    known_tenant(&app, &ctx, "identity:delete_project", &id).await?;
    nothing(projects::delete(app, ctx, id).await)
}

async fn users(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let rule = "identity:list_role_assignments";
    known_tenant(&app, &ctx, rule, &id).await?;
    ctx.enforce(rule, &[("target.domain_id", DEFAULT_DOMAIN)])?;
    let scan = Scan {
        target_kind: "project".into(),
        target_id: id.to_string(),
        inherited: false,
        ..Scan::default()
    };
    let rows = store::assignment::list(app.db.reader(), &scan, None, i64::MAX).await?;
    let (mut seen, mut out) = (HashSet::new(), Vec::new());
    for row in rows.iter().filter(|r| r.inherited == 0) {
        let members = match row.actor_kind.as_str() {
            "user" => vec![row.actor_id.clone()],
            _ => store::user::ids_of_group(app.db.reader(), &row.actor_id).await?,
        };
        for user_id in members {
            if seen.insert(user_id.clone())
                && let Some(user) = store::user::get(app.db.reader(), &user_id).await?
                && user.domain_id == DEFAULT_DOMAIN
            {
                out.push(v2::user(view::user::user(&user, "")));
            }
        }
    }
    json(&json!({"users": out, "users_links": []}))
}

/// The tenant and user of a path, if they are of Default.
async fn place(app: &App, ctx: &Ctx, req: &HttpRequest, rule: &str) -> Result<()> {
    let segment = |name: &str| req.match_info().get(name).unwrap_or_default().to_owned();
    known_tenant(app, ctx, rule, &segment("project_id")).await?;
    known_user(app, ctx, rule, &segment("user_id")).await
}

async fn roles(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    place(&app, &ctx, &req, "identity:list_grants").await?;
    let found = inner(grants::index(app, ctx, req).await, "roles")?;
    let roles: Vec<Value> = found.as_array().into_iter().flatten().cloned().map(v2::role).collect();
    json(&json!({"roles": roles, "roles_links": []}))
}

async fn grant(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    place(&app, &ctx, &req, "identity:create_grant").await?;
    let role_id = req.match_info().get("role_id").unwrap_or_default().to_owned();
    grants::grant(app.clone(), ctx, req).await?;
    let role = store::role::get(app.db.reader(), &role_id).await?;
    let role = role.ok_or_else(|| faults::not_found("role", &role_id))?;
    json(&json!({"role": v2::role(view::role::role(&role, ""))}))
}

async fn revoke(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    place(&app, &ctx, &req, "identity:revoke_grant").await?;
    nothing(grants::revoke(app, ctx, req).await)
}
