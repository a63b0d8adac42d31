//! Arithmetic on addresses: keys that sort, pools, and what a subnet may hold.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An inclusive range of addresses of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// First address.
    pub start: IpAddr,
    /// Last address.
    pub end: IpAddr,
}

impl Pool {
    /// Whether `ip` is in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.start.is_ipv4() == ip.is_ipv4() && self.start <= ip && ip <= self.end
    }
}

/// The address as a number.
pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// The address of a number; `None` if it is too large for the version.
pub fn address(ipv6: bool, number: u128) -> Option<IpAddr> {
    if ipv6 {
        return Some(Ipv6Addr::from(number).into());
    }
    u32::try_from(number).ok().map(|n| Ipv4Addr::from(n).into())
}

/// The next address, if there is one.
pub fn after(ip: IpAddr) -> Option<IpAddr> {
    address(ip.is_ipv6(), number(ip).checked_add(1)?)
}

/// The address before, if there is one.
pub fn before(ip: IpAddr) -> Option<IpAddr> {
    address(ip.is_ipv6(), number(ip).checked_sub(1)?)
}

/// Hexadecimal of fixed width per version: text order is address order.
pub fn key(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:08x}", u32::from(ip)),
        IpAddr::V6(ip) => format!("{:032x}", u128::from(ip)),
    }
}

/// The address of a [`key`].
pub fn from_key(key: &str) -> Option<IpAddr> {
    address(key.len() == 32, u128::from_str_radix(key, 16).ok()?)
}

/// The first and last address that a port may have: without network and broadcast address on IPv4, without the
/// subnet-router anycast address on IPv6; point-to-point and host prefixes have no such addresses.
pub fn hosts(net: &IpNet) -> Pool {
    let all = Pool { start: net.network(), end: net.broadcast() };
    match net {
        IpNet::V4(n) if n.prefix_len() >= 31 => all,
        IpNet::V6(n) if n.prefix_len() >= 127 => all,
        IpNet::V4(_) => {
            Pool { start: after(all.start).unwrap_or(all.start), end: before(all.end).unwrap_or(all.end) }
        }
        IpNet::V6(_) => Pool { start: after(all.start).unwrap_or(all.start), end: all.end },
    }
}

/// The pools of a subnet that names none: every host address but the gateway.
pub fn default_pools(net: &IpNet, gateway: Option<IpAddr>) -> Vec<Pool> {
    let whole = hosts(net);
    let Some(gateway) = gateway.filter(|g| whole.contains(*g)) else { return vec![whole] };
    let below = (gateway > whole.start).then(|| before(gateway)).flatten();
    let above = (gateway < whole.end).then(|| after(gateway)).flatten();
    [below.map(|end| Pool { start: whole.start, end }), above.map(|start| Pool { start, end: whole.end })]
        .into_iter()
        .flatten()
        .collect()
}

/// The first address of `net` that a port may have: the gateway by default.
pub fn first_host(net: &IpNet) -> IpAddr {
    hosts(net).start
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pools(cidr: &str, gateway: Option<&str>) -> Vec<String> {
        default_pools(&cidr.parse().unwrap(), gateway.map(|g| g.parse().unwrap()))
            .iter()
            .map(|p| format!("{}-{}", p.start, p.end))
            .collect()
    }

    #[test]
    fn pools_leave_out_the_gateway() {
        assert_eq!(pools("10.0.0.0/24", Some("10.0.0.1")), ["10.0.0.2-10.0.0.254"]);
        assert_eq!(pools("10.0.0.0/24", None), ["10.0.0.1-10.0.0.254"]);
        assert_eq!(pools("10.0.0.0/24", Some("10.0.0.254")), ["10.0.0.1-10.0.0.253"]);
        assert_eq!(pools("10.0.0.0/24", Some("10.0.0.9")), ["10.0.0.1-10.0.0.8", "10.0.0.10-10.0.0.254"]);
        assert_eq!(pools("10.0.0.0/31", Some("10.0.0.0")), ["10.0.0.1-10.0.0.1"]);
        assert_eq!(pools("10.0.0.0/32", Some("10.0.0.0")), Vec::<String>::new());
        assert_eq!(
            pools("2001:db8::/64", Some("2001:db8::1")),
            ["2001:db8::2-2001:db8::ffff:ffff:ffff:ffff"]
        );
        assert_eq!(pools("255.255.255.0/24", Some("255.255.255.1")), ["255.255.255.2-255.255.255.254"]);
    }

    proptest! {
        #[test]
        fn keys_sort_as_addresses(a: u128, b: u128, c: u32, d: u32) {
            for (x, y) in [(address(true, a), address(true, b)), (address(false, c.into()), address(false, d.into()))] {
                let (x, y) = (x.unwrap(), y.unwrap());
                prop_assert_eq!(key(x).cmp(&key(y)), x.cmp(&y));
                prop_assert_eq!(from_key(&key(x)), Some(x));
            }
        }
    }
}
