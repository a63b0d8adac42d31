//! The interfaces of a new server: which networks and ports, seen with the caller's rights.

use super::request::{NetworkWish, Networks, Wish};
use crate::{app::App, network::Network, store::servers::NicRequest};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, ErrorKind, Result};
use std::net::IpAddr;

const EXTERNAL: &str = "network:attach_external_network";
const MULTIPLE: &str = "Multiple possible networks found, use a Network ID to be more specific.";

fn as_400(error: Error, text: String) -> Error {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::BadRequest => Error::bad_request(text),
        _ => error,
    }
}

/// What the build shall plug in, every network by its id.
pub async fn check(app: &App, ctx: &Ctx, wish: &Wish) -> Result<Vec<NicRequest>> {
    match &wish.networks {
        Networks::None => Ok(Vec::new()),
        Networks::Unsaid => {
            if !app.network.is_there().await? {
                return Ok(Vec::new());
            }
            let all = available(app, ctx).await?;
            match all.as_slice() {
                [] => Ok(Vec::new()),
                [one] => Ok(vec![on(one)]),
                _ => Err(Error::conflict(MULTIPLE)),
            }
        }
        Networks::Auto => auto(app, ctx).await.map(|network| vec![on(&network)]),
        Networks::These(list) => these(app, ctx, wish, list).await,
    }
}

fn on(network: &Network) -> NicRequest {
    NicRequest { network_id: Some(network.id.clone()), ..NicRequest::default() }
}

pub(super) async fn available(app: &App, ctx: &Ctx) -> Result<Vec<Network>> {
    let mut all = app.network.available(ctx.caller()?, &ctx.request_id).await?;
    // Who may not use outside networks is not offered them.
    if !ctx.may(EXTERNAL, &[("project_id", ctx.caller()?.project_id())]) {
        all.retain(|n| !n.external || n.shared);
    }
    Ok(all)
}

/// The project's own network, else the shared one.
async fn auto(app: &App, ctx: &Ctx) -> Result<Network> {
    let project = ctx.caller()?.project_id();
    let all = if app.network.is_there().await? { available(app, ctx).await? } else { Vec::new() };
    let (own, shared): (Vec<Network>, Vec<Network>) = all.into_iter().partition(|n| n.project_id == project);
    for list in [own, shared] {
        let mut list = list.into_iter();
        match (list.next(), list.next()) {
            (Some(one), None) => return Ok(one),
            (Some(_), Some(_)) => return Err(Error::conflict(MULTIPLE)),
            (None, _) => {}
        }
    }
    Err(Error::bad_request(format!("Unable to automatically allocate a network for project {project}")))
}

async fn these(app: &App, ctx: &Ctx, wish: &Wish, list: &[NetworkWish]) -> Result<Vec<NicRequest>> {
    let caller = ctx.caller()?;
    let mut nics: Vec<NicRequest> = Vec::with_capacity(list.len());
    for item in list {
        if let Some(port_id) = &item.port {
            if nics.iter().any(|n| n.port_id.as_ref() == Some(port_id)) {
                return Err(Error::bad_request(format!("Duplicate port {port_id} in networks")));
            }
            if wish.max_count > 1 {
                return Err(Error::bad_request(
                    "Unable to launch multiple instances with a single configured port ID. Please launch your instance one by one with different ports.",
                ));
            }
            let missing = format!("Port id {port_id} could not be found.");
            let port = app
                .network
                .port_as(port_id, caller, &ctx.request_id)
                .await
                .map_err(|e| as_400(e, missing))?;
            if !port.device_id.is_empty() {
                return Err(Error::conflict(format!("Port {port_id} is still in use.")));
            }
            if port.fixed_ips.is_empty() {
                let text = format!("Port {port_id} requires a FixedIP in order to be used.");
                return Err(Error::bad_request(text));
            }
            nics.push(NicRequest { port_id: Some(port.id), tag: item.tag.clone(), ..NicRequest::default() });
            continue;
        }
        let uuid = item.uuid.as_deref().unwrap_or_default();
        let missing = format!("Network {uuid} could not be found.");
        let network =
            app.network.network_as(uuid, caller, &ctx.request_id).await.map_err(|e| as_400(e, missing))?;
        if network.external && !network.shared && network.project_id != caller.project_id() {
            let may = ctx.may(EXTERNAL, &[("project_id", caller.project_id())]);
            if !may {
                return Err(Error::forbidden(format!(
                    "It is not allowed to create an interface on external network {uuid}"
                )));
            }
        }
        if network.subnets.is_empty() {
            return Err(Error::bad_request(format!(
                "Network {uuid} requires a subnet in order to boot instances on."
            )));
        }
        if let Some(ip) = &item.fixed_ip {
            fixed_ip(app, wish, &network, ip).await?;
        }
        nics.push(NicRequest {
            network_id: Some(network.id),
            port_id: None,
            fixed_ip: item.fixed_ip.clone(),
            tag: item.tag.clone(),
        });
    }
    Ok(nics)
}

async fn fixed_ip(app: &App, wish: &Wish, network: &Network, text: &str) -> Result<()> {
    if wish.max_count > 1 {
        return Err(Error::bad_request(
            "Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is specified.",
        ));
    }
    let invalid = || {
        Error::bad_request(format!(
            "Fixed IP address {text} is not a valid ip address for network {}.",
            network.id
        ))
    };
    let ip: IpAddr = text.parse().map_err(|_| invalid())?;
    let spec = app.network.network(&network.id, None).await?;
    if !spec.subnets.iter().any(|s| inside(&s.cidr, ip)) {
        return Err(invalid());
    }
    if app.network.address_in_use(&network.id, ip).await? {
        return Err(Error::bad_request(format!("Fixed IP address {text} is already in use.")));
    }
    Ok(())
}

/// Whether an address lies in `10.0.0.0/24`.
pub(super) fn inside(cidr: &str, ip: IpAddr) -> bool {
    let Some((base, bits)) = cidr.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (base, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(a) & mask == u32::from(b) & mask
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(a) & mask == u128::from(b) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_their_networks() {
        let ip = |t: &str| t.parse::<IpAddr>().unwrap_or(IpAddr::from([0, 0, 0, 0]));
        assert!(inside("10.0.0.0/24", ip("10.0.0.7")));
        assert!(!inside("10.0.0.0/24", ip("10.0.1.7")));
        assert!(inside("0.0.0.0/0", ip("8.8.8.8")));
        assert!(inside("fd00::/64", ip("fd00::1")));
        assert!(!inside("fd00::/64", ip("10.0.0.1")));
        assert!(!inside("junk", ip("10.0.0.1")));
    }
}
