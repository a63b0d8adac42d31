//! Hypervisors: the hosts as seen from their capacity.

use super::{flavors::marker_not_found, services::same_uuid};
use crate::{
    app::App,
    input::{self, Query},
    store::{
        hosts::{self, Host},
        services,
    },
    view::{
        hypervisors::{self as view, Hypervisor},
        links::Links,
    },
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, Route, json};
use ferrostack_model::{
    Error, Result, Timestamp, id,
    microversion::{feature, until},
};
use serde_json::{Value, json};
use std::collections::HashMap;

const LIST: &str = "os_compute_api:os-hypervisors:list";
const DETAIL: &str = "os_compute_api:os-hypervisors:list-detail";
const STATISTICS: &str = "os_compute_api:os-hypervisors:statistics";
const SHOW: &str = "os_compute_api:os-hypervisors:show";
const UPTIME: &str = "os_compute_api:os-hypervisors:uptime";
const SEARCH: &str = "os_compute_api:os-hypervisors:search";
const SERVERS: &str = "os_compute_api:os-hypervisors:servers";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/os-hypervisors", || web::route().to(index))
            .policy(&[LIST])
            .summary("Lists hypervisors"),
        Route::get("/v2.1/os-hypervisors/detail", || web::route().to(detail))
            .policy(&[DETAIL])
            .summary("Lists hypervisors with details"),
        Route::get("/v2.1/os-hypervisors/statistics", || web::route().to(statistics))
            .policy(&[STATISTICS])
            .window(until(87))
            .summary("Shows the sums over all hypervisors"),
        Route::get("/v2.1/os-hypervisors/{id}", || web::route().to(show))
            .policy(&[SHOW])
            .summary("Shows a hypervisor"),
        Route::get("/v2.1/os-hypervisors/{id}/uptime", || web::route().to(uptime))
            .policy(&[UPTIME])
            .window(until(87))
            .summary("Shows how long a hypervisor has been up"),
        Route::get("/v2.1/os-hypervisors/{id}/search", || web::route().to(search))
            .policy(&[SEARCH])
            .window(until(52))
            .summary("Finds hypervisors by a part of their name"),
        Route::get("/v2.1/os-hypervisors/{id}/servers", || web::route().to(servers))
            .policy(&[SERVERS])
            .window(until(52))
            .summary("Lists the servers of hypervisors found by a part of their name"),
    ]
}

/// What answers need besides the hosts: tasks under way, and servers if wanted.
struct Around {
    busy: HashMap<String, i64>,
    servers: Option<HashMap<String, Vec<(String, String)>>>,
    down_time: i64,
}

impl Around {
    async fn read(app: &App, with_servers: bool) -> Result<Self> {
        let mut servers = None;
        if with_servers {
            let mut by_host: HashMap<String, Vec<(String, String)>> = HashMap::new();
            for (host, id, name) in services::servers(&app.db).await? {
                by_host.entry(host).or_default().push((id, name));
            }
            servers = Some(by_host);
        }
        Ok(Self {
            busy: hosts::busy(&app.db).await?.into_iter().collect(),
            servers,
            down_time: app.settings.compute.service_down_time,
        })
    }

    fn of<'a>(&'a self, host: &'a Host) -> Hypervisor<'a> {
        let servers = self.servers.as_ref().map(|all| all.get(&host.host).map_or(&[][..], Vec::as_slice));
        Hypervisor {
            host,
            busy: self.busy.get(&host.host).copied().unwrap_or(0),
            servers,
            down_time: self.down_time,
        }
    }
}

/// All hosts in the order of their numbers.
async fn all(app: &App) -> Result<Vec<Host>> {
    let mut found = hosts::list(&app.db).await?;
    found.sort_by_key(|h| h.hypervisor_number);
    Ok(found)
}

fn short(text: &str) -> String {
    text.chars().take(255).collect()
}

/// The hosts with `pattern` in their hypervisor's name; 404 if there is none.
fn matching(hosts: Vec<Host>, pattern: &str) -> Result<Vec<Host>> {
    let found: Vec<Host> = hosts.into_iter().filter(|h| h.hypervisor_hostname.contains(pattern)).collect();
    if found.is_empty() {
        return Err(Error::not_found(format!("No hypervisor matching '{}' could be found.", short(pattern))));
    }
    Ok(found)
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "hypervisors.index?", req.query_string())?;
    ctx.enforce(LIST, &[])?;
    list(&app, &ctx, &req, &query, false).await
}

async fn detail(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "hypervisors.detail?", req.query_string())?;
    ctx.enforce(DETAIL, &[])?;
    list(&app, &ctx, &req, &query, true).await
}

async fn list(app: &App, ctx: &Ctx, req: &HttpRequest, query: &Query, detail: bool) -> ApiResult {
    let mut found = all(app).await?;
    let mut limit = i64::MAX;
    if let Some(pattern) = query.get("hypervisor_hostname_pattern") {
        if query.get("limit").is_some() || query.get("marker").is_some() {
            let text = "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.";
            return Err(Error::bad_request(text).into());
        }
        found = matching(found, pattern)?;
    } else if ctx.version.has(feature::HYPERVISOR_PAGING) {
        limit = query.limit(app.settings.compute.max_limit);
        if let Some(marker) = query.get("marker").filter(|m| !m.is_empty()) {
            let at = found.iter().position(|h| is(h, ctx, marker)).ok_or_else(|| marker_not_found(marker))?;
            found.drain(..=at);
        }
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let around = Around::read(app, query.is_true("with_servers")).await?;
    let show = if detail { view::full } else { view::basic };
    let items: Vec<Value> = found.iter().map(|h| show(around.of(h), ctx.version)).collect();
    let mut body = json!({"hypervisors": items});
    if let Some(last) = found.last()
        && found.len() as i64 == limit
    {
        let path = if detail { "os-hypervisors/detail" } else { "os-hypervisors" };
        let marker = if ctx.version.has(feature::SERVICE_UUID) {
            last.hypervisor_id.clone()
        } else {
            last.hypervisor_number.to_string()
        };
        body["hypervisors_links"] = Links::of(req, ctx).next(path, query.pairs(), &marker);
    }
    json(&body)
}

/// Whether `id` is the host's at this version.
fn is(host: &Host, ctx: &Ctx, id: &str) -> bool {
    if ctx.version.has(feature::SERVICE_UUID) {
        same_uuid(&host.hypervisor_id, id)
    } else {
        host.hypervisor_number.to_string() == id
    }
}

async fn find(app: &App, ctx: &Ctx, id: &str) -> Result<Host> {
    if ctx.version.has(feature::SERVICE_UUID) && !id::is_uuid_like(id) {
        return Err(Error::bad_request(format!("Invalid uuid {}", short(id))));
    }
    let found = hosts::list(&app.db).await?;
    found
        .into_iter()
        .find(|h| is(h, ctx, id))
        .ok_or_else(|| Error::not_found(format!("Hypervisor with ID '{}' could not be found.", short(id))))
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    let query = input::query(&ctx, "hypervisors.show?", req.query_string())?;
    ctx.enforce(SHOW, &[])?;
    let host = find(&app, &ctx, &id).await?;
    let around = Around::read(&app, query.is_true("with_servers")).await?;
    json(&json!({"hypervisor": view::full(around.of(&host), ctx.version)}))
}

async fn statistics(app: web::Data<App>, ctx: Ctx) -> ApiResult {
    ctx.enforce(STATISTICS, &[])?;
    let (found, around) = (hosts::list(&app.db).await?, Around::read(&app, false).await?);
    json(&view::statistics(found.iter().map(|h| around.of(h))))
}

async fn uptime(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    ctx.enforce(UPTIME, &[])?;
    let host = find(&app, &ctx, &id).await?;
    let around = Around::read(&app, false).await?;
    if !host.is_up(Timestamp::now(), around.down_time) {
        let text = format!("Compute service of {} is unavailable at this time.", host.host);
        return Err(Error::bad_request(text).into());
    }
    json(&json!({"hypervisor": view::with_uptime(around.of(&host), ctx.version)}))
}

async fn search(app: web::Data<App>, ctx: Ctx, pattern: web::Path<String>) -> ApiResult {
    ctx.enforce(SEARCH, &[])?;
    by_pattern(&app, &ctx, &pattern, false).await
}

async fn servers(app: web::Data<App>, ctx: Ctx, pattern: web::Path<String>) -> ApiResult {
    ctx.enforce(SERVERS, &[])?;
    by_pattern(&app, &ctx, &pattern, true).await
}

async fn by_pattern(app: &App, ctx: &Ctx, pattern: &str, with_servers: bool) -> ApiResult {
    let found = matching(all(app).await?, pattern)?;
    let around = Around::read(app, with_servers).await?;
    let items: Vec<Value> = found.iter().map(|h| view::basic(around.of(h), ctx.version)).collect();
    json(&json!({"hypervisors": items}))
}
