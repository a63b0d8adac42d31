//! Subnets.

use super::{State, Target, commit, enforce, made, one, page, query, sees_all, url};
use crate::{
    address::{Pool, default_pools, first_host},
    app::App,
    attribute::{Fields, invalid_input, subnet::SUBNET},
    error::{http_bad_request, network_not_found, subnet_not_found},
    list::Query,
    prefix,
    store::{
        self, TRIES, allocation,
        network::Network,
        quota::Resource,
        subnet::{HostRoute, Scope, Subnet},
    },
    view,
};
use ferrostack_db::{Change, Tx};
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpRequest, web},
    created, json, no_content,
};
use ferrostack_model::{Error, Result, Timestamp, id};
use ipnet::IpNet;
use serde_json::json;
use std::{collections::HashMap, net::IpAddr};

/// Attributes that lists filter and sort by.
pub(super) const KNOWN: &[&str] = &[
    "id",
    "name",
    "tenant_id",
    "project_id",
    "network_id",
    "ip_version",
    "subnetpool_id",
    "enable_dhcp",
    "ipv6_ra_mode",
    "ipv6_address_mode",
    "gateway_ip",
    "cidr",
    "dns_publish_fixed_ip",
    "service_types",
    "dns_nameservers",
    "description",
    "created_at",
    "updated_at",
    "revision_number",
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.0/subnets", || web::get().to(list)).policy(&["get_subnet"]).summary("Lists subnets"),
        Route::post("/v2.0/subnets", || web::post().to(create))
            .policy(&["get_network", "create_subnet"])
            .success(201)
            .summary("Creates one or several subnets"),
        Route::get("/v2.0/subnets/{id}", || web::get().to(show))
            .policy(&["get_subnet"])
            .summary("Shows a subnet"),
        Route::put("/v2.0/subnets/{id}", || web::put().to(update))
            .policy(&["get_subnet", "update_subnet"])
            .summary("Changes a subnet"),
        Route::delete("/v2.0/subnets/{id}", || web::delete().to(delete))
            .policy(&["get_subnet", "delete_subnet"])
            .success(204)
            .summary("Deletes a subnet without allocated addresses"),
    ]
}

/// The subnet and its network, if the caller may see it; 404 in Neutron's words if not.
pub(super) async fn visible(ctx: &Ctx, app: &App, id: &str) -> Result<(Subnet, Network)> {
    let subnet = store::subnet::get(&app.db, id).await?.ok_or_else(|| subnet_not_found(id))?;
    let network =
        store::network::get(&app.db, &subnet.network_id).await?.ok_or_else(|| subnet_not_found(id))?;
    if !ctx.may("get_subnet", &Target::on(&network, &subnet.project_id).pairs()) {
        return Err(subnet_not_found(id));
    }
    Ok((subnet, network))
}

async fn select(app: &App, ctx: &Ctx, query: &Query) -> Result<Vec<Subnet>> {
    let db = &app.db;
    let mut found = Vec::new();
    if let Some(ids) = query.wanted("id") {
        for id in ids {
            found.extend(store::subnet::list(db, &Scope::Id(id)).await?);
        }
        return Ok(found);
    }
    if let Some(ids) = query.wanted("network_id") {
        for id in ids {
            found.extend(store::subnet::list(db, &Scope::Network(id)).await?);
        }
        return Ok(found);
    }
    if sees_all(ctx)? {
        return store::subnet::list(db, &Scope::All).await;
    }
    store::subnet::list(db, &Scope::Visible(ctx.caller()?.project_id())).await
}

/// The networks of the subnets that were found.
async fn networks_of(app: &App, ctx: &Ctx, subnets: &[Subnet]) -> Result<HashMap<String, Network>> {
    use store::network::Scope;
    let mut ids: Vec<&str> = subnets.iter().map(|s| s.network_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut found = Vec::new();
    if let [_, _, _, ..] = ids.as_slice() {
        let scope = if sees_all(ctx)? { Scope::All } else { Scope::Visible(ctx.caller()?.project_id()) };
        found = store::network::list(&app.db, &scope).await?;
    } else {
        for id in ids {
            found.extend(store::network::get(&app.db, id).await?);
        }
    }
    Ok(found.into_iter().map(|n| (n.id.clone(), n)).collect())
}

async fn list(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let query = query(&req, KNOWN)?;
    let mut subnets = select(&app, &ctx, &query).await?;
    let networks = networks_of(&app, &ctx, &subnets).await?;
    subnets.retain(|s| match networks.get(&s.network_id) {
        Some(network) => ctx.may("get_subnet", &Target::on(network, &s.project_id).pairs()),
        None => false,
    });
    let views = subnets.iter().map(view::subnet::view).collect();
    page("subnets", query.apply(views, &url(&req, "subnets"), subnet_not_found)?)
}

async fn show(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let (subnet, _) = visible(&ctx, &app, req.match_info().query("id")).await?;
    one(&req, "subnet", view::subnet::view(&subnet))
}

fn gateway(fields: &Fields, net: &IpNet) -> Result<Option<IpAddr>> {
    if !fields.has("gateway_ip") {
        return Ok(Some(first_host(net)));
    }
    parse_gateway(fields, net)
}

fn parse_gateway(fields: &Fields, net: &IpNet) -> Result<Option<IpAddr>> {
    let Some(text) = fields.optional("gateway_ip") else { return Ok(None) };
    let ip = text.parse().map_err(|e| Error::internal(format!("gateway after its check: {e}")))?;
    prefix::check_gateway(net, ip)?;
    Ok(Some(ip))
}

fn check_lists(net: &IpNet, nameservers: &[IpAddr], routes: &[HostRoute]) -> Result<()> {
    prefix::check_versions(net, "dns_nameserver", nameservers)?;
    for route in routes {
        prefix::check_versions(net, "host route", [&route.destination.addr(), &route.nexthop])?;
    }
    Ok(())
}

fn build(fields: &Fields) -> Result<Subnet> {
    let text = fields.optional("cidr").ok_or_else(|| {
        http_bad_request("a subnetpool must be specified in the absence of a cidr").named("BadRequest")
    })?;
    let cidr: IpNet = text.parse().map_err(|e| Error::internal(format!("cidr after its check: {e}")))?;
    let (ip_version, enable_dhcp) = (fields.number("ip_version"), fields.flag("enable_dhcp"));
    prefix::check_cidr(&cidr, ip_version, enable_dhcp)?;
    let (ra, mode) = (fields.optional("ipv6_ra_mode"), fields.optional("ipv6_address_mode"));
    prefix::check_modes(ip_version, enable_dhcp, ra.as_deref(), mode.as_deref())?;
    let gateway_ip = gateway(fields, &cidr)?;
    let allocation_pools = if fields.some("allocation_pools") {
        let pools: Vec<Pool> = fields.list("allocation_pools")?;
        prefix::check_pools(&cidr, gateway_ip, &pools)?;
        pools
    } else {
        default_pools(&cidr, gateway_ip)
    };
    let (dns_nameservers, host_routes) = (fields.list("dns_nameservers")?, fields.list("host_routes")?);
    check_lists(&cidr, &dns_nameservers, &host_routes)?;
    let now = Timestamp::now();
    Ok(Subnet {
        id: id::uuid(),
        network_id: fields.text("network_id"),
        project_id: fields.text("project_id"),
        name: fields.text("name"),
        description: fields.text("description"),
        cidr,
        gateway_ip,
        enable_dhcp,
        allocation_pools,
        dns_nameservers,
        host_routes,
        ipv6_ra_mode: ra,
        ipv6_address_mode: mode,
        service_types: fields.list("service_types")?,
        tags: fields.list("tags")?,
        created_at: now,
        updated_at: now,
        generation: 1,
    })
}

async fn create(ctx: Ctx, app: State, body: JsonBody) -> ApiResult {
    let (bodies, bulk) = SUBNET.bodies(&body.0)?;
    let mut subnets = Vec::new();
    for given in bodies {
        let fields = SUBNET.create(&ctx, given)?;
        let network = super::network::visible(&ctx, &app, &fields.text("network_id")).await?;
        fields.enforce(&ctx, "create_subnet", &Target::on(&network, &fields.text("project_id")).pairs())?;
        subnets.push(Subnet { network_id: network.id, ..build(&fields)? });
    }
    let limits = super::quota::limits(&app, subnets.iter().map(|s| s.project_id.as_str())).await?;
    let mut tx = app.db.begin_write().await?;
    limits.reserve(&mut tx, Resource::Subnet).await?;
    for subnet in &subnets {
        insert(&mut tx, subnet).await?;
    }
    commit(tx).await?;
    let views = subnets.iter().map(view::subnet::view).collect();
    created(&made("subnet", "subnets", bulk, views)?)
}

async fn insert(tx: &mut Tx, subnet: &Subnet) -> Result<()> {
    let network_id = &subnet.network_id;
    // Locks the network's row: two subnets are compared with each other whatever comes first.
    if !store::network::touch(tx, network_id, subnet.created_at).await? {
        return Err(network_not_found(network_id));
    }
    let others = store::subnet::of_network(tx, network_id).await?;
    if others.iter().any(|s| prefix::overlap(&s.cidr, &subnet.cidr)) {
        return Err(invalid_input(format!(
            "Requested subnet with cidr: {} for network: {network_id} overlaps with another subnet",
            subnet.cidr
        )));
    }
    store::subnet::insert(tx, subnet).await
}

fn change(subnet: &mut Subnet, fields: &Fields) -> Result<()> {
    if fields.has("name") {
        subnet.name = fields.text("name");
    }
    if fields.has("description") {
        subnet.description = fields.text("description");
    }
    if fields.has("enable_dhcp") {
        subnet.enable_dhcp = fields.flag("enable_dhcp");
        prefix::check_cidr(&subnet.cidr, subnet.ip_version(), subnet.enable_dhcp)?;
        let (ra, mode) = (subnet.ipv6_ra_mode.as_deref(), subnet.ipv6_address_mode.as_deref());
        prefix::check_modes(subnet.ip_version(), subnet.enable_dhcp, ra, mode)?;
    }
    if fields.has("gateway_ip") {
        subnet.gateway_ip = parse_gateway(fields, &subnet.cidr)?;
    }
    if fields.some("allocation_pools") {
        subnet.allocation_pools = fields.list("allocation_pools")?;
    }
    if fields.has("gateway_ip") || fields.has("allocation_pools") {
        prefix::check_pools(&subnet.cidr, subnet.gateway_ip, &subnet.allocation_pools)?;
    }
    if fields.has("dns_nameservers") {
        subnet.dns_nameservers = fields.list("dns_nameservers")?;
    }
    if fields.has("host_routes") {
        subnet.host_routes = fields.list("host_routes")?;
    }
    check_lists(&subnet.cidr, &subnet.dns_nameservers, &subnet.host_routes)?;
    if fields.has("service_types") {
        subnet.service_types = fields.list("service_types")?;
    }
    subnet.updated_at = Timestamp::now();
    Ok(())
}

async fn update(req: HttpRequest, ctx: Ctx, app: State, body: JsonBody) -> ApiResult {
    let id = req.match_info().query("id");
    for _ in 0..TRIES {
        let (mut subnet, network) = visible(&ctx, &app, id).await?;
        let fields = SUBNET.update(SUBNET.body(&body.0)?)?;
        fields.enforce(&ctx, "update_subnet", &Target::on(&network, &subnet.project_id).pairs())?;
        change(&mut subnet, &fields)?;
        let mut tx = app.db.begin_write().await?;
        if fields.has("gateway_ip") || fields.has("allocation_pools") {
            if allocation::lock(&mut tx, id).await?.is_none() {
                return Err(subnet_not_found(id).into());
            }
            allocation::rewind(&mut tx, id).await?;
        }
        if let Some(gateway) = subnet.gateway_ip.filter(|_| fields.has("gateway_ip"))
            && let Some(port) = allocation::holder(&mut tx, id, gateway).await?
        {
            let text = format!("Gateway ip {gateway} is already in use by port {port}. Unable to update.");
            return Err(Error::conflict(text).named("GatewayIpInUse").into());
        }
        if store::subnet::update(&mut tx, &subnet).await? != Change::Updated {
            continue;
        }
        commit(tx).await?;
        subnet.generation += 1;
        return json(&json!({"subnet": view::subnet::view(&subnet)}));
    }
    Err(store::contended("subnet", id).into())
}

async fn delete(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let id = req.match_info().query("id");
    let (subnet, network) = visible(&ctx, &app, id).await?;
    enforce(&ctx, "delete_subnet", &Target::on(&network, &subnet.project_id).pairs())?;
    let mut tx = app.db.begin_write().await?;
    if !store::subnet::delete(&mut tx, id).await? {
        return Err(subnet_not_found(id).into());
    }
    store::network::touch(&mut tx, &subnet.network_id, Timestamp::now()).await?;
    commit(tx).await?;
    no_content()
}
