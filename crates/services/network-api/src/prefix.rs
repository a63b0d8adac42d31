//! Which subnets are sound: prefixes, gateways and pools, in Neutron's words.

use crate::{
    address::{Pool, hosts, key},
    attribute::invalid_input,
    error::http_bad_request,
};
use ferrostack_model::{Error, Result};
use ipnet::IpNet;
use std::net::IpAddr;

/// 400 unless a subnet may have the prefix.
pub fn check_cidr(net: &IpNet, ip_version: i64, enable_dhcp: bool) -> Result<()> {
    let version = if matches!(net, IpNet::V4(_)) { 4 } else { 6 };
    if version != ip_version {
        return Err(invalid_input(format!("cidr '{net}' does not match the ip_version '{ip_version}'")));
    }
    if net.prefix_len() == 0 {
        return Err(invalid_input("0 is not allowed as CIDR prefix length"));
    }
    let network = net.network();
    if network.is_unspecified() && net.prefix_len() >= 8 || network.is_multicast() || network.is_loopback() {
        return Err(invalid_input(format!("a subnet cannot have the special-purpose prefix {net}")));
    }
    // Guests beside the gateway need an address each.
    if enable_dhcp && net.prefix_len() > net.max_prefix_len() - 2 {
        return Err(invalid_input(
            "Subnet has a prefix length that is incompatible with DHCP service enabled",
        ));
    }
    Ok(())
}

/// 400 unless the gateway is an address of the subnet (or link-local on IPv6).
pub fn check_gateway(net: &IpNet, gateway: IpAddr) -> Result<()> {
    let link_local = matches!((net, gateway), (IpNet::V6(_), IpAddr::V6(ip)) if ip.is_unicast_link_local());
    if link_local || hosts(net).contains(gateway) {
        return Ok(());
    }
    if net.contains(&gateway) || gateway.is_ipv4() == matches!(net, IpNet::V4(_)) {
        return Err(http_bad_request("Gateway is not valid on subnet").named("BadRequest"));
    }
    let version = if matches!(net, IpNet::V4(_)) { 4 } else { 6 };
    Err(invalid_input(format!("gateway_ip '{gateway}' does not match the ip_version '{version}'")))
}

/// 400 or 409 unless the pools are within the subnet, apart from each other, and without the gateway.
pub fn check_pools(net: &IpNet, gateway: Option<IpAddr>, pools: &[Pool]) -> Result<()> {
    let whole = hosts(net);
    for pool in pools {
        let shown = format!("{}-{}", pool.start, pool.end);
        if pool.start.is_ipv4() != pool.end.is_ipv4() || pool.start > pool.end {
            return Err(Error::bad_request(format!("The allocation pool {shown} is not valid."))
                .named("InvalidAllocationPool"));
        }
        if !whole.contains(pool.start) || !whole.contains(pool.end) {
            return Err(Error::bad_request(format!(
                "The allocation pool {shown} spans beyond the subnet cidr {net}."
            ))
            .named("OutOfBoundsAllocationPool"));
        }
        if let Some(gateway) = gateway.filter(|g| pool.contains(*g)) {
            return Err(Error::conflict(format!(
                "Gateway ip {gateway} conflicts with allocation pool {shown}."
            ))
            .named("GatewayConflictWithAllocationPools"));
        }
    }
    let mut sorted = pools.to_vec();
    sorted.sort_by_key(|p| key(p.start));
    for pair in sorted.windows(2) {
        if let [a, b] = pair
            && b.start <= a.end
        {
            return Err(Error::conflict(format!(
                "Found overlapping allocation pools: {}-{} {}-{} for subnet {net}.",
                a.start, a.end, b.start, b.end
            ))
            .named("OverlappingAllocationPools"));
        }
    }
    Ok(())
}

/// 400 unless the routes are of the subnet's version.
pub fn check_versions<'a>(
    net: &IpNet,
    what: &str,
    addresses: impl IntoIterator<Item = &'a IpAddr>,
) -> Result<()> {
    let (v4, version) = if matches!(net, IpNet::V4(_)) { (true, 4) } else { (false, 6) };
    match addresses.into_iter().find(|a| a.is_ipv4() != v4) {
        Some(wrong) => {
            Err(invalid_input(format!("{what} '{wrong}' does not match the ip_version '{version}'")))
        }
        None => Ok(()),
    }
}

/// 400 unless the IPv6 modes make sense together.
pub fn check_modes(
    ip_version: i64,
    enable_dhcp: bool,
    ra: Option<&str>,
    address: Option<&str>,
) -> Result<()> {
    if ra.is_none() && address.is_none() {
        return Ok(());
    }
    if ip_version == 4 {
        return Err(invalid_input("ipv6_ra_mode and ipv6_address_mode are not valid when ip_version is 4"));
    }
    if !enable_dhcp {
        return Err(invalid_input(
            "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False",
        ));
    }
    match (ra, address) {
        (Some(ra), Some(address)) if ra != address => Err(invalid_input(format!(
            "ipv6_ra_mode set to '{ra}' with ipv6_address_mode set to '{address}' is not valid. If both attributes are set, they must be the same value"
        ))),
        _ => Ok(()),
    }
}

/// Whether two prefixes have an address in common.
pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }
    fn pool(start: &str, end: &str) -> Pool {
        Pool { start: start.parse().unwrap(), end: end.parse().unwrap() }
    }
    fn name(result: Result<()>) -> &'static str {
        result.map_or_else(|e| e.name.unwrap_or("?"), |()| "fine")
    }

    #[test]
    fn prefixes() {
        let check = |cidr: &str, v, dhcp| name(check_cidr(&net(cidr), v, dhcp));
        assert_eq!(check("10.0.0.0/24", 4, true), "fine");
        assert_eq!(check("10.0.0.0/24", 6, true), "InvalidInput");
        assert_eq!(check("0.0.0.0/0", 4, true), "InvalidInput");
        assert_eq!(check("224.0.0.0/8", 4, true), "InvalidInput");
        assert_eq!(check("127.0.0.0/8", 4, true), "InvalidInput");
        assert_eq!(check("10.0.0.0/31", 4, true), "InvalidInput");
        assert_eq!(check("10.0.0.0/31", 4, false), "fine");
        assert_eq!(check("2001:db8::/64", 6, true), "fine");
    }

    #[test]
    fn pools() {
        let check =
            |pools: &[Pool]| name(check_pools(&net("10.0.0.0/24"), Some("10.0.0.1".parse().unwrap()), pools));
        assert_eq!(check(&[pool("10.0.0.2", "10.0.0.9"), pool("10.0.0.10", "10.0.0.20")]), "fine");
        assert_eq!(
            check(&[pool("10.0.0.10", "10.0.0.20"), pool("10.0.0.2", "10.0.0.10")]),
            "OverlappingAllocationPools"
        );
        assert_eq!(check(&[pool("10.0.0.9", "10.0.0.2")]), "InvalidAllocationPool");
        assert_eq!(check(&[pool("10.0.0.9", "2001:db8::2")]), "InvalidAllocationPool");
        assert_eq!(check(&[pool("10.0.0.9", "10.0.1.2")]), "OutOfBoundsAllocationPool");
        assert_eq!(check(&[pool("10.0.0.1", "10.0.0.2")]), "GatewayConflictWithAllocationPools");
    }

    #[test]
    fn gateways() {
        let check = |cidr: &str, ip: &str| name(check_gateway(&net(cidr), ip.parse().unwrap()));
        assert_eq!(check("10.0.0.0/24", "10.0.0.254"), "fine");
        assert_eq!(check("10.0.0.0/24", "10.0.0.255"), "BadRequest");
        assert_eq!(check("10.0.0.0/24", "10.0.1.1"), "BadRequest");
        assert_eq!(check("10.0.0.0/24", "2001:db8::1"), "InvalidInput");
        assert_eq!(check("2001:db8::/64", "fe80::1"), "fine");
    }
}
