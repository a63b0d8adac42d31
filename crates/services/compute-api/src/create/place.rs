//! Where a new server may go: zone, and for admins host and hypervisor.

use super::request::Wish;
use crate::{app::App, store::hosts};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, Result};

const FORCED: &str = "os_compute_api:servers:create:forced_host";
const REQUESTED: &str = "compute:servers:create:requested_destination";

/// The wish in terms of the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Only this zone.
    pub zone: Option<String>,
    /// Only this host.
    pub host: Option<String>,
    /// Only this hypervisor.
    pub node: Option<String>,
    /// `zone:host`: the host even if it is disabled.
    pub forced: bool,
}

/// Reads `availability_zone`, `host` and `hypervisor_hostname`.
pub async fn read(app: &App, ctx: &Ctx, wish: &Wish) -> Result<Place> {
    let target = [("project_id", ctx.caller()?.project_id())];
    let mut place = Place::default();
    if let Some(text) = &wish.availability_zone {
        let parts: Vec<&str> = text.split(':').collect();
        if parts.len() > 3 {
            return Err(Error::bad_request("Invalid availability_zone: only zone[:host[:node]] is known"));
        }
        let part = |i: usize| parts.get(i).filter(|p| !p.is_empty()).map(|p| (*p).to_owned());
        (place.zone, place.host, place.node) = (part(0), part(1), part(2));
        place.forced = place.host.is_some() || place.node.is_some();
        if place.forced {
            ctx.enforce(FORCED, &target)?;
        }
    }
    if wish.host.is_some() || wish.hypervisor.is_some() {
        ctx.enforce(REQUESTED, &target)?;
        if place.forced {
            return Err(Error::bad_request(
                "One mechanism with host and/or hypervisor_hostname and another mechanism with zone:host:node are mutually exclusive.",
            ));
        }
        (place.host, place.node) = (wish.host.clone(), wish.hypervisor.clone());
    }
    if place == Place::default() {
        return Ok(place);
    }
    let hosts = hosts::list(&app.db).await?;
    if let Some(zone) = &place.zone
        && !hosts.iter().any(|h| !h.disabled && h.availability_zone == *zone)
    {
        return Err(Error::bad_request("The requested availability zone is not available"));
    }
    if let Some(host) = &place.host
        && !hosts.iter().any(|h| h.host == *host)
    {
        return Err(Error::bad_request(format!("Compute host {host} could not be found.")));
    }
    if let Some(node) = &place.node
        && !hosts.iter().any(|h| h.hypervisor_hostname == *node)
    {
        return Err(Error::bad_request(format!("Compute host {node} could not be found.")));
    }
    Ok(place)
}
