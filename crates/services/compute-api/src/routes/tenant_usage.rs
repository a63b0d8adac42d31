//! Usage reports of projects.

use super::flavors::marker_not_found;
use crate::{
    app::App,
    input::{self, Query},
    store::tenant_usage::{self, Life, Window},
    view::{links::Links, tenant_usage as view},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::{Error, Result, Timestamp, microversion::since};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const LIST: &str = "os_compute_api:os-simple-tenant-usage:list";
const SHOW: &str = "os_compute_api:os-simple-tenant-usage:show";
/// Without a start a report covers so many seconds: four weeks.
const DEFAULT_SECONDS: i64 = 28 * 86_400;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-simple-tenant-usage", || web::route().to(index))
            .policy(&[LIST])
            .summary("Reports the usage of all projects"),
        Route::get("/v2.1/os-simple-tenant-usage/{project_id}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Reports the usage of a project"),
    ]
}

/// What a request asks for, and the lives found.
struct Report {
    start: Timestamp,
    stop: Timestamp,
    now: Timestamp,
    lives: Vec<Life>,
    /// The marker of the next page, if this one is full.
    next: Option<String>,
}

fn time(text: &str) -> Result<Timestamp> {
    // Nova's three formats have seconds and no zone.
    let plain = (19..=32).contains(&text.len())
        && text.get(10..).is_some_and(|clock| !clock.contains(['+', '-', 'Z']));
    Timestamp::parse(text)
        .filter(|_| plain)
        .ok_or_else(|| Error::bad_request("Datetime is in invalid format"))
}

async fn read(app: &App, ctx: &Ctx, query: &Query, project: &str) -> Result<Report> {
    let now = Timestamp::now();
    let stop = query.get("end").filter(|t| !t.is_empty()).map_or(Ok(now), time)?;
    let start =
        query.get("start").filter(|t| !t.is_empty()).map_or(Ok(now.plus_seconds(-DEFAULT_SECONDS)), time)?;
    if start >= stop {
        return Err(Error::bad_request(
            "Invalid start time. The start time cannot occur after the end time.",
        ));
    }
    let paged = ctx.version.has(since(40));
    let marker = query.get("marker").filter(|_| paged).unwrap_or("");
    let limit = if paged { query.limit(app.settings.compute.max_limit) } else { i64::MAX };
    let window = Window { start, stop, project_id: project, marker, limit };
    let lives = tenant_usage::list(&app.db, window).await?.ok_or_else(|| marker_not_found(marker))?;
    let next = lives.last().filter(|_| paged && lives.len() as i64 == limit).map(|l| l.id.clone());
    Ok(Report { start, stop, now, lives, next })
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "tenant_usage.index?", req.query_string())?;
    ctx.enforce(LIST, &[])?;
    let report = read(&app, &ctx, &query, "").await?;
    let detailed = query.get("detailed") == Some("1");
    let mut by_project: BTreeMap<&str, Vec<&Life>> = BTreeMap::new();
    for life in &report.lives {
        by_project.entry(&life.project_id).or_default().push(life);
    }
    let usages: Vec<Value> = by_project
        .values()
        .map(|lives| view::project(lives, report.start, report.stop, report.now, detailed))
        .collect();
    let mut body = json!({"tenant_usages": usages});
    if let Some(marker) = &report.next {
        body["tenant_usages_links"] =
            Links::of(&req, &ctx).next("os-simple-tenant-usage", query.pairs(), marker);
    }
    json(&body)
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, project: web::Path<String>) -> ApiResult {
    let query = input::query(&ctx, "tenant_usage.show?", req.query_string())?;
    ctx.enforce(SHOW, &[("project_id", &project)])?;
    let report = read(&app, &ctx, &query, &project).await?;
    let lives: Vec<&Life> = report.lives.iter().collect();
    let mut body =
        json!({"tenant_usage": view::project(&lives, report.start, report.stop, report.now, true)});
    if let Some(marker) = &report.next {
        let path = format!("os-simple-tenant-usage/{}", *project);
        body["tenant_usage_links"] = Links::of(&req, &ctx).next(&path, query.pairs(), marker);
    }
    json(&body)
}
