//! The hosts as this scheduler sees them: what compute-api tells, minus what was chosen since.

use ferrostack_model::{Timestamp, host::HostState, message::HostsUpdate, placement::PlacementRequest};
use std::collections::HashMap;

/// All hosts in memory.
#[derive(Debug, Default)]
pub struct View {
    hosts: HashMap<String, HostState>,
    /// When every host was last told.
    full_at: Option<Timestamp>,
    /// When anything was last told.
    told_at: Option<Timestamp>,
}

impl View {
    /// Takes in what is newer than what is known. Chosen but not yet claimed resources of a host are forgotten
    /// with its next newer state: the claims in the database are the truth, this only spreads the choices.
    pub fn update(&mut self, update: HostsUpdate, now: Timestamp) {
        if update.full {
            let named: std::collections::HashSet<&str> =
                update.hosts.iter().map(|h| h.host.as_str()).collect();
            self.hosts.retain(|host, _| named.contains(host.as_str()));
            self.full_at = Some(now);
        }
        self.told_at = Some(now);
        for state in update.hosts {
            match self.hosts.get_mut(&state.host) {
                Some(known) if state.generation > known.generation => *known = state,
                Some(known) if state.generation == known.generation => {
                    known.last_seen = known.last_seen.max(state.last_seen);
                }
                Some(_) => {}
                None => {
                    self.hosts.insert(state.host.clone(), state);
                }
            }
        }
    }

    /// Counts what `request` takes from `host` until its next newer state comes.
    pub fn consume(&mut self, host: &str, request: &PlacementRequest) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.vcpus_used = state.vcpus_used.saturating_add(request.vcpus);
            state.memory_mb_used = state.memory_mb_used.saturating_add(request.memory_mb);
            state.local_gb_used = state.local_gb_used.saturating_add(request.disk_gb);
            state.num_instances = state.num_instances.saturating_add(1);
            state.num_io_ops = state.num_io_ops.saturating_add(1);
        }
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = &HostState> {
        self.hosts.values()
    }

    /// How many hosts are known.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether no host is known.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether every host has been told once and something within `max_age_seconds`.
    pub fn is_fresh(&self, now: Timestamp, max_age_seconds: i64) -> bool {
        self.full_at.is_some() && self.told_at.is_some_and(|t| t.plus_seconds(max_age_seconds) >= now)
    }
}
