//! `/v2.0/users`: users of the domain Default.

use super::{body, given, inner, known_user, nothing};
use crate::{
    app::App,
    bootstrap::DEFAULT_DOMAIN,
    faults, input, list,
    routes::users,
    store::{self, After, Wanted, assignment::Assignment},
    view::{self, v2},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, query_pairs};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};

const ONE: &str = "/v2.0/users/{user_id}";
/// The role that a user gets in its tenant, as in Keystone (`member_role_name`).
const MEMBER: &str = "member";

pub(super) fn rows() -> Vec<Route> {
    let put = |path, what| {
        Route::put(path, || web::route().to(change)).policy(&["identity:update_user"]).summary(what)
    };
    vec![
        Route::get("/v2.0/users", || web::route().to(index))
            .policy(&["identity:list_users"])
            .summary("List users (v2.0)"),
        Route::post("/v2.0/users", || web::route().to(create))
            .policy(&["identity:create_user"])
            .summary("Create a user (v2.0)"),
        Route::get(ONE, || web::route().to(show))
            .policy(&["identity:get_user"])
            .summary("Show a user (v2.0)"),
        put(ONE, "Update a user (v2.0)"),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&["identity:delete_user"])
            .success(204)
            .summary("Delete a user (v2.0)"),
        put("/v2.0/users/{user_id}/OS-KSADM/enabled", "Enable or disable a user (v2.0)"),
        put("/v2.0/users/{user_id}/OS-KSADM/password", "Set a user's password (v2.0)"),
        put("/v2.0/users/{user_id}/OS-KSADM/tenant", "Set a user's default tenant (v2.0)"),
        put("/v2.0/users/{user_id}/enabled", "Enable or disable a user (v2.0)"),
        put("/v2.0/users/{user_id}/password", "Set a user's password (v2.0)"),
        put("/v2.0/users/{user_id}/tenant", "Set a user's default tenant (v2.0)"),
    ]
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_users", &[("target.domain_id", DEFAULT_DOMAIN)])?;
    let query = query_pairs(req.query_string());
    let name = list::last(&query, "name");
    if !name.is_empty() {
        let user = store::user::get_by_name(app.db.reader(), DEFAULT_DOMAIN, name).await?;
        let user = user.ok_or_else(|| faults::not_found("user", name))?;
        return json(&json!({"user": v2::user(view::user::user(&user, ""))}));
    }
    let wanted = Wanted { domain_id: DEFAULT_DOMAIN.into(), ..Wanted::default() };
    let rows = store::user::list(app.db.reader(), &wanted, &After::nothing(), i64::MAX).await?;
    let users: Vec<Value> = rows.iter().map(|user| v2::user(view::user::user(user, ""))).collect();
    json(&json!({"users": users, "users_links": []}))
}

/// A user's members as v3 calls them, and the tenant it shall be a member of.
fn renamed(mut user: Map<String, Value>) -> (Map<String, Value>, Option<String>) {
    let username = user.remove("username");
    if let Some(username) = username {
        user.entry("name").or_insert(username);
    }
    let ids = [user.remove("tenantId"), user.remove("default_project_id")];
    let tenant = ids.into_iter().flatten().next();
    let id = tenant.as_ref().and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
    if let Some(tenant) = tenant {
        user.insert("default_project_id".into(), tenant);
    }
    for name in ["domain_id", "options", "tenants"] {
        user.remove(name);
    }
    (user, id)
}

/// Whether the tenant can be a user's: it is there, and the caller may give roles in it. The role to give.
async fn membership(app: &App, ctx: &Ctx, tenant_id: &str) -> Result<String> {
    let project = store::project::get(app.db.reader(), tenant_id).await?;
    let project = project.filter(|p| p.domain_id == DEFAULT_DOMAIN && p.is_domain == 0);
    let role = store::role::get_by_name(app.db.reader(), MEMBER).await?;
    let role = role.ok_or_else(|| faults::not_found("role", MEMBER))?;
    ctx.enforce(
        "identity:create_grant",
        &[
            ("target.role.name", &role.name),
            ("target.role.domain_id", input::or_none(&role.domain_id)),
            ("target.user.domain_id", DEFAULT_DOMAIN),
            ("target.project.domain_id", DEFAULT_DOMAIN),
        ],
    )?;
    project.ok_or_else(|| faults::not_found("project", tenant_id))?;
    Ok(role.id)
}

async fn join(app: &App, user: &Value, tenant_id: &str, role_id: String) -> Result<()> {
    let row = Assignment {
        actor_kind: "user".into(),
        actor_id: user["id"].as_str().unwrap_or_default().into(),
        target_kind: "project".into(),
        target_id: tenant_id.into(),
        role_id,
        inherited: 0,
    };
    app.write(async |tx| store::assignment::insert(tx, &row).await).await.map(drop)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, input: JsonBody) -> ApiResult {
    let (mut wanted, tenant) = renamed(given(&input, "user")?);
    ctx.enforce("identity:create_user", &[("target.user.domain_id", DEFAULT_DOMAIN)])?;
    let role = match &tenant {
        Some(id) => Some((id, membership(&app, &ctx, id).await?)),
        None => None,
    };
    wanted.remove("id");
    wanted.insert("domain_id".into(), json!(DEFAULT_DOMAIN));
    let made = inner(users::create(app.clone(), ctx, req, body("user", wanted)).await, "user")?;
    if let Some((tenant_id, role_id)) = role {
        join(&app, &made, tenant_id, role_id).await?;
    }
    json(&json!({"user": v2::user(made)}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    known_user(&app, &ctx, "identity:get_user", &id).await?;
    let found = inner(users::show(app, ctx, req, id).await, "user")?;
    json(&json!({"user": v2::user(found)}))
}

/// The last segment of the path, if there is one after the id, says which member alone may change.
async fn change(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    input: JsonBody,
) -> ApiResult {
    known_user(&app, &ctx, "identity:update_user", &id).await?;
    let mut wanted = given(&input, "user")?;
    let only = match req.match_pattern().and_then(|p| p.rsplit('/').next().map(str::to_owned)).as_deref() {
        Some("enabled") => Some("enabled"),
        Some("password") => Some("password"),
        Some("tenant") => Some("tenantId"),
        _ => None,
    };
    if let Some(only) = only {
        wanted.retain(|name, _| name == only || name == "id");
        if !wanted.contains_key(only) {
            return Err(faults::expected(only, "user").into());
        }
    }
    let (wanted, tenant) = renamed(wanted);
    let role = match &tenant {
        Some(tenant_id) => Some((tenant_id, membership(&app, &ctx, tenant_id).await?)),
        None => None,
    };
    if wanted.keys().all(|name| name == "id") {
        return Err(Error::bad_request("Nothing to change was given.").into());
    }
    let changed = inner(users::update(app.clone(), ctx, req, id, body("user", wanted)).await, "user")?;
    if let Some((tenant_id, role_id)) = role {
        join(&app, &changed, tenant_id, role_id).await?;
    }
    json(&json!({"user": v2::user(changed)}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    known_user(&app, &ctx, "identity:delete_user", &id).await?;
    nothing(users::delete(app, ctx, id).await)
}
