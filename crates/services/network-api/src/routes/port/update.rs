//! Changing, binding and deleting ports.

use super::*;
use crate::store::{TRIES, allocation::Allocator};
use ferrostack_db::{Change, Tx};
use ferrostack_model::network::FixedIp;
use std::collections::BTreeSet;

fn change(port: &mut Port, fields: &Fields) -> Result<()> {
    let text = |name: &str, field: &mut String| {
        if fields.has(name) {
            *field = fields.text(name);
        }
    };
    text("name", &mut port.name);
    text("description", &mut port.description);
    text("device_id", &mut port.device_id);
    text("device_owner", &mut port.device_owner);
    text("binding:vnic_type", &mut port.vnic_type);
    text("dns_name", &mut port.dns_name);
    if fields.has("mac_address") && fields.text("mac_address") != port.mac_address {
        if !port.binding_host.is_empty() {
            return Err(Error::conflict(format!(
                "Unable to complete operation on port {}, port is already bound, port type: bridge, old_mac {}, new_mac {}.",
                port.id,
                port.mac_address,
                fields.text("mac_address")
            ))
            .named("PortBound"));
        }
        port.mac_address = fields.text("mac_address");
    }
    text("binding:host_id", &mut port.binding_host);
    if fields.has("admin_state_up") {
        port.admin_state_up = fields.flag("admin_state_up");
    }
    if fields.has("port_security_enabled") {
        port.port_security_enabled = fields.flag("port_security_enabled");
    }
    if let Some(profile) = fields.values.get("binding:profile") {
        port.binding_profile = profile.clone();
    }
    port.updated_at = Timestamp::now();
    Ok(())
}

pub(super) async fn update(req: HttpRequest, ctx: Ctx, app: State, body: JsonBody) -> ApiResult {
    let id = req.match_info().query("id");
    for _ in 0..TRIES {
        let mut port = visible(&ctx, &app, id).await?;
        let fields = PORT.update(PORT.body(&body.0)?)?;
        let wanted = wanted(&fields)?;
        // The device's kind is judged as it will be.
        let mut judged = target(&port);
        if fields.has("device_owner") {
            judged.device_owner = fields.text("device_owner");
        }
        enforce(&ctx, "update_port", &fields, wanted.as_deref(), &judged)?;
        change(&mut port, &fields)?;
        let mut tx = app.db.begin_write().await?;
        if let Some(wanted) = &wanted {
            readdress(&mut tx, &mut port, wanted).await?;
        }
        match store::port::update(&mut tx, &port).await? {
            None => return Err(mac_in_use(&port.network_id, &port.mac_address).into()),
            Some(Change::Updated) => {}
            Some(Change::Stale | Change::Missing) => continue,
        }
        commit(tx).await?;
        port.generation += 1;
        return json(&json!({"port": render(&ctx, &port)}));
    }
    Err(store::contended("port", id).into())
}

/// Gives the port the wanted addresses: keeps those it has, gives the rest back, takes what is new.
async fn readdress(tx: &mut Tx, port: &mut Port, wanted: &[Wanted]) -> Result<()> {
    let subnets = store::subnet::of_network(tx, &port.network_id).await?;
    let locks: BTreeSet<String> = subnets.iter().map(|s| s.id.clone()).collect();
    let mut allocator = Allocator::lock(tx, &locks).await?;
    let mut have = std::mem::take(&mut port.fixed_ips);
    let mut keep = |fits: &dyn Fn(&FixedIp) -> bool| {
        let at = have.iter().position(fits)?;
        Some(have.remove(at))
    };
    // Named addresses choose first, then subnets may keep any address of theirs.
    let mut places: Vec<Option<FixedIp>> = wanted
        .iter()
        .map(|want| {
            let ip = want.ip_address?;
            let of = |have: &FixedIp| want.subnet_id.as_ref().is_none_or(|s| *s == have.subnet_id);
            keep(&|have| have.ip_address == ip && of(have))
        })
        .collect();
    for (place, want) in places.iter_mut().zip(wanted) {
        if want.ip_address.is_none()
            && let Some(subnet_id) = &want.subnet_id
        {
            *place = keep(&|have| have.subnet_id == *subnet_id);
        }
    }
    for ip in &have {
        allocator.release(&port.id, ip).await?;
    }
    let fresh: Vec<Wanted> =
        places.iter().zip(wanted).filter(|(p, _)| p.is_none()).map(|(_, w)| w.clone()).collect();
    let taken = super::address::take(&mut allocator, port, &subnets, Some(&fresh)).await?;
    let mut taken = taken.into_iter();
    port.fixed_ips = places.into_iter().filter_map(|place| place.or_else(|| taken.next())).collect();
    allocator.finish().await
}

pub(super) async fn delete(req: HttpRequest, ctx: Ctx, app: State) -> ApiResult {
    let id = req.match_info().query("id");
    let port = visible(&ctx, &app, id).await?;
    super::super::enforce(&ctx, "delete_port", &target(&port).pairs())?;
    for _ in 0..TRIES {
        let mut tx = app.db.begin_write().await?;
        let locks = allocation::subnets_of(&mut tx, id).await?;
        let mut allocator = Allocator::lock(&mut tx, &locks).await?;
        allocator.release_all(id).await?;
        allocator.finish().await?;
        match store::port::delete(&mut tx, id).await? {
            Change::Updated => {
                commit(tx).await?;
                return no_content();
            }
            Change::Missing => return Err(port_not_found(id).into()),
            Change::Stale => {}
        }
    }
    Err(store::contended("port", id).into())
}
