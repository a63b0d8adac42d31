//! Networks.

use super::{State, Target, commit, enforce, hide, made, one, page, query, sees_all, url};
use crate::{
    app::App,
    attribute::{Fields, check, network::NETWORK},
    error::network_not_found,
    list::Query,
    store::{
        self, TRIES,
        network::{Network, Scope},
        quota::Resource,
        subnet,
    },
    view::{self, Object},
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, web},
    created, json, no_content,
};
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::json;
use std::collections::HashMap;

/// Attributes that lists filter and sort by.
pub(super) const KNOWN: &[&str] = &[
    "id",
    "name",
    "tenant_id",
    "project_id",
    "admin_state_up",
    "mtu",
    "status",
    "subnets",
    "shared",
    "availability_zone_hints",
    "availability_zones",
    "ipv4_address_scope",
    "ipv6_address_scope",
    "router:external",
    "is_default",
    "description",
    "port_security_enabled",
    "dns_domain",
    "provider:network_type",
    "provider:physical_network",
    "provider:segmentation_id",
    "created_at",
    "updated_at",
    "revision_number",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.0/networks", || web::get().to(list))
            .policy(&["get_network"])
            .summary("Lists networks"),
        Route::post("/v2.0/networks", || web::post().to(create))
            .policy(&["create_network"])
            .success(201)
            .summary("Creates one or several networks"),
        Route::get("/v2.0/networks/{id}", || web::get().to(show))
            .policy(&["get_network"])
            .summary("Shows a network"),
        Route::put("/v2.0/networks/{id}", || web::put().to(update))
            .policy(&["get_network", "update_network"])
            .summary("Changes a network"),
        Route::delete("/v2.0/networks/{id}", || web::delete().to(delete))
            .policy(&["get_network", "delete_network"])
            .success(204)
            .summary("Deletes a network without ports, and its subnets"),
    ]
}

/// The network, if the caller may see it; 404 in Neutron's words if not.
pub(super) async fn visible(ctx: &Ctx, app: &App, id: &str) -> Result<Network> {
    let network = store::network::get(&app.db, id).await?.ok_or_else(|| network_not_found(id))?;
    if !ctx.may("get_network", &Target::on(&network, &network.project_id).pairs()) {
        return Err(network_not_found(id));
    }
    Ok(network)
}

fn render(ctx: &Ctx, app: &App, network: &Network, subnets: &[String]) -> Object {
    let mut view = view::network::view(network, subnets, &app.zone);
    let target = Target::on(network, &network.project_id);
    hide(ctx, view::network::RESTRICTED, &target, &mut view);
    view
}

async fn render_one(ctx: &Ctx, app: &App, network: &Network) -> Result<Object> {
    let subnets: Vec<String> =
        subnet::ids(&app.db, Some(&network.id)).await?.into_iter().map(|(_, id)| id).collect();
    Ok(render(ctx, app, network, &subnets))
}

async fn select(app: &App, ctx: &Ctx, query: &Query) -> Result<Vec<Network>> {
    let db = &app.db;
    let mut found = Vec::new();
    if let Some(ids) = query.wanted("id") {
        for id in ids {
            found.extend(store::network::list(db, &Scope::Id(id)).await?);
        }
        return Ok(found);
    }
    if let Some(names) = query.wanted("name") {
        for name in names {
            found.extend(store::network::list(db, &Scope::Name(name)).await?);
        }
        return Ok(found);
    }
    if sees_all(ctx)? {
        return store::network::list(db, &Scope::All).await;
    }
    store::network::list(db, &Scope::Visible(ctx.caller()?.project_id())).await
}

async fn list(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let query = query(&req, KNOWN)?;
    let mut networks = select(&app, &ctx, &query).await?;
    networks.retain(|n| ctx.may("get_network", &Target::on(n, &n.project_id).pairs()));
    let only = if let [one] = networks.as_slice() { Some(one.id.as_str()) } else { None };
    let mut subnets: HashMap<String, Vec<String>> = HashMap::new();
    if !networks.is_empty() {
        for (network, subnet) in subnet::ids(&app.db, only).await? {
            subnets.entry(network).or_default().push(subnet);
        }
    }
    let none = Vec::new();
    let views = networks.iter().map(|n| render(&ctx, &app, n, subnets.get(&n.id).unwrap_or(&none))).collect();
    page("networks", query.apply(views, &url(&req, "networks"), network_not_found)?)
}

async fn show(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let network = visible(&ctx, &app, req.match_info().query("id")).await?;
    one(&req, "network", render_one(&ctx, &app, &network).await?)
}

fn build(app: &App, fields: &Fields) -> Result<Network> {
    let hints: Vec<String> = fields.list("availability_zone_hints")?;
    if let Some(unknown) = hints.iter().find(|h| **h != app.zone) {
        let text = format!("AvailabilityZone {} could not be found.", check::short(unknown));
        return Err(Error::not_found(text).named("AvailabilityZoneNotFound"));
    }
    let now = Timestamp::now();
    Ok(Network {
        id: id::uuid(),
        project_id: fields.text("project_id"),
        name: fields.text("name"),
        description: fields.text("description"),
        admin_state_up: fields.flag("admin_state_up"),
        shared: fields.flag("shared"),
        mtu: fields.number("mtu"),
        port_security_enabled: fields.flag("port_security_enabled"),
        dns_domain: fields.text("dns_domain"),
        availability_zone_hints: hints,
        tags: fields.list("tags")?,
        created_at: now,
        updated_at: now,
        generation: 1,
    })
}

async fn create(ctx: Ctx, app: State, body: JsonBody) -> ApiResult {
    let (bodies, bulk) = NETWORK.bodies(&body.0)?;
    let mut networks = Vec::new();
    for given in bodies {
        let fields = NETWORK.create(&ctx, given)?;
        let network = build(&app, &fields)?;
        fields.enforce(&ctx, "create_network", &Target::on(&network, &network.project_id).pairs())?;
        networks.push(network);
    }
    let limits = super::quota::limits(&app, networks.iter().map(|n| n.project_id.as_str())).await?;
    let mut tx = app.db.begin_write().await?;
    limits.reserve(&mut tx, Resource::Network).await?;
    for network in &networks {
        if !store::network::insert(&mut tx, network).await? {
            return Err(Error::internal("a fresh network id was in use").into());
        }
    }
    commit(tx).await?;
    let views = networks.iter().map(|n| render(&ctx, &app, n, &[])).collect();
    created(&made("network", "networks", bulk, views)?)
}

fn change(network: &mut Network, fields: &Fields) {
    if fields.has("name") {
        network.name = fields.text("name");
    }
    if fields.has("description") {
        network.description = fields.text("description");
    }
    if fields.has("admin_state_up") {
        network.admin_state_up = fields.flag("admin_state_up");
    }
    if fields.has("shared") {
        network.shared = fields.flag("shared");
    }
    if fields.has("mtu") {
        network.mtu = fields.number("mtu");
    }
    if fields.has("port_security_enabled") {
        network.port_security_enabled = fields.flag("port_security_enabled");
    }
    if fields.has("dns_domain") {
        network.dns_domain = fields.text("dns_domain");
    }
    network.updated_at = Timestamp::now();
}

async fn update(req: HttpRequest, ctx: Ctx, app: State, body: JsonBody) -> ApiResult {
    let id = req.match_info().query("id");
    for _ in 0..TRIES {
        let mut network = visible(&ctx, &app, id).await?;
        let fields = NETWORK.update(NETWORK.body(&body.0)?)?;
        fields.enforce(&ctx, "update_network", &Target::on(&network, &network.project_id).pairs())?;
        let was_shared = network.shared;
        change(&mut network, &fields);
        let mut tx = app.db.begin_write().await?;
        if store::network::update(&mut tx, &network).await? != Change::Updated {
            continue;
        }
        if was_shared
            && !network.shared
            && store::network::used_by_others(&mut tx, id, &network.project_id).await?
        {
            let text = format!(
                "Unable to reconfigure sharing settings for network {id}. Multiple tenants are using it."
            );
            return Err(Error::conflict(text).named("InvalidSharedSetting").into());
        }
        commit(tx).await?;
        network.generation += 1;
        return json(&json!({"network": render_one(&ctx, &app, &network).await?}));
    }
    Err(store::contended("network", id).into())
}

async fn delete(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let id = req.match_info().query("id");
    let network = visible(&ctx, &app, id).await?;
    enforce(&ctx, "delete_network", &Target::on(&network, &network.project_id).pairs())?;
    let mut tx = app.db.begin_write().await?;
    if !store::network::delete(&mut tx, id).await? {
        return Err(network_not_found(id).into());
    }
    commit(tx).await?;
    no_content()
}
