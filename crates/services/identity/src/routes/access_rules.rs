//! `/v3/users/{user_id}/access_rules`

use crate::{
    app::App,
    auth::delegation,
    faults, list,
    store::{self, access_rule::AccessRule},
    view,
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, base_url, json, no_content, query_pairs};
use ferrostack_model::Result;
use serde_json::json;

pub(super) fn rows() -> Vec<Route> {
    let one = "/v3/users/{user_id}/access_rules/{access_rule_id}";
    vec![
        Route::get("/v3/users/{user_id}/access_rules", || web::route().to(index))
            .policy(&["identity:list_access_rules"])
            .summary("List a user's access rules"),
        Route::get(one, || web::route().to(show))
            .policy(&["identity:get_access_rule"])
            .summary("Show an access rule"),
        Route::delete(one, || web::route().to(delete))
            .policy(&["identity:delete_access_rule"])
            .success(204)
            .summary("Delete an access rule that no application credential uses"),
    ]
}

async fn enforce(app: &App, ctx: &Ctx, user_id: &str, rule: &str) -> Result<()> {
    match store::user::get(app.db.reader(), user_id).await? {
        Some(user) => {
            ctx.enforce(rule, &[("target.user.id", &user.id), ("target.user.domain_id", &user.domain_id)])
        }
        None => ctx.enforce(rule, &[]),
    }
}

async fn allowed(app: &App, ctx: &Ctx, path: &(String, String), rule: &str) -> Result<AccessRule> {
    enforce(app, ctx, &path.0, rule).await?;
    let found = store::access_rule::get(app.db.reader(), &path.0, &path.1).await?;
    found.ok_or_else(|| faults::not_found("Access Rule", &path.1))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, user_id: web::Path<String>) -> ApiResult {
    enforce(&app, &ctx, &user_id, "identity:list_access_rules").await?;
    let query = query_pairs(req.query_string());
    let last = |name: &str| list::last(&query, name);
    let rules =
        store::access_rule::list(app.db.reader(), &user_id, last("service"), last("path"), last("method"))
            .await?;
    list::answer(&req, &query, "access_rules", rules, |r| &r.id, view::application_credential::access_rule)
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    let rule = allowed(&app, &ctx, &path, "identity:get_access_rule").await?;
    json(&json!({"access_rule": view::application_credential::access_rule(&rule, &base_url(&req))}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    allowed(&app, &ctx, &path, "identity:delete_access_rule").await?;
    delegation::in_person(&ctx.caller()?.claims, "access rules")?;
    if app.write(async |tx| store::access_rule::delete(tx, &path.0, &path.1).await).await? == 0 {
        return Err(faults::not_found("Access Rule", &path.1).into());
    }
    no_content()
}
