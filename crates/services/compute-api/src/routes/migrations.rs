//! `GET /os-migrations`: every move of every server.

use super::flavors::marker_not_found;
use crate::{
    app::App,
    input::{self, Query},
    store::migrations::{self as store, Filter},
    view::{links::Links, migrations as view},
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json, query_pairs};
use ferrostack_model::{Error, Result, Timestamp, microversion::feature};
use serde_json::{Value, json};

const INDEX: &str = "os_compute_api:os-migrations:index";
const ALL_PROJECTS: &str = "os_compute_api:os-migrations:index:all_projects";
const HOST: &str = "os_compute_api:os-migrations:index:host";

/// The row.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-migrations", || web::route().to(index))
            .policy(&[INDEX, ALL_PROJECTS, HOST])
            .summary("Lists moves of servers"),
    ]
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>> {
    query
        .get(name)
        .map(|t| Timestamp::parse(t).ok_or_else(|| Error::bad_request(format!("Invalid {name} value: {t}"))))
        .transpose()
}

/// Nova asks for `index:all_projects` unless the caller's own project is named, by whatever version.
async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "migrations.index?", req.query_string())?;
    let caller = ctx.caller()?;
    let own = [("project_id", caller.project_id())];
    ctx.enforce(INDEX, &own)?;
    let (mut users, mut projects) = (query.get("user_id"), query.get("project_id"));
    // Below 2.59 the schema lets unknown members through, and Nova filters by these two.
    let loose = query_pairs(req.query_string());
    if !ctx.version.has(feature::MIGRATION_PAGING) {
        let last = |name| loose.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        (users, projects) = (last("user_id"), last("project_id"));
    }
    if projects.is_none_or(|project| project != caller.project_id()) {
        ctx.enforce(ALL_PROJECTS, &own)?;
    }
    let mut filter = Filter {
        server_id: query.get("instance_uuid"),
        host: query.get("host"),
        source_compute: query.get("source_compute"),
        status: query.get("status"),
        kind: query.get("migration_type"),
        user_id: users,
        project_id: projects,
        ..Filter::default()
    };
    let paged = ctx.version.has(feature::MIGRATION_PAGING);
    let mut limit = i64::MAX;
    if paged {
        limit = query.limit(app.settings.compute.max_limit);
        filter.since = time(&query, "changes-since")?;
        if ctx.version.has(feature::CHANGES_BEFORE) {
            filter.before = time(&query, "changes-before")?;
        }
        if let (Some(since), Some(before)) = (filter.since, filter.before)
            && before < since
        {
            return Err(Error::bad_request(
                "The value of changes-since must be less than or equal to changes-before.",
            )
            .into());
        }
        if let Some(marker) = query.get("marker").filter(|m| !m.is_empty()) {
            let found = store::by_uuid(&app.db, marker).await?.ok_or_else(|| marker_not_found(marker))?;
            filter.after = Some((found.created_at, found.id));
        }
    }
    // Hidden ones (moves between cells) do not exist here.
    let hidden = query.is_true("hidden");
    let found = if hidden { Vec::new() } else { store::list(&app.db, &filter, limit).await? };
    let (links, hosts) = (Links::of(&req, &ctx), ctx.may(HOST, &own));
    let items: Vec<Value> = found.iter().map(|m| view::listed(m, &links, ctx.version, hosts)).collect();
    let mut body = json!({"migrations": items});
    if paged
        && let Some(last) = found.last()
        && found.len() as i64 == limit
    {
        body["migrations_links"] = links.next("os-migrations", query.pairs(), &last.uuid);
    }
    json(&body)
}
