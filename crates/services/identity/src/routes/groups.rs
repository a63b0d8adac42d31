//! `/v3/groups`

use super::grants::{could_give, revoke_tokens};
use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    listings::{Base, Groups, Users},
    store::{self, Wanted, group::Group},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Value, json};
use std::sync::LazyLock;

const KNOWN: &[&str] = &["name", "domain_id", "description"];

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/groups/{group_id}";
    let member = "/v3/groups/{group_id}/users/{user_id}";
    vec![
        Route::get("/v3/groups", || web::route().to(index))
            .policy(&["identity:list_groups"])
            .summary("List groups"),
        Route::post("/v3/groups", || web::route().to(create))
            .policy(&["identity:create_group"])
            .body(|| CREATE.body("group"))
            .success(201)
            .summary("Create a group"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_group"]).summary("Show a group"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_group"])
            .body(|| UPDATE.body("group"))
            .summary("Update a group"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_group"])
            .success(204)
            .summary("Delete a group"),
        Route::get("/v3/groups/{group_id}/users", || web::route().to(members))
            .policy(&["identity:list_users_in_group"])
            .summary("List a group's members"),
        Route::put(member, || web::route().to(add))
            .policy(&["identity:add_user_to_group"])
            .success(204)
            .summary("Put a user into a group"),
        Route::get(member, || web::route().to(check))
            .policy(&["identity:check_user_in_group"])
            .success(204)
            .summary("Check that a user is in a group"),
        Route::delete(member, || web::route().to(remove))
            .policy(&["identity:remove_user_from_group"])
            .success(204)
            .summary("Take a user out of a group"),
    ]
}

fn properties() -> Value {
    json!({"name": input::short_name(), "domain_id": input::id(), "description": input::nullable_text()})
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &["name"]));
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &[]));

async fn allowed(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<Group> {
    let group = store::group::get(app.db.reader(), id).await?;
    match &group {
        Some(g) => ctx.enforce(rule, &[("target.group.domain_id", &g.domain_id)])?,
        // Keystone tells everybody that there is no such group to delete.
        None if rule == "identity:delete_group" => {}
        None => ctx.enforce(rule, &[])?,
    }
    group.ok_or_else(|| faults::not_found("group", id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let own = input::own_domain(&ctx)?;
    match &own {
        Some(domain) => ctx.enforce("identity:list_groups", &[("target.group.domain_id", domain)])?,
        None => ctx.enforce("identity:list_groups", &[])?,
    }
    let query = query_pairs(req.query_string());
    let Some(wanted) = list::wanted(&query, own.as_deref()) else {
        return list::whole(&req, &query, "groups", list::Nothing).await;
    };
    let source = Groups(Base { app, query: query.clone(), wanted });
    list::rows(&req, &query, "groups", source).await
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    let wanted = body.0.get("group").and_then(Value::as_object).cloned().unwrap_or_default();
    let domain_id = input::domain_id(&ctx, &wanted)?;
    ctx.enforce("identity:create_group", &[("target.group.domain_id", &domain_id)])?;
    let input = CREATE.object(&body.0, "group")?;
    store::domain::get(app.db.reader(), &domain_id)
        .await?
        .ok_or_else(|| faults::not_found("domain", &domain_id))?;
    let group = Group {
        id: id::hex(),
        name: input::string(input, "name").unwrap_or_default().to_owned(),
        domain_id,
        description: input::string(input, "description").unwrap_or_default().to_owned(),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    app.write(async |tx| store::group::insert(tx, &group).await).await?;
    created(&json!({"group": view::group::group(&group, &base_url(&req))}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let group = allowed(&app, &ctx, &id, "identity:get_group").await?;
    json(&json!({"group": view::group::group(&group, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    let mut group = allowed(&app, &ctx, &id, "identity:update_group").await?;
    let input = UPDATE.object(&body.0, "group")?;
    input::same_id(input, &id, "group")?;
    if input::string(input, "domain_id").is_some_and(|d| d != group.domain_id) {
        return Err(Error::bad_request("Cannot change Domain ID").into());
    }
    if let Some(name) = input::string(input, "name") {
        group.name = name.to_owned();
    }
    if let Some(text) = input.get("description") {
        group.description = text.as_str().unwrap_or_default().to_owned();
    }
    group.extra = input::keep(&group.extra, input, KNOWN);
    if app.write(async |tx| store::group::update(tx, &group).await).await? != Change::Updated {
        return Err(faults::raced("group").into());
    }
    json(&json!({"group": view::group::group(&group, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    allowed(&app, &ctx, &id, "identity:delete_group").await?;
    let mut work = app.begin().await?;
    if !store::hold(&mut *work.tx, "group", &id).await? {
        return Err(faults::not_found("group", &id).into());
    }
    let users = store::user::ids_of_group(&mut *work.tx, &id).await?;
    let grants = store::assignment::list_of_group(&mut *work.tx, &id).await?;
    store::assignment::delete_of_actor(&mut *work.tx, "group", &id).await?;
    if store::group::delete(&mut *work.tx, &id).await? == 0 {
        return Err(faults::not_found("group", &id).into());
    }
    for user in users {
        for grant in &grants {
            revoke_tokens(&mut work, user.clone(), grant);
        }
    }
    app.commit(work).await?;
    no_content()
}

async fn members(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let group = allowed(&app, &ctx, &id, "identity:list_users_in_group").await?;
    let query = query_pairs(req.query_string());
    let expires = super::user_passwords::expiry_filter(&query)?;
    let own = input::own_domain(&ctx)?;
    let Some(wanted) = list::wanted(&query, own.as_deref()) else {
        return list::whole(&req, &query, "users", list::Nothing).await;
    };
    let base = Base { app, query: query.clone(), wanted: Wanted { owner: group.id, ..wanted } };
    let source = Users { base, expires };
    list::rows(&req, &query, "users", source).await
}

/// Group and user of a membership's path, if both exist and the policy lets the caller at them.
async fn pair(app: &App, ctx: &Ctx, path: &(String, String), rule: &str) -> Result<Group> {
    let group = store::group::get(app.db.reader(), &path.0).await?;
    let user = store::user::get(app.db.reader(), &path.1).await?;
    let mut target = Vec::new();
    if let Some(group) = &group {
        target.push(("target.group.domain_id", group.domain_id.as_str()));
    }
    if let Some(user) = &user {
        target.push(("target.user.domain_id", user.domain_id.as_str()));
    }
    ctx.enforce(rule, &target)?;
    let group = group.ok_or_else(|| faults::not_found("group", &path.0))?;
    user.ok_or_else(|| faults::not_found("user", &path.1))?;
    Ok(group)
}

async fn add(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let rule = "identity:add_user_to_group";
    let group = pair(&app, &ctx, &path, rule).await?;
    let held = store::assignment::list_of_group(app.db.reader(), &group.id).await?;
    could_give(&app, &ctx, &held, &group.domain_id, rule).await?;
    app.write(async |tx| store::group::add_member(tx, &path.0, &path.1).await).await?;
    no_content()
}

fn not_in(path: &(String, String)) -> Error {
    Error::not_found(format!("User '{}' not found in group '{}'.", path.1, path.0))
}

async fn check(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    pair(&app, &ctx, &path, "identity:check_user_in_group").await?;
    if !store::group::has_member(app.db.reader(), &path.0, &path.1).await? {
        return Err(not_in(&path).into());
    }
    no_content()
}

async fn remove(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    pair(&app, &ctx, &path, "identity:remove_user_from_group").await?;
    let mut work = app.begin().await?;
    if store::group::remove_member(&mut *work.tx, &path.0, &path.1).await? == 0 {
        return Err(not_in(&path).into());
    }
    for grant in store::assignment::list_of_group(&mut *work.tx, &path.0).await? {
        revoke_tokens(&mut work, path.1.clone(), &grant);
    }
    app.commit(work).await?;
    no_content()
}
