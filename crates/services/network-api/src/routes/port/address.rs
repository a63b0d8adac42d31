//! Which addresses a port gets.

use crate::{
    error::no_more_addresses,
    store::{
        allocation::{Allocator, Wanted, subnet_for},
        port::Port,
        subnet::Subnet,
    },
};
use ferrostack_model::{Result, network::FixedIp};

/// The subnets of a version that a device's port may get an address of unasked: those meant for its kind, or
/// else those meant for all.
fn offered<'s>(subnets: &'s [Subnet], version: i64, device_owner: &str) -> Vec<&'s Subnet> {
    let of_version = || subnets.iter().filter(move |s| s.ip_version() == version);
    let meant: Vec<&Subnet> =
        of_version().filter(|s| s.service_types.iter().any(|t| t == device_owner)).collect();
    if meant.is_empty() { of_version().filter(|s| s.service_types.is_empty()).collect() } else { meant }
}

/// Takes what is wanted; `None` wants one address of each version that the network offers.
pub(super) async fn take(
    allocator: &mut Allocator<'_>,
    port: &Port,
    subnets: &[Subnet],
    wanted: Option<&[Wanted]>,
) -> Result<Vec<FixedIp>> {
    let (port_id, network_id) = (port.id.as_str(), port.network_id.as_str());
    let mut taken = Vec::new();
    let Some(wanted) = wanted else {
        for version in [4, 6] {
            let offered = offered(subnets, version, &port.device_owner);
            if offered.is_empty() {
                continue;
            }
            let mut found = None;
            for subnet in offered {
                found = allocator.take_any(subnet, port_id).await?;
                if found.is_some() {
                    break;
                }
            }
            taken.push(found.ok_or_else(|| no_more_addresses(network_id))?);
        }
        return Ok(taken);
    };
    // Named addresses first, so that a free choice does not take them.
    let mut places: Vec<Option<FixedIp>> = vec![None; wanted.len()];
    for (place, want) in places.iter_mut().zip(wanted) {
        let subnet = subnet_for(want, subnets, network_id)?;
        if let Some(ip) = want.ip_address {
            *place = Some(allocator.take(subnet, ip, port_id).await?);
        }
    }
    for (place, want) in places.into_iter().zip(wanted) {
        match place {
            Some(ip) => taken.push(ip),
            None => {
                let subnet = subnet_for(want, subnets, network_id)?;
                let ip = allocator.take_any(subnet, port_id).await?;
                taken.push(ip.ok_or_else(|| no_more_addresses(network_id))?);
            }
        }
    }
    Ok(taken)
}
