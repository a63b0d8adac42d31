//! `/v3/users`

use super::{grants::could_give, user_passwords};
use crate::{
    app::App,
    compliance::By,
    faults,
    input::{self, Checks},
    list,
    listings::{Base, Groups, Projects, Users},
    store::{self, Wanted, user::User},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const KNOWN: &[&str] = &[
    "name",
    "domain_id",
    "default_project_id",
    "enabled",
    "password",
    "original_password",
    "options",
    "password_expires_at",
];

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/users/{user_id}";
    vec![
        Route::get("/v3/users", || web::route().to(index))
            .policy(&["identity:list_users"])
            .summary("List users"),
        Route::post("/v3/users", || web::route().to(create))
            .policy(&["identity:create_user"])
            .body(|| CREATE.body("user"))
            .success(201)
            .summary("Create a user"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_user"]).summary("Show a user"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_user"])
            .body(|| UPDATE.body("user"))
            .summary("Update a user"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_user"])
            .success(204)
            .summary("Delete a user"),
        Route::get("/v3/users/{user_id}/projects", || web::route().to(projects))
            .policy(&["identity:list_user_projects"])
            .summary("List projects a user has roles on"),
        Route::get("/v3/users/{user_id}/groups", || web::route().to(groups))
            .policy(&["identity:list_groups_for_user"])
            .summary("List groups a user is in"),
    ]
}

fn properties() -> Value {
    let method_list =
        json!({"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string"}});
    let flag = json!({"type": ["boolean", "null"]});
    json!({
        "name": input::name(), "domain_id": input::id(), "default_project_id": input::nullable_id(),
        "enabled": input::boolean(), "password": input::nullable_text(), "description": input::nullable_text(),
        "options": {"type": "object", "additionalProperties": false, "properties": {
            "ignore_change_password_upon_first_use": flag, "ignore_password_expiry": flag,
            "ignore_lockout_failure_attempts": flag, "ignore_user_inactivity": flag, "lock_password": flag,
            "multi_factor_auth_enabled": flag,
            "multi_factor_auth_rules": {"type": ["array", "null"], "items": method_list},
        }},
    })
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &["name"]));
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &[]));

/// The user, if it exists and the policy lets the caller at it. Who may not see users does not learn which exist.
async fn allowed(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<User> {
    let user = store::user::get(app.db.reader(), id).await?;
    match &user {
        Some(u) => ctx.enforce(
            rule,
            &[("target.user.id", &u.id), ("target.user.domain_id", &u.domain_id), ("user_id", id)],
        )?,
        None => ctx.enforce(rule, &[("user_id", id)])?,
    }
    user.ok_or_else(|| faults::not_found("user", id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let own = input::own_domain(&ctx)?;
    match &own {
        Some(domain) => ctx.enforce("identity:list_users", &[("target.domain_id", domain)])?,
        None => ctx.enforce("identity:list_users", &[])?,
    }
    let query = query_pairs(req.query_string());
    let expires = user_passwords::expiry_filter(&query)?;
    let Some(wanted) = list::wanted(&query, own.as_deref()) else {
        return list::whole(&req, &query, "users", list::Nothing).await;
    };
    let source = Users { base: Base { app, query: query.clone(), wanted }, expires };
    list::rows(&req, &query, "users", source).await
}

pub(super) async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let wanted = body.0.get("user").and_then(Value::as_object).cloned().unwrap_or_default();
    let domain_id = input::domain_id(&ctx, &wanted)?;
    ctx.enforce("identity:create_user", &[("target.user.domain_id", &domain_id)])?;
    let input = CREATE.object(&body.0, "user")?;
    store::domain::get(app.db.reader(), &domain_id)
        .await?
        .ok_or_else(|| faults::not_found("domain", &domain_id))?;
    let default_project_id = default_project(&app, input).await?.unwrap_or_default();
    let password = match input.get("password") {
        Some(Value::Null) | None => None,
        Some(_) => user_passwords::given(&app, input).await?,
    };
    let mut user = User {
        id: id::hex(),
        name: input::string(input, "name").unwrap_or_default().to_owned(),
        domain_id,
        default_project_id,
        enabled: input::flag(input, "enabled").unwrap_or(true).into(),
        options: input::options("{}", input),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
        ..User::default()
    };
    if let Some(hash) = password {
        app.compliance.set(&mut user, hash, By::Admin, Timestamp::now());
    }
    let mut work = app.begin().await?;
    work.adds_only();
    store::user::insert(&mut *work.tx, &user).await?;
    app.commit(work).await?;
    created(&json!({"user": view::user::user(&user, &base_url(&req))}))
}

/// The default project named in the body: `Some("")` if it is null. It may not exist, but is no domain.
async fn default_project(app: &App, input: &Map<String, Value>) -> Result<Option<String>> {
    let Some(value) = input.get("default_project_id") else { return Ok(None) };
    let id = value.as_str().unwrap_or_default();
    if !id.is_empty() && store::domain::get(app.db.reader(), id).await?.is_some() {
        return Err(Error::bad_request(format!("User's default project ID cannot be a domain ID: {id}")));
    }
    Ok(Some(id.to_owned()))
}

pub(super) async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
) -> ApiResult {
    let user = allowed(&app, &ctx, &id, "identity:get_user").await?;
    json(&json!({"user": view::user::user(&user, &base_url(&req))}))
}

pub(super) async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    let found = allowed(&app, &ctx, &id, "identity:update_user").await?;
    let input = UPDATE.object(&body.0, "user")?;
    input::same_id(input, &id, "user")?;
    if input.contains_key("password") || input.contains_key("options") {
        // Whoever sets them can become the user.
        let held = store::assignment::list_of_user(app.db.reader(), &found.id).await?;
        could_give(&app, &ctx, &held, &found.domain_id, "identity:update_user").await?;
    }
    let default_project = default_project(&app, input).await?;
    // Hashing is slow: before the transaction.
    let password = user_passwords::given(&app, input).await?;
    let mut work = app.begin().await?;
    let mut user =
        store::user::get(&mut *work.tx, &id).await?.ok_or_else(|| faults::not_found("user", &id))?;
    if input::string(input, "domain_id").is_some_and(|d| d != user.domain_id) {
        return Err(Error::bad_request("Cannot change Domain ID").into());
    }
    let was_enabled = user.enabled == 1;
    if let Some(name) = input::string(input, "name") {
        user.name = name.to_owned();
    }
    if let Some(enabled) = input::flag(input, "enabled") {
        user.enabled = enabled.into();
    }
    if let Some(project) = default_project {
        user.default_project_id = project;
    }
    let new_password = password.is_some();
    user.options = input::options(&user.options, input);
    if let Some(hash) = password {
        user_passwords::replace(&app, &mut work.tx, &mut user, hash, By::Admin).await?;
    }
    user.extra = input::keep(&user.extra, input, KNOWN);
    if user.enabled == 1 {
        // As in Keystone an administrator's update lets in who was locked out, and counts as a sign of life.
        store::login::forgive_all(&mut *work.tx, &user.id).await?;
        if app.compliance.idle_before(Timestamp::now()).is_some() {
            user.last_active_at = Timestamp::now().0;
        }
    }
    if store::user::update(&mut *work.tx, &user).await? != Change::Updated {
        return Err(faults::raced("user").into());
    }
    if was_enabled && user.enabled == 0 {
        // As in Keystone: who comes back makes new ones.
        store::application_credential::delete_of_user(&mut *work.tx, &user.id).await?;
    }
    if new_password || (was_enabled && user.enabled == 0) {
        work.revoke_user(&user.id);
    }
    app.commit(work).await?;
    json(&json!({"user": view::user::user(&user, &base_url(&req))}))
}

pub(super) async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let user = allowed(&app, &ctx, &id, "identity:delete_user").await?;
    let mut work = app.begin().await?;
    if !store::hold(&mut *work.tx, "user", &user.id).await? {
        return Err(faults::not_found("user", &id).into());
    }
    store::trust::delete_of_user(&mut *work.tx, &user.id, Timestamp::now()).await?;
    store::assignment::delete_of_actor(&mut *work.tx, "user", &user.id).await?;
    store::login::forgive_all(&mut *work.tx, &user.id).await?;
    if store::user::delete(&mut *work.tx, &user.id).await? == 0 {
        return Err(faults::not_found("user", &id).into());
    }
    work.revoke_user(&user.id);
    app.commit(work).await?;
    no_content()
}

async fn projects(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let user = allowed(&app, &ctx, &id, "identity:list_user_projects").await?;
    let query = query_pairs(req.query_string());
    let Some(wanted) = list::wanted(&query, None) else {
        return list::whole(&req, &query, "projects", list::Nothing).await;
    };
    let base = Base { app, query: query.clone(), wanted: Wanted { owner: user.id, ..wanted } };
    let source = Projects { base, usable: false, view: view::project::project };
    list::rows(&req, &query, "projects", source).await
}

async fn groups(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let user = allowed(&app, &ctx, &id, "identity:list_groups_for_user").await?;
    let query = query_pairs(req.query_string());
    let own = input::own_domain(&ctx)?;
    let Some(wanted) = list::wanted(&query, own.as_deref()) else {
        return list::whole(&req, &query, "groups", list::Nothing).await;
    };
    let source = Groups(Base { app, query: query.clone(), wanted: Wanted { owner: user.id, ..wanted } });
    list::rows(&req, &query, "groups", source).await
}
