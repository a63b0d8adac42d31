//! The weighers, under Nova's names.

use crate::{
    decide::{Weigher, Wish},
    filters::capacity,
};
use ferrostack_model::{host::HostState, placement::GroupPolicy};
use std::sync::Arc;

type Make = fn() -> Arc<dyn Weigher>;

/// Every weigher that `scheduler.weight_multipliers` may name.
pub const REGISTRY: &[(&str, Make)] = &[
    ("RAMWeigher", || Arc::new(RamWeigher)),
    ("CPUWeigher", || Arc::new(CpuWeigher)),
    ("DiskWeigher", || Arc::new(DiskWeigher)),
    ("IoOpsWeigher", || Arc::new(IoOpsWeigher)),
    ("ServerGroupSoftAffinityWeigher", || Arc::new(ServerGroupSoftAffinityWeigher)),
    ("ServerGroupSoftAntiAffinityWeigher", || Arc::new(ServerGroupSoftAntiAffinityWeigher)),
    ("NumInstancesWeigher", || Arc::new(NumInstancesWeigher)),
];

/// Free memory.
pub struct RamWeigher;

impl Weigher for RamWeigher {
    fn name(&self) -> &'static str {
        "RAMWeigher"
    }
    fn option(&self) -> &'static str {
        "ram_weight_multiplier"
    }
    fn weigh(&self, _: &Wish<'_>, h: &HostState) -> f64 {
        capacity(h.memory_mb, h.ram_allocation_ratio) - h.memory_mb_used as f64
    }
}

/// Free virtual CPUs.
pub struct CpuWeigher;

impl Weigher for CpuWeigher {
    fn name(&self) -> &'static str {
        "CPUWeigher"
    }
    fn option(&self) -> &'static str {
        "cpu_weight_multiplier"
    }
    fn weigh(&self, _: &Wish<'_>, h: &HostState) -> f64 {
        capacity(h.vcpus, h.cpu_allocation_ratio) - h.vcpus_used as f64
    }
}

/// Free disk.
pub struct DiskWeigher;

impl Weigher for DiskWeigher {
    fn name(&self) -> &'static str {
        "DiskWeigher"
    }
    fn option(&self) -> &'static str {
        "disk_weight_multiplier"
    }
    fn weigh(&self, _: &Wish<'_>, h: &HostState) -> f64 {
        capacity(h.local_gb, h.disk_allocation_ratio) - h.local_gb_used as f64
    }
}

/// Servers that are being worked on; a negative multiplier avoids busy hosts.
pub struct IoOpsWeigher;

impl Weigher for IoOpsWeigher {
    fn name(&self) -> &'static str {
        "IoOpsWeigher"
    }
    fn option(&self) -> &'static str {
        "io_ops_weight_multiplier"
    }
    fn weigh(&self, _: &Wish<'_>, h: &HostState) -> f64 {
        h.num_io_ops as f64
    }
}

/// Members of the server's group on the host, if that has this policy.
fn members(wish: &Wish<'_>, policy: GroupPolicy, host: &HostState) -> f64 {
    let group = wish.request.group.as_ref().filter(|group| group.policy == policy);
    group.and_then(|group| group.hosts.get(&host.host)).map_or(0.0, |members| *members as f64)
}

/// Members of a soft-affinity group that are there already.
pub struct ServerGroupSoftAffinityWeigher;

impl Weigher for ServerGroupSoftAffinityWeigher {
    fn name(&self) -> &'static str {
        "ServerGroupSoftAffinityWeigher"
    }
    fn option(&self) -> &'static str {
        "soft_affinity_weight_multiplier"
    }
    fn weigh(&self, wish: &Wish<'_>, h: &HostState) -> f64 {
        members(wish, GroupPolicy::SoftAffinity, h)
    }
}

/// The fewer members of a soft-anti-affinity group are there, the better.
pub struct ServerGroupSoftAntiAffinityWeigher;

impl Weigher for ServerGroupSoftAntiAffinityWeigher {
    fn name(&self) -> &'static str {
        "ServerGroupSoftAntiAffinityWeigher"
    }
    fn option(&self) -> &'static str {
        "soft_anti_affinity_weight_multiplier"
    }
    fn weigh(&self, wish: &Wish<'_>, h: &HostState) -> f64 {
        -members(wish, GroupPolicy::SoftAntiAffinity, h)
    }
}

/// Servers; a positive multiplier stacks them.
pub struct NumInstancesWeigher;

impl Weigher for NumInstancesWeigher {
    fn name(&self) -> &'static str {
        "NumInstancesWeigher"
    }
    fn option(&self) -> &'static str {
        "num_instances_weight_multiplier"
    }
    fn weigh(&self, _: &Wish<'_>, h: &HostState) -> f64 {
        h.num_instances as f64
    }
}
