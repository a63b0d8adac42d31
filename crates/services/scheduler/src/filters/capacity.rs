//! Filters on what is free. As in Nova a server may share overcommitted hardware with others but must fit
//! the bare hardware by itself.

use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::{host::HostState, placement::Held};

/// What a ratio makes of a physical amount; a senseless ratio counts as 1.
pub fn capacity(total: i64, ratio: f64) -> f64 {
    let ratio = if ratio.is_finite() && ratio > 0.0 { ratio } else { 1.0 };
    total as f64 * ratio
}

fn check(wanted: i64, total: i64, ratio: f64, used: i64, what: &str) -> Result<(), Reason> {
    if wanted > total {
        return Err(format!("{wanted} {what} are more than the host has").into());
    }
    if capacity(total, ratio) - (used as f64) < wanted as f64 {
        return Err(format!("{wanted} {what} are more than is free").into());
    }
    Ok(())
}

/// What the server gives back of `h` itself, if it stays there.
fn held(wish: &Wish<'_>, h: &HostState, of: impl Fn(&Held) -> i64) -> i64 {
    wish.request.held.as_ref().filter(|held| held.host == h.host).map_or(0, of)
}

/// Enough memory.
pub struct RamFilter;

impl Filter for RamFilter {
    fn name(&self) -> &'static str {
        "RamFilter"
    }
    fn check(&self, wish: &Wish<'_>, h: &HostState) -> Result<(), Reason> {
        let used = h.memory_mb_used - held(wish, h, |held| held.memory_mb);
        check(wish.request.memory_mb, h.memory_mb, h.ram_allocation_ratio, used, "MiB of memory")
    }
}

/// Enough CPUs.
pub struct CoreFilter;

impl Filter for CoreFilter {
    fn name(&self) -> &'static str {
        "CoreFilter"
    }
    fn check(&self, wish: &Wish<'_>, h: &HostState) -> Result<(), Reason> {
        let used = h.vcpus_used - held(wish, h, |held| held.vcpus);
        check(wish.request.vcpus, h.vcpus, h.cpu_allocation_ratio, used, "virtual CPUs")
    }
}

/// Enough disk.
pub struct DiskFilter;

impl Filter for DiskFilter {
    fn name(&self) -> &'static str {
        "DiskFilter"
    }
    fn check(&self, wish: &Wish<'_>, h: &HostState) -> Result<(), Reason> {
        let used = h.local_gb_used - held(wish, h, |held| held.disk_gb);
        check(wish.request.disk_gb, h.local_gb, h.disk_allocation_ratio, used, "GiB of disk")
    }
}
