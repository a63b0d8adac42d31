//! Filters on what a host is: wanted by name, not yet tried, up, in the zone.

use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::host::HostState;

/// Only the host or hypervisor that the request names. Always on and first.
pub struct RequestedHostFilter;

impl Filter for RequestedHostFilter {
    fn name(&self) -> &'static str {
        "RequestedHostFilter"
    }
    fn on_rebuild(&self) -> bool {
        true
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        if wish.request.host.as_ref().is_some_and(|wanted| *wanted != host.host) {
            return Err("another host is requested".into());
        }
        if wish.request.node.as_ref().is_some_and(|wanted| *wanted != host.node) {
            return Err("another hypervisor is requested".into());
        }
        Ok(())
    }
}

/// No host that failed already in this attempt.
pub struct RetryFilter;

impl Filter for RetryFilter {
    fn name(&self) -> &'static str {
        "RetryFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        match wish.request.excluded_hosts.contains(&host.host) {
            true => Err("the build failed there before".into()),
            false => Ok(()),
        }
    }
}

/// Enabled and up.
pub struct ComputeFilter {
    /// A host silent for longer is down, seconds.
    pub service_down_time: i64,
}

impl Filter for ComputeFilter {
    fn name(&self) -> &'static str {
        "ComputeFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        if !host.enabled {
            return Err("the compute service is disabled".into());
        }
        if host.last_seen.plus_seconds(self.service_down_time) < wish.now {
            return Err("the compute service is down".into());
        }
        Ok(())
    }
}

/// In the wanted zone.
pub struct AvailabilityZoneFilter;

impl Filter for AvailabilityZoneFilter {
    fn name(&self) -> &'static str {
        "AvailabilityZoneFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        match &wish.request.availability_zone {
            Some(zone) if *zone != host.availability_zone => {
                Err(format!("not in availability zone {zone}").into())
            }
            _ => Ok(()),
        }
    }
}
