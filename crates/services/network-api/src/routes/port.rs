//! Ports.

use super::{State, Target, commit, hide, made, one, page, query, sees_all, url};
use crate::{
    app::App,
    attribute::{Fields, port::PORT},
    error::{http_bad_request, port_not_found},
    list::Query,
    store::{
        self, allocation,
        allocation::Wanted,
        network::Network,
        port::{Port, Scope},
    },
    view::{self, Object},
};
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, web},
    created, json, no_content,
};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::json;
use std::net::IpAddr;

mod address;
mod create;
mod update;

/// `<server id>/<index>`, from service users only: a POST with a key that was used before answers 200 with the
/// port made then instead of making another. Our own, not Neutron's.
pub const KEY_HEADER: &str = "X-Ferrostack-Idempotency-Key";

/// Attributes that lists filter and sort by.
pub(super) const KNOWN: &[&str] = &[
    "id",
    "name",
    "network_id",
    "tenant_id",
    "project_id",
    "mac_address",
    "admin_state_up",
    "status",
    "device_id",
    "device_owner",
    "fixed_ips",
    "security_groups",
    "description",
    "binding:vnic_type",
    "binding:profile",
    "binding:host_id",
    "binding:vif_type",
    "binding:vif_details",
    "port_security_enabled",
    "dns_name",
    "ip_allocation",
    "created_at",
    "updated_at",
    "revision_number",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.0/ports", || web::get().to(list)).policy(&["get_port"]).summary("Lists ports"),
        Route::post("/v2.0/ports", || web::post().to(create::create))
            .policy(&["get_network", "create_port"])
            .success(201)
            .summary("Creates one or several ports"),
        Route::get("/v2.0/ports/{id}", || web::get().to(show)).policy(&["get_port"]).summary("Shows a port"),
        Route::put("/v2.0/ports/{id}", || web::put().to(update::update))
            .policy(&["get_port", "update_port"])
            .summary("Changes or binds a port"),
        Route::delete("/v2.0/ports/{id}", || web::delete().to(update::delete))
            .policy(&["get_port", "delete_port"])
            .success(204)
            .summary("Deletes a port and frees its addresses"),
    ]
}

pub(super) fn target(port: &Port) -> Target {
    Target {
        project_id: port.project_id.clone(),
        network_project_id: port.network_project_id.clone(),
        shared: port.network_shared,
        device_owner: port.device_owner.clone(),
    }
}

/// The port, if the caller may see it; 404 in Neutron's words if not.
pub(super) async fn visible(ctx: &Ctx, app: &App, id: &str) -> Result<Port> {
    let port = store::port::get(&app.db, id).await?.ok_or_else(|| port_not_found(id))?;
    if !ctx.may("get_port", &target(&port).pairs()) {
        return Err(port_not_found(id));
    }
    Ok(port)
}

fn render(ctx: &Ctx, port: &Port) -> Object {
    let mut view = view::port::view(port);
    hide(ctx, view::port::RESTRICTED, &target(port), &mut view);
    view
}

async fn select(app: &App, ctx: &Ctx, query: &Query) -> Result<Vec<Port>> {
    let db = &app.db;
    let mut found = Vec::new();
    if let Some(ids) = query.wanted("id") {
        for id in ids {
            found.extend(store::port::list(db, &Scope::Id(id)).await?);
        }
        return Ok(found);
    }
    // "" is the device of every unbound port: no help.
    if let Some(devices) = query.wanted("device_id").filter(|d| !d.contains(&"")) {
        for id in devices {
            found.extend(store::port::list(db, &Scope::Device(id)).await?);
        }
        return Ok(found);
    }
    if let Some(macs) = query.wanted("mac_address") {
        for mac in macs {
            found.extend(store::port::list(db, &Scope::Mac(&mac.to_ascii_lowercase())).await?);
        }
        return Ok(found);
    }
    let ips: Vec<IpAddr> = query
        .wanted("fixed_ips")
        .unwrap_or_default()
        .iter()
        .filter_map(|w| w.strip_prefix("ip_address=")?.parse().ok())
        .collect();
    if !ips.is_empty() {
        let mut ids = Vec::new();
        for ip in ips {
            ids.extend(allocation::holders(db, ip).await?);
        }
        ids.sort();
        ids.dedup();
        for id in ids {
            found.extend(store::port::list(db, &Scope::Id(&id)).await?);
        }
        return Ok(found);
    }
    if let Some(networks) = query.wanted("network_id") {
        for id in networks {
            found.extend(store::port::list(db, &Scope::Network(id)).await?);
        }
        return Ok(found);
    }
    if sees_all(ctx)? {
        return store::port::list(db, &Scope::All).await;
    }
    store::port::list(db, &Scope::Visible(ctx.caller()?.project_id())).await
}

async fn list(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let query = query(&req, KNOWN)?;
    let mut ports = select(&app, &ctx, &query).await?;
    ports.retain(|p| ctx.may("get_port", &target(p).pairs()));
    let views = ports.iter().map(|p| render(&ctx, p)).collect();
    page("ports", query.apply(views, &url(&req, "ports"), port_not_found)?)
}

async fn show(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let port = visible(&ctx, &app, req.match_info().query("id")).await?;
    one(&req, "port", render(&ctx, &port))
}

/// The sub-attributes of wanted addresses have rules of their own: `create_port:fixed_ips:ip_address`.
fn enforce(ctx: &Ctx, rule: &str, fields: &Fields, wanted: Option<&[Wanted]>, target: &Target) -> Result<()> {
    fields.enforce(ctx, rule, &target.pairs())?;
    for want in wanted.unwrap_or_default() {
        if want.ip_address.is_some() {
            super::enforce(ctx, &format!("{rule}:fixed_ips:ip_address"), &target.pairs())?;
        }
        if want.subnet_id.is_some() {
            super::enforce(ctx, &format!("{rule}:fixed_ips:subnet_id"), &target.pairs())?;
        }
    }
    Ok(())
}

/// The wanted addresses; `None` if the client leaves them to us.
fn wanted(fields: &Fields) -> Result<Option<Vec<Wanted>>> {
    if fields.some("fixed_ips") { fields.list("fixed_ips").map(Some) } else { Ok(None) }
}

fn mac_in_use(network_id: &str, mac: &str) -> Error {
    Error::conflict(format!(
        "Unable to complete operation for network {network_id}. The mac address {mac} is in use."
    ))
    .named("MacAddressInUse")
}
