//! Which addresses a port gets.

use crate::{
    error::no_more_addresses,
    store::{
        allocation::{Allocator, Wanted, subnet_for},
        subnet::Subnet,
    },
};
use ferrostack_model::{Result, network::FixedIp};

/// Takes what is wanted; `None` wants one address of each version that the network has subnets of.
pub(super) async fn take(
    allocator: &mut Allocator<'_>,
    port_id: &str,
    network_id: &str,
    subnets: &[Subnet],
    wanted: Option<&[Wanted]>,
) -> Result<Vec<FixedIp>> {
    let mut taken = Vec::new();
    let Some(wanted) = wanted else {
        for version in [4, 6] {
            let of_version: Vec<&Subnet> = subnets.iter().filter(|s| s.ip_version() == version).collect();
            if of_version.is_empty() {
                continue;
            }
            let mut found = None;
            for subnet in of_version {
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
