//! What was done to a server, and how it went.

use super::servers::visible;
use crate::{
    app::App,
    input::{self, Query},
    store::{
        instance_actions::{self as store, Window},
        servers::{self, Server},
    },
    view::{instance_actions as view, links::Links},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::{Error, Result, Timestamp, microversion::feature};
use serde_json::{Value, json};

const LIST: &str = "os_compute_api:os-instance-actions:list";
const SHOW: &str = "os_compute_api:os-instance-actions:show";
const EVENTS: &str = "os_compute_api:os-instance-actions:events";
const DETAILS: &str = "os_compute_api:os-instance-actions:events:details";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/servers/{id}/os-instance-actions", || web::route().to(index))
            .policy(&[LIST])
            .summary("Lists what was done to a server"),
        Route::get("/v2.1/servers/{id}/os-instance-actions/{request_id}", || web::route().to(show))
            .policy(&[SHOW, EVENTS, DETAILS])
            .summary("Shows what a request did to a server"),
    ]
}

async fn server(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<Server> {
    let found = servers::find(&app.db, id).await?.ok_or_else(|| servers::not_found(id))?;
    if found.deleted_at.is_some() && !ctx.version.has(feature::ACTIONS_OF_DELETED) {
        return Err(servers::not_found(id));
    }
    visible(ctx, &found)?;
    ctx.enforce(rule, &[("project_id", &found.project_id), ("user_id", &found.user_id)])?;
    Ok(found)
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>> {
    query
        .get(name)
        .map(|t| Timestamp::parse(t).ok_or_else(|| Error::bad_request(format!("Invalid {name} value: {t}"))))
        .transpose()
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let query = input::query(&ctx, "instance_actions.index?", req.query_string())?;
    let server = server(&app, &ctx, &id, LIST).await?;
    let paged = ctx.version.has(feature::ACTION_PAGING);
    let max = app.settings.compute.max_limit;
    let mut window = Window { since: None, before: None, after: None, limit: i64::MAX };
    if paged {
        window.limit = query.limit(max);
        window.since = time(&query, "changes-since")?;
        if ctx.version.has(feature::CHANGES_BEFORE) {
            window.before = time(&query, "changes-before")?;
        }
        if let (Some(since), Some(before)) = (window.since, window.before)
            && before < since
        {
            return Err(Error::bad_request(
                "The value of changes-since must be less than or equal to changes-before.",
            )
            .into());
        }
        if let Some(marker) = query.get("marker").filter(|m| !m.is_empty()) {
            let found = store::get(&app.db, &server.id, marker).await?;
            window.after = Some(found.ok_or_else(|| super::flavors::marker_not_found(marker))?);
        }
    }
    let found = store::list(&app.db, &server.id, &window).await?;
    let items: Vec<Value> = found.iter().map(|a| view::action(a, ctx.version)).collect();
    let mut body = json!({"instanceActions": items});
    if paged
        && let Some(last) = found.last()
        && found.len() as i64 == window.limit
    {
        let path = format!("servers/{}/os-instance-actions", server.id);
        body["links"] = Links::of(&req, &ctx).next(&path, query.pairs(), &last.request_id);
    }
    json(&body)
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "instance_actions.show?", req.query_string())?;
    let (id, request_id) = path.into_inner();
    let server = server(&app, &ctx, &id, SHOW).await?;
    let action = store::get(&app.db, &server.id, &request_id).await?.ok_or_else(|| {
        let short: String = request_id.chars().take(255).collect();
        Error::not_found(format!("Action for request_id {short} on instance {} not found", server.id))
    })?;
    let mut body = view::action(&action, ctx.version);
    let target = [("project_id", server.project_id.as_str())];
    let private = ctx.may(EVENTS, &target);
    if private || ctx.version.has(feature::ACTION_EVENTS_FOR_OWNER) {
        let details = ctx.may(DETAILS, &target);
        let events: Vec<Value> = store::events(&app.db, &server.id, &request_id)
            .await?
            .iter()
            .map(|e| view::event(e, &server.project_id, ctx.version, private, details))
            .collect();
        body["events"] = json!(events);
    }
    json(&json!({"instanceAction": body}))
}
