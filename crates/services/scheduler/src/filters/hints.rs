//! Filters on the hints same_host, different_host, build_near_host_ip and cidr.

use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::host::HostState;
use std::net::IpAddr;

/// Prefix length where a hint gives none, as in Nova: `/24`.
const DEFAULT_CIDR: &str = "/24";

/// Whether any of the servers that the hint names is on the host; `None` without the hint.
fn shares(wish: &Wish<'_>, hint: &str, host: &HostState) -> Option<bool> {
    let named = wish.request.hints.get(hint).filter(|ids| !ids.is_empty())?;
    Some(named.iter().any(|id| wish.request.hosts_of.get(id) == Some(&host.host)))
}

/// On no host of the servers that `different_host` names.
pub struct DifferentHostFilter;

impl Filter for DifferentHostFilter {
    fn name(&self) -> &'static str {
        "DifferentHostFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        match shares(wish, "different_host", host) {
            Some(true) => Err("a server is there that the hint different_host names".into()),
            _ => Ok(()),
        }
    }
}

/// On a host of one of the servers that `same_host` names.
pub struct SameHostFilter;

impl Filter for SameHostFilter {
    fn name(&self) -> &'static str {
        "SameHostFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        match shares(wish, "same_host", host) {
            Some(false) => Err("no server is there that the hint same_host names".into()),
            _ => Ok(()),
        }
    }
}

/// On a host whose address is in the network that `build_near_host_ip` and `cidr` say.
pub struct SimpleCIDRAffinityFilter;

impl Filter for SimpleCIDRAffinityFilter {
    fn name(&self) -> &'static str {
        "SimpleCIDRAffinityFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        let hint = |name: &str| wish.request.hints.get(name).and_then(|list| list.first());
        let Some(near) = hint("build_near_host_ip") else { return Ok(()) };
        let cidr = hint("cidr").map_or(DEFAULT_CIDR, String::as_str);
        let Some(prefix) = prefix(cidr) else {
            return Err("the hint cidr is no network mask".into());
        };
        let Ok(near) = near.parse() else {
            return Err("the hint build_near_host_ip is no address".into());
        };
        match host.host_ip.parse() {
            Ok(address) if inside(address, near, prefix) => Ok(()),
            _ => Err("its address is not in the network of the hints build_near_host_ip and cidr".into()),
        }
    }
}

/// `/24`, `/255.255.255.0` or `/ffff::` as a number of leading ones.
fn prefix(cidr: &str) -> Option<u32> {
    let mask = cidr.strip_prefix('/')?;
    if let Ok(length) = mask.parse() {
        return Some(length);
    }
    let (ones, rest) = match mask.parse().ok()? {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
    };
    (ones == rest).then_some(ones)
}

fn inside(address: IpAddr, network: IpAddr, prefix: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) if prefix <= 32 => {
            let rest = 32 - prefix;
            a.to_bits().checked_shr(rest) == b.to_bits().checked_shr(rest)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if prefix <= 128 => {
            let rest = 128 - prefix;
            a.to_bits().checked_shr(rest) == b.to_bits().checked_shr(rest)
        }
        _ => false,
    }
}
