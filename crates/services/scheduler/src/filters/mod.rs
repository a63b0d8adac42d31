//! The filters, under Nova's names.

mod aggregates;
mod capabilities;
mod capacity;
mod group;
mod hints;
mod image;
mod json;
mod limits;
mod operators;
mod state;
#[cfg(test)]
mod tests;

pub use aggregates::{
    AggregateImagePropertiesIsolation, AggregateInstanceExtraSpecsFilter, AggregateMultiTenancyIsolation,
    AggregateTypeAffinityFilter, number,
};
pub use capabilities::ComputeCapabilitiesFilter;
pub use capacity::{CoreFilter, DiskFilter, RamFilter, capacity};
pub use group::{ServerGroupAffinityFilter, ServerGroupAntiAffinityFilter};
pub use hints::{DifferentHostFilter, SameHostFilter, SimpleCIDRAffinityFilter};
pub use image::ImagePropertiesFilter;
pub use json::JsonFilter;
pub use limits::{CountFilter, IsolatedHostsFilter};
pub use state::{AvailabilityZoneFilter, ComputeFilter, RequestedHostFilter, RetryFilter};

use crate::decide::Filter;
use ferrostack_settings::Scheduler;
use std::sync::Arc;

type Make = fn(&Scheduler) -> Arc<dyn Filter>;

/// Every filter that `scheduler.enabled_filters` may name.
pub const REGISTRY: &[(&str, Make)] = &[
    ("RetryFilter", |_| Arc::new(RetryFilter)),
    ("ComputeFilter", |s| Arc::new(ComputeFilter { service_down_time: s.service_down_time })),
    ("AvailabilityZoneFilter", |_| Arc::new(AvailabilityZoneFilter)),
    ("RamFilter", |_| Arc::new(RamFilter)),
    ("CoreFilter", |_| Arc::new(CoreFilter)),
    ("DiskFilter", |_| Arc::new(DiskFilter)),
    ("ComputeCapabilitiesFilter", |_| Arc::new(ComputeCapabilitiesFilter)),
    ("ImagePropertiesFilter", |_| Arc::new(ImagePropertiesFilter)),
    ("ServerGroupAntiAffinityFilter", |_| Arc::new(ServerGroupAntiAffinityFilter)),
    ("ServerGroupAffinityFilter", |_| Arc::new(ServerGroupAffinityFilter)),
    ("SameHostFilter", |_| Arc::new(SameHostFilter)),
    ("DifferentHostFilter", |_| Arc::new(DifferentHostFilter)),
    ("SimpleCIDRAffinityFilter", |_| Arc::new(SimpleCIDRAffinityFilter)),
    ("JsonFilter", |_| Arc::new(JsonFilter)),
    ("AggregateInstanceExtraSpecsFilter", |_| Arc::new(AggregateInstanceExtraSpecsFilter)),
    ("AggregateImagePropertiesIsolation", |s| Arc::new(AggregateImagePropertiesIsolation::new(s))),
    ("AggregateMultiTenancyIsolation", |_| Arc::new(AggregateMultiTenancyIsolation)),
    ("AggregateTypeAffinityFilter", |_| Arc::new(AggregateTypeAffinityFilter)),
    ("NumInstancesFilter", |s| Arc::new(CountFilter::servers(s, false))),
    ("AggregateNumInstancesFilter", |s| Arc::new(CountFilter::servers(s, true))),
    ("IoOpsFilter", |s| Arc::new(CountFilter::io_ops(s, false))),
    ("AggregateIoOpsFilter", |s| Arc::new(CountFilter::io_ops(s, true))),
    ("IsolatedHostsFilter", |s| Arc::new(IsolatedHostsFilter::new(s))),
];
