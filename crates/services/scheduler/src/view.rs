//! The hosts as this scheduler sees them: what compute-api tells, minus what was chosen since.

use ferrostack_model::{Timestamp, host::HostState, message::HostsUpdate, placement::PlacementRequest};
use std::collections::{HashMap, VecDeque};

/// A choice that has not led to a claim by then never will, seconds.
const PENDING: i64 = 15;

/// What a choice takes from its host until the claim shows in the host's state.
#[derive(Debug)]
struct Taken {
    at: Timestamp,
    host: String,
    /// Of the host's state: a newer state has replaced what was taken.
    generation: i64,
    vcpus: i64,
    memory_mb: i64,
    local_gb: i64,
}

impl Taken {
    /// Adds it to `state` (or gives it back, with `sign` -1) if that is still the state it was taken from.
    fn apply(&self, state: &mut HostState, sign: i64) {
        if state.generation != self.generation {
            return;
        }
        let add = |to: &mut i64, n: i64| *to = to.saturating_add(n.saturating_mul(sign));
        add(&mut state.vcpus_used, self.vcpus);
        add(&mut state.memory_mb_used, self.memory_mb);
        add(&mut state.local_gb_used, self.local_gb);
        add(&mut state.num_instances, 1);
        add(&mut state.num_io_ops, 1);
    }
}

/// All hosts in memory.
#[derive(Debug, Default)]
pub struct View {
    /// With what choices take.
    hosts: HashMap<String, HostState>,
    /// The choices, oldest first.
    pending: VecDeque<Taken>,
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

    /// Counts what `request` takes from `host` until its next newer state comes, or for some seconds.
    pub fn consume(&mut self, host: &str, request: &PlacementRequest, now: Timestamp) {
        let Some(state) = self.hosts.get_mut(host) else { return };
        let taken = Taken {
            at: now,
            host: host.to_owned(),
            generation: state.generation,
            vcpus: request.vcpus,
            memory_mb: request.memory_mb,
            local_gb: request.disk_gb,
        };
        taken.apply(state, 1);
        self.pending.push_back(taken);
    }

    /// Gives back what old choices took.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some(taken) = self.pending.pop_front_if(|t| t.at.plus_seconds(PENDING) < now) {
            if let Some(state) = self.hosts.get_mut(&taken.host) {
                taken.apply(state, -1);
            }
        }
    }

    /// Every host as it was last told, without what choices take: the last word before a request is refused.
    pub fn hosts_as_told(&self) -> Vec<HostState> {
        let mut hosts = self.hosts.clone();
        for taken in &self.pending {
            if let Some(state) = hosts.get_mut(&taken.host) {
                taken.apply(state, -1);
            }
        }
        hosts.into_values().collect()
    }

    /// Whether choices take anything at the moment.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Every host.
    pub fn hosts(&self) -> impl Iterator<Item = &HostState> {
        self.hosts.values()
    }

    /// Whether any host was heard within `service_down_time` seconds.
    pub fn any_up(&self, now: Timestamp, service_down_time: i64) -> bool {
        self.hosts.values().any(|h| h.last_seen.plus_seconds(service_down_time) >= now)
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
