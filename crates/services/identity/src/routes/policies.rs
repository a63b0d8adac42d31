//! `/v3/policies`: blobs that are kept for services and mean nothing to us.

use crate::{
    app::App,
    faults,
    input::{self, Checks},
    list,
    store::{self, policy::Policy},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, base_url, created, json, no_content, query_pairs};
use ferrostack_model::{Result, Timestamp, id};
use serde_json::{Value, json};
use std::sync::LazyLock;

const KNOWN: &[&str] = &["type", "blob"];

pub(super) fn rows() -> Vec<Route> {
    let (all, one) = ("/v3/policies", "/v3/policies/{policy_id}");
    vec![
        Route::get(all, || web::route().to(index))
            .policy(&["identity:list_policies"])
            .summary("List policies"),
        Route::post(all, || web::route().to(create))
            .policy(&["identity:create_policy"])
            .body(|| CREATE.body("policy"))
            .success(201)
            .summary("Create a policy"),
        Route::get(one, || web::route().to(show)).policy(&["identity:get_policy"]).summary("Show a policy"),
        Route::patch(one, || web::route().to(update))
            .policy(&["identity:update_policy"])
            .body(|| UPDATE.body("policy"))
            .summary("Update a policy"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_policy"])
            .success(204)
            .summary("Delete a policy"),
    ]
}

fn properties() -> Value {
    // Keystone's own check is for a text; its documentation shows objects, which old clients send.
    json!({"blob": {"type": ["string", "object"]}, "type": {"type": "string", "maxLength": 255}})
}

static CREATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &["blob", "type"]));
static UPDATE: LazyLock<Checks> = LazyLock::new(|| Checks::new(properties(), &[]));

pub(super) async fn find(app: &App, id: &str) -> Result<Policy> {
    store::policy::get(app.db.reader(), id).await?.ok_or_else(|| faults::not_found("policy", id))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("identity:list_policies", &[])?;
    let query = query_pairs(req.query_string());
    let mut policies = store::policy::list(app.db.reader(), list::last(&query, "type")).await?;
    policies.retain(|p| list::passes(&query, "type", &p.r#type));
    list::answer(&req, &query, "policies", policies, |p| &p.id, view::policy::policy)
}

async fn create(app: web::Data<App>, ctx: Ctx, req: HttpRequest, body: JsonBody) -> ApiResult {
    ctx.enforce("identity:create_policy", &[])?;
    let input = CREATE.object(&body.0, "policy")?;
    let policy = Policy {
        id: id::hex(),
        r#type: input::string(input, "type").unwrap_or_default().to_owned(),
        blob: input.get("blob").unwrap_or(&Value::Null).to_string(),
        extra: input::keep("{}", input, KNOWN),
        created_at: Timestamp::now().0,
        generation: 1,
    };
    app.write(async |tx| store::policy::insert(tx, &policy).await).await?;
    created(&json!({"policy": view::policy::policy(&policy, &base_url(&req))}))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:get_policy", &[])?;
    let policy = find(&app, &id).await?;
    json(&json!({"policy": view::policy::policy(&policy, &base_url(&req))}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    body: JsonBody,
) -> ApiResult {
    ctx.enforce("identity:update_policy", &[])?;
    let input = UPDATE.object(&body.0, "policy")?;
    input::same_id(input, &id, "policy")?;
    let mut policy = find(&app, &id).await?;
    if let Some(text) = input::string(input, "type") {
        policy.r#type = text.to_owned();
    }
    if let Some(blob) = input.get("blob") {
        policy.blob = blob.to_string();
    }
    policy.extra = input::keep(&policy.extra, input, KNOWN);
    if app.write(async |tx| store::policy::update(tx, &policy).await).await? != Change::Updated {
        return Err(faults::raced("policy").into());
    }
    json(&json!({"policy": view::policy::policy(&policy, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce("identity:delete_policy", &[])?;
    app.write(async |tx| match store::policy::delete(tx, &id).await? {
        0 => Err(faults::not_found("policy", &id)),
        _ => Ok(()),
    })
    .await?;
    no_content()
}
