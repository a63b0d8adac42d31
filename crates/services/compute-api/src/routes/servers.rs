//! Servers: lists, show, change, delete. Their making is in `server_create`, actions in `server_actions`.

use super::server_filter;
use crate::{
    app::App,
    create::names,
    input, jobs,
    store::{
        hosts,
        instance_actions::Asker,
        server_groups,
        servers::{self, Server, change, list},
    },
    view::{
        links::Links,
        servers::{self as view, Extent, View},
    },
};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, no_content};
use ferrostack_model::{Error, Result, Timestamp, microversion::feature};
use serde_json::{Value, json};
use std::collections::HashMap;

const INDEX: &str = "os_compute_api:servers:index";
const DETAIL: &str = "os_compute_api:servers:detail";
const SHOW: &str = "os_compute_api:servers:show";
const UPDATE: &str = "os_compute_api:servers:update";
const DELETE: &str = "os_compute_api:servers:delete";
const EXTENDED: &str = "os_compute_api:os-extended-server-attributes";
const EXTRA_SPECS: &str = "os_compute_api:servers:show:flavor-extra-specs";
const HOST_STATUS: &str = "os_compute_api:servers:show:host_status";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.1/servers", || web::route().to(index)).policy(&[INDEX]).summary("Lists servers"),
        Route::get("/v2.1/servers/detail", || web::route().to(detail))
            .policy(&[DETAIL])
            .summary("Lists servers with details"),
        Route::get("/v2.1/servers/{id}", || web::route().to(show)).policy(&[SHOW]).summary("Shows a server"),
        Route::put("/v2.1/servers/{id}", || web::route().to(update))
            .policy(&[UPDATE])
            .summary("Changes a server's name and the like"),
        Route::delete("/v2.1/servers/{id}", || web::route().to(delete))
            .policy(&[DELETE])
            .success(204)
            .summary("Deletes a server"),
    ]
}

/// The server if the caller may do `rule` to it. Others' servers do not exist for those who are not admins.
pub(super) async fn allowed(app: &App, ctx: &Ctx, id: &str, rule: &str) -> Result<Server> {
    let server = servers::get(&app.db, id).await?;
    visible(ctx, &server)?;
    ctx.enforce(rule, &[("project_id", &server.project_id), ("user_id", &server.user_id)])?;
    Ok(server)
}

/// 404 for a server of another project, unless the caller is an admin.
pub(super) fn visible(ctx: &Ctx, server: &Server) -> Result<()> {
    let caller = ctx.caller()?;
    if server.project_id != caller.project_id() && !caller.is_admin() {
        return Err(servers::not_found(&server.id));
    }
    Ok(())
}

/// `host_status` of every host.
async fn host_states(app: &App) -> Result<HashMap<String, &'static str>> {
    let (now, limit) = (Timestamp::now(), app.settings.compute.service_down_time);
    Ok(hosts::list(&app.db)
        .await?
        .into_iter()
        .map(|h| {
            let status = match (h.disabled, h.is_up(now, limit)) {
                _ if h.forced_down => "DOWN",
                (true, _) => "MAINTENANCE",
                (false, true) => "UP",
                (false, false) => "UNKNOWN",
            };
            (h.host, status)
        })
        .collect())
}

/// Views of `servers` for the caller.
async fn views(
    app: &App,
    ctx: &Ctx,
    req: &HttpRequest,
    servers: &[Server],
    extent: Extent,
) -> Result<Vec<Value>> {
    let caller = ctx.caller()?;
    let target = [("project_id", caller.project_id())];
    let extended = ctx.may(EXTENDED, &target);
    let states = if ctx.version.has(feature::SERVER_HOST_STATUS)
        && extent != Extent::Plain
        && ctx.may(HOST_STATUS, &target)
    {
        Some(host_states(app).await?)
    } else {
        None
    };
    let user_data =
        if extended && ctx.version.has(feature::SERVER_EXTENDED_ATTRIBUTES) && extent != Extent::Plain {
            servers::user_data(&app.db, servers).await?
        } else {
            HashMap::new()
        };
    let view = View {
        links: Links::of(req, ctx),
        version: ctx.version,
        extended,
        extra_specs: ctx.may(EXTRA_SPECS, &target),
        admin: caller.is_admin(),
        host_status: states.as_ref(),
        user_data,
        group: match servers {
            [one] if ctx.version.has(feature::SERVER_GROUPS) && extent != Extent::Detail => {
                server_groups::of_server(&app.db, &one.id).await?
            }
            _ => None,
        },
    };
    Ok(servers.iter().map(|s| view.full(s, extent)).collect())
}

/// One server as the caller sees it.
pub(super) async fn shown(
    app: &App,
    ctx: &Ctx,
    req: &HttpRequest,
    server: Server,
    extent: Extent,
) -> Result<Value> {
    let all = views(app, ctx, req, std::slice::from_ref(&server), extent).await?;
    all.into_iter().next().ok_or_else(|| Error::internal("a server has no view"))
}

/// The answer with one server.
pub(super) async fn one(
    app: &App,
    ctx: &Ctx,
    req: &HttpRequest,
    server: Server,
    extent: Extent,
) -> ApiResult {
    json(&json!({"server": shown(app, ctx, req, server, extent).await?}))
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    listed(&app, &ctx, &req, INDEX, false).await
}

async fn detail(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    listed(&app, &ctx, &req, DETAIL, true).await
}

async fn listed(app: &App, ctx: &Ctx, req: &HttpRequest, rule: &str, detail: bool) -> ApiResult {
    let caller = ctx.caller()?;
    ctx.enforce(rule, &[("project_id", caller.project_id()), ("user_id", caller.user_id())])?;
    let query =
        input::query(ctx, if detail { "servers.detail?" } else { "servers.index?" }, req.query_string())?;
    let filter = server_filter::read(app, ctx, &query, rule).await?;
    let mut keys: Vec<&str> = query.all("sort_key").filter(|k| !k.is_empty()).collect();
    if let Some(key) = keys.iter().find(|k| matches!(**k, "host" | "node"))
        && !caller.is_admin()
    {
        return Err(Error::forbidden(format!("Only administrators can sort servers by {key}")).into());
    }
    for key in &mut keys {
        if *key == "locked" && !ctx.version.has(feature::LOCKED_REASON) {
            // Known to the schema, but ignored.
            *key = "";
        }
    }
    let directions: Vec<&str> = query.all("sort_dir").filter(|d| !d.is_empty()).collect();
    let sort = list::Sort::of(&keys, &directions)?;
    let limit = query.limit(app.settings.compute.max_limit);
    let marker = match query.get("marker").filter(|m| !m.is_empty()) {
        None => None,
        Some(id) => {
            let found = servers::find(&app.db, id).await?.filter(|s| visible(ctx, s).is_ok());
            Some(found.ok_or_else(|| super::flavors::marker_not_found(id))?)
        }
    };
    let links = Links::of(req, ctx);
    let short =
        if detail { None } else { list::names(&app.db, &filter, &sort, limit, marker.as_ref()).await? };
    let (items, last): (Vec<Value>, Option<String>) = match short {
        Some(found) => (
            found.iter().map(|(id, name)| view::basic(id, name, &links)).collect(),
            found.last().map(|(id, _)| id.clone()),
        ),
        None => {
            let found = list::list(&app.db, &filter, &sort, limit, marker).await?;
            let items = if detail {
                views(app, ctx, req, &found, Extent::Detail).await?
            } else {
                found.iter().map(|s| view::basic(&s.id, &s.display_name, &links)).collect()
            };
            (items, found.last().map(|s| s.id.clone()))
        }
    };
    let full = items.len() as i64 == limit;
    let mut body = json!({"servers": items});
    if let Some(last) = last.filter(|_| full) {
        let path = if detail { "servers/detail" } else { "servers" };
        body["servers_links"] = links.next(path, query.pairs(), &last);
    }
    json(&body)
}

async fn show(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "servers.show?", req.query_string())?;
    let server = allowed(&app, &ctx, &id, SHOW).await?;
    one(&app, &ctx, &req, server, Extent::Show).await
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "servers.update", body)?;
    let server = allowed(&app, &ctx, &id, UPDATE).await?;
    let asked = &body["server"];
    let text = |name: &str| asked[name].as_str().map(str::to_owned);
    let unpin = match asked.get("pinned_availability_zone") {
        None => false,
        Some(Value::Null) => true,
        Some(zone) if zone.as_str() == server.pinned_az.as_deref() => false,
        Some(_) => {
            return Err(Error::conflict(format!(
                "The pinned availability zone of instance {id} can be unset, but not changed."
            ))
            .into());
        }
    };
    let edit = change::Edit {
        display_name: text("name").map(|n| if ctx.legacy { n.trim().to_owned() } else { n }),
        hostname: text("hostname").map(|h| names::given_hostname(&h, ctx.version)).transpose()?,
        description: asked.get("description").map(|d| d.as_str().map(str::to_owned)),
        access_ip_v4: text("accessIPv4"),
        access_ip_v6: text("accessIPv6"),
        disk_config: text("OS-DCF:diskConfig"),
        unpin,
    };
    if !change::edit(&app.db, &server.id, &edit).await? {
        return Err(servers::not_found(&id).into());
    }
    let server = servers::get(&app.db, &id).await?;
    let extent = if ctx.version.has(feature::SERVER_FULL_UPDATE) { Extent::Show } else { Extent::Plain };
    one(&app, &ctx, &req, server, extent).await
}

async fn delete(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let server = allowed(&app, &ctx, &id, DELETE).await?;
    jobs::delete::begin_soft(&app, &server, Asker::of(ctx.caller()?, &ctx.request_id)).await?;
    no_content()
}
