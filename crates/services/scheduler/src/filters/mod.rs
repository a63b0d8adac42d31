//! The filters, under Nova's names.

mod capabilities;
mod capacity;
mod group;
mod hints;
mod image;
mod json;
mod operators;
mod state;
#[cfg(test)]
mod tests;

pub use capabilities::ComputeCapabilitiesFilter;
pub use capacity::{CoreFilter, DiskFilter, RamFilter, capacity};
pub use group::{ServerGroupAffinityFilter, ServerGroupAntiAffinityFilter};
pub use hints::{DifferentHostFilter, SameHostFilter, SimpleCIDRAffinityFilter};
pub use image::ImagePropertiesFilter;
pub use json::JsonFilter;
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
];
