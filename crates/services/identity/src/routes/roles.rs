//! `/v3/roles` and what they imply.

use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    listings::{Base, Roles},
    store::{self, Wanted, role::Role},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Value, json};
use std::sync::LazyLock;

const KNOWN: &[&str] = &["name", "domain_id", "description", "options"];

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/roles/{role_id}";
    let implied = "/v3/roles/{prior_role_id}/implies/{implied_role_id}";
    vec![
        Route::get("/v3/roles", || web::route().to(index))
            .policy(&["identity:list_roles", "identity:list_domain_roles"])
            .summary("List roles"),
        Route::post("/v3/roles", || web::route().to(create))
            .policy(&["identity:create_role", "identity:create_domain_role"])
            .body(|| CREATE.body("role"))
            .success(201)
            .summary("Create a role"),
        Route::get(one, || web::route().to(show))
            .policy(&["identity:get_role", "identity:get_domain_role"])
            .summary("Show a role"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_role", "identity:update_domain_role"])
            .body(|| UPDATE.body("role"))
            .summary("Update a role"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_role", "identity:delete_domain_role"])
            .success(204)
            .summary("Delete a role"),
        Route::get("/v3/roles/{prior_role_id}/implies", || web::route().to(implied_index))
            .policy(&["identity:list_implied_roles"])
            .summary("List roles that a role implies"),
        Route::put(implied, || web::route().to(imply))
            .policy(&["identity:create_implied_role"])
            .success(201)
            .summary("Let a role imply another"),
        Route::get(implied, || web::route().to(implied_show))
            .policy(&["identity:get_implied_role"])
            .summary("Show an implication"),
        Route::head(implied, || web::route().to(implied_check))
            .policy(&["identity:check_implied_role"])
            .success(204)
            .summary("Check an implication"),
        Route::delete(implied, || web::route().to(stop_implying))
            .policy(&["identity:delete_implied_role"])
            .success(204)
            .summary("Remove an implication"),
        Route::get("/v3/role_inferences", || web::route().to(inferences))
            .policy(&["identity:list_role_inference_rules"])
            .summary("List all implications"),
    ]
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| {
    Checks::new(
        json!({"name": input::name(), "description": input::nullable_text(),
            "domain_id": input::nullable_id(), "options": input::immutable_option()}),
        &["name"],
    )
});
static UPDATE: LazyLock<Checks> = LazyLock::new(|| {
    Checks::new(
        json!({"name": input::name(), "description": input::nullable_text(),
            "options": input::immutable_option()}),
        &[],
    )
});

/// The role, if it exists and the policy lets the caller at it: global roles and domains' have rules of their own.
async fn allowed(app: &App, ctx: &Ctx, id: &str, verb: &str) -> Result<Role> {
    let role = find(app, id).await?;
    let rule = format!("identity:{verb}_{}role", if role.domain_id.is_empty() { "" } else { "domain_" });
    ctx.enforce(
        &rule,
        &[("target.role.name", &role.name), ("target.role.domain_id", input::or_none(&role.domain_id))],
    )?;
    Ok(role)
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = query_pairs(req.query_string());
    let domain_id = list::last(&query, "domain_id");
    let rule = if domain_id.is_empty() { "identity:list_roles" } else { "identity:list_domain_roles" };
    ctx.enforce(rule, &[("target.role.domain_id", input::or_none(domain_id))])?;
    let domain_id = domain_id.to_owned();
    let Some(wanted) = list::wanted(&query, None) else {
        return list::whole(&req, &query, "roles", list::Nothing).await;
    };
    let source = Roles(Base { app, query: query.clone(), wanted: Wanted { domain_id, ..wanted } });
    list::rows(&req, &query, "roles", source).await
}

pub(super) async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let domain =
        body.0.get("role").and_then(|r| r.get("domain_id")).and_then(Value::as_str).unwrap_or_default();
    let rule = if domain.is_empty() { "identity:create_role" } else { "identity:create_domain_role" };
    ctx.enforce(rule, &[("target.role.domain_id", input::or_none(domain))])?;
    let input = CREATE.object(&body.0, "role")?;
    if !domain.is_empty() {
        store::domain::get(app.db.reader(), domain)
            .await?
            .ok_or_else(|| faults::not_found("domain", domain))?;
    }
    let role = Role {
        id: id::hex(),
        name: input::string(input, "name").unwrap_or_default().to_owned(),
        domain_id: domain.to_owned(),
        description: input::string(input, "description").map(str::to_owned),
        options: input::options("{}", input),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    let mut work = app.begin().await?;
    if !domain.is_empty() && !store::hold(&mut *work.tx, "domain", domain).await? {
        return Err(faults::not_found("domain", domain).into());
    }
    store::role::insert(&mut *work.tx, &role).await?;
    app.commit(work).await?;
    created(&json!({"role": view::role::role(&role, &base_url(&req))}))
}

pub(super) async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
) -> ApiResult {
    let role = allowed(&app, &ctx, &id, "get").await?;
    json(&json!({"role": view::role::role(&role, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    let found = allowed(&app, &ctx, &id, "update").await?;
    let input = UPDATE.object(&body.0, "role")?;
    input::same_id(input, &id, "role")?;
    if input.get("domain_id").is_some_and(|d| d.as_str().unwrap_or_default() != found.domain_id) {
        return Err(Error::bad_request("Cannot change Domain ID").into());
    }
    let mut work = app.begin().await?;
    let mut role =
        store::role::get(&mut *work.tx, &id).await?.ok_or_else(|| faults::not_found("role", &id))?;
    if role.immutable() && !input::only_unlocks(input) {
        return Err(faults::immutable("update", "role", &id).into());
    }
    let old_name = role.name.clone();
    if let Some(name) = input::string(input, "name") {
        role.name = name.to_owned();
    }
    if let Some(text) = input.get("description") {
        role.description = text.as_str().map(str::to_owned);
    }
    role.options = input::options(&role.options, input);
    role.extra = input::keep(&role.extra, input, KNOWN);
    if store::role::update(&mut *work.tx, &role).await? != Change::Updated {
        return Err(faults::raced("role").into());
    }
    if role.name != old_name {
        // Tokens carry names: the old one must not go on giving rights.
        work.revoke_role(&old_name);
    }
    app.commit(work).await?;
    json(&json!({"role": view::role::role(&role, &base_url(&req))}))
}

pub(super) async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    allowed(&app, &ctx, &id, "delete").await?;
    let mut work = app.begin().await?;
    let role = store::role::get(&mut *work.tx, &id).await?.ok_or_else(|| faults::not_found("role", &id))?;
    if role.immutable() {
        return Err(faults::immutable("delete", "role", &id).into());
    }
    // What the role implies is lost with it.
    let implied = store::role::implications(&mut *work.tx).await?;
    let all = store::role::list_all(&mut *work.tx).await?;
    let lost = crate::auth::closure([role.id.clone()].into(), &implied);
    store::application_credential::delete_with_role(&mut *work.tx, &id).await?;
    if store::role::delete(&mut *work.tx, &id).await? == 0 {
        return Err(faults::not_found("role", &id).into());
    }
    if role.domain_id.is_empty() {
        work.revoke_role(&role.name);
    } else {
        // A domain's role is in no token itself.
        for implied in all.iter().filter(|r| lost.contains(&r.id) && r.domain_id.is_empty()) {
            work.revoke_role(&implied.name);
        }
    }
    app.commit(work).await?;
    no_content()
}

async fn find(app: &App, id: &str) -> Result<Role> {
    store::role::get(app.db.reader(), id).await?.ok_or_else(|| faults::not_found("role", id))
}

fn inference(prior: &Role, implied: &Role, base: &str) -> Value {
    let self_link = format!("{base}/v3/roles/{}/implies/{}", prior.id, implied.id);
    json!({
        "role_inference": {"prior_role": view::role::brief(prior, base), "implies": view::role::brief(implied, base)},
        "links": {"self": self_link},
    })
}

async fn implied_index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let (prior, base) = (find(&app, &id).await?, base_url(&req));
    ctx.enforce("identity:list_implied_roles", &[])?;
    let rules = store::role::implications(app.db.reader()).await?;
    let roles = store::role::list_all(app.db.reader()).await?;
    let implied: Vec<Value> = roles
        .iter()
        .filter(|r| rules.iter().any(|(p, i)| *p == prior.id && *i == r.id))
        .map(|r| view::role::brief(r, &base))
        .collect();
    json(&json!({
        "role_inference": {"prior_role": view::role::brief(&prior, &base), "implies": implied},
        "links": {"self": format!("{base}/v3/roles/{}/implies", prior.id)},
    }))
}

/// The two roles of an implication's path, if the policy lets the caller at them.
async fn pair(app: &App, ctx: &Ctx, path: &(String, String), rule: &str) -> Result<(Role, Role)> {
    let roles = (find(app, &path.0).await?, find(app, &path.1).await?);
    ctx.enforce(rule, &[])?;
    Ok(roles)
}

async fn imply(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let (prior, implied) = pair(&app, &ctx, &path, "identity:create_implied_role").await?;
    // Keystone's default of prohibited_implied_role; and a domain must not add to what a global role gives.
    let widens = prior.domain_id.is_empty() && !implied.domain_id.is_empty();
    if implied.name == "admin" || prior.id == implied.id || widens {
        return Err(Error::forbidden(format!("{} cannot be an implied roles.", implied.id)).into());
    }
    app.write(async |tx| store::role::imply(tx, &prior.id, &implied.id).await).await?;
    created(&inference(&prior, &implied, &base_url(&req)))
}

async fn existing(app: &App, ctx: &Ctx, path: &(String, String), rule: &str) -> Result<(Role, Role)> {
    let (prior, implied) = pair(app, ctx, path, rule).await?;
    let rules = store::role::implications(app.db.reader()).await?;
    if !rules.iter().any(|(p, i)| *p == prior.id && *i == implied.id) {
        return Err(Error::not_found(format!("{} does not imply {}.", prior.id, implied.id)));
    }
    Ok((prior, implied))
}

async fn implied_show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let (prior, implied) = existing(&app, &ctx, &path, "identity:get_implied_role").await?;
    json(&inference(&prior, &implied, &base_url(&req)))
}

async fn implied_check(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    existing(&app, &ctx, &path, "identity:check_implied_role").await?;
    no_content()
}

async fn stop_implying(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (prior, implied) = existing(&app, &ctx, &path, "identity:delete_implied_role").await?;
    let mut work = app.begin().await?;
    store::role::stop_implying(&mut *work.tx, &prior.id, &implied.id).await?;
    work.revoke_role(&implied.name);
    app.commit(work).await?;
    no_content()
}

async fn inferences(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_role_inference_rules", &[])?;
    let base = base_url(&req);
    let rules = store::role::implications(app.db.reader()).await?;
    let roles = store::role::list_all(app.db.reader()).await?;
    let all: Vec<Value> = roles
        .iter()
        .filter(|prior| rules.iter().any(|(p, _)| *p == prior.id))
        .map(|prior| {
            let implied: Vec<Value> = roles
                .iter()
                .filter(|r| rules.iter().any(|(p, i)| *p == prior.id && *i == r.id))
                .map(|r| view::role::brief(r, &base))
                .collect();
            json!({"prior_role": view::role::brief(prior, &base), "implies": implied})
        })
        .collect();
    json(&json!({"role_inferences": all, "links": {"self": format!("{base}/v3/role_inferences")}}))
}
