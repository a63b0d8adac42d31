//! Filters on how much goes on on a host, and on hosts that are kept for some images.

use super::aggregates::number;
use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::host::HostState;
use ferrostack_settings::Scheduler;

/// What is counted.
#[derive(Clone, Copy)]
enum Count {
    Servers,
    IoOps,
}

/// Fewer servers, or servers being worked on, than a maximum; its aggregates may have one of their own.
pub struct CountFilter {
    count: Count,
    maximum: i64,
    by_aggregate: bool,
}

impl CountFilter {
    /// `NumInstancesFilter`: `max_instances_per_host`.
    pub fn servers(settings: &Scheduler, by_aggregate: bool) -> Self {
        Self { count: Count::Servers, maximum: settings.max_instances_per_host, by_aggregate }
    }
    /// `IoOpsFilter`: `max_io_ops_per_host`.
    pub fn io_ops(settings: &Scheduler, by_aggregate: bool) -> Self {
        Self { count: Count::IoOps, maximum: settings.max_io_ops_per_host, by_aggregate }
    }
}

impl Filter for CountFilter {
    fn name(&self) -> &'static str {
        match (self.count, self.by_aggregate) {
            (Count::Servers, false) => "NumInstancesFilter",
            (Count::Servers, true) => "AggregateNumInstancesFilter",
            (Count::IoOps, false) => "IoOpsFilter",
            (Count::IoOps, true) => "AggregateIoOpsFilter",
        }
    }
    fn check(&self, _: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        let (have, key, what) = match self.count {
            Count::Servers => (host.num_instances, "max_instances_per_host", "servers"),
            Count::IoOps => (host.num_io_ops, "max_io_ops_per_host", "servers being worked on"),
        };
        let maximum = if self.by_aggregate { number(host, key, self.maximum) } else { self.maximum };
        if have < maximum { Ok(()) } else { Err(format!("{maximum} {what} are there already").into()) }
    }
}

/// Isolated images on isolated hosts only, and the other way round where that is wanted.
pub struct IsolatedHostsFilter {
    hosts: Vec<String>,
    images: Vec<String>,
    restrict: bool,
}

impl IsolatedHostsFilter {
    /// With Nova's options.
    pub fn new(settings: &Scheduler) -> Self {
        Self {
            hosts: settings.isolated_hosts.clone(),
            images: settings.isolated_images.clone(),
            restrict: settings.restrict_isolated_hosts_to_isolated_images,
        }
    }
}

impl Filter for IsolatedHostsFilter {
    fn name(&self) -> &'static str {
        "IsolatedHostsFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        let is_image = self.images.contains(&wish.request.image_id);
        let is_host = self.hosts.contains(&host.host);
        match (is_image, is_host) {
            (true, false) => Err("the image is for isolated hosts".into()),
            (false, true) if self.restrict => Err("the host is for isolated images".into()),
            _ => Ok(()),
        }
    }
}
