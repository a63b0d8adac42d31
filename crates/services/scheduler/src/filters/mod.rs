//! The filters, under Nova's names.

mod capabilities;
mod capacity;
mod image;
mod operators;
mod state;

pub use capabilities::ComputeCapabilitiesFilter;
pub use capacity::{CoreFilter, DiskFilter, RamFilter, capacity};
pub use image::ImagePropertiesFilter;
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
];
