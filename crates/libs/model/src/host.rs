//! Hosts: what agents report and what the scheduler sees.

use crate::{Timestamp, server::PowerState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// An agent's heartbeat with the capacity of its host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// Service host name; names the agent's queue.
    pub host: String,
    /// The hypervisor's own name of this host.
    pub hypervisor_hostname: String,
    /// `QEMU`, `KVM`, `fake`.
    pub hypervisor_type: String,
    /// libvirt's number, `major*1000000 + minor*1000 + release`.
    pub hypervisor_version: i64,
    /// CPU architecture, `x86_64`.
    pub arch: String,
    /// Physical CPUs.
    pub vcpus: i64,
    /// Memory, MiB.
    pub memory_mb: i64,
    /// Disk for guests, GiB.
    pub local_gb: i64,
    /// Nova's `cpu_info` object.
    pub cpu_info: Value,
    /// Management address.
    pub host_ip: String,
    /// Base URL of the agent's own HTTP endpoint (console output).
    pub agent_url: String,
    /// Seconds since the host started.
    pub uptime_seconds: i64,
    /// Availability zone from the agent's settings.
    pub availability_zone: String,
    /// Counts starts of the agent: a full guest report belongs to one start.
    pub agent_start: Timestamp,
}

/// One guest as its hypervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestState {
    /// Server id.
    pub server_id: String,
    /// Generation the guest was last ensured at.
    pub generation: i64,
    /// Power state.
    pub power: PowerState,
}

/// A host as schedulers see it: capacity, ratios and what claims hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostState {
    /// Service host name.
    pub host: String,
    /// Hypervisor's name.
    pub node: String,
    /// Availability zone.
    pub availability_zone: String,
    /// Not disabled by an operator.
    pub enabled: bool,
    /// Last heartbeat; a host silent for longer than `service_down_time` is down.
    pub last_seen: Timestamp,
    /// Physical CPUs.
    pub vcpus: i64,
    /// Claimed virtual CPUs.
    pub vcpus_used: i64,
    /// MiB.
    pub memory_mb: i64,
    /// Claimed MiB.
    pub memory_mb_used: i64,
    /// GiB.
    pub local_gb: i64,
    /// Claimed GiB.
    pub local_gb_used: i64,
    /// CPU overcommit ratio.
    pub cpu_allocation_ratio: f64,
    /// Memory overcommit ratio.
    pub ram_allocation_ratio: f64,
    /// Disk overcommit ratio.
    pub disk_allocation_ratio: f64,
    /// Servers on it.
    pub num_instances: i64,
    /// Servers building, rebooting or otherwise busy on it.
    pub num_io_ops: i64,
    /// `QEMU`, …
    pub hypervisor_type: String,
    /// libvirt's number.
    pub hypervisor_version: i64,
    /// CPU architecture.
    pub arch: String,
    /// Nova's `cpu_info` object; ComputeCapabilitiesFilter looks into it.
    pub cpu_info: Value,
    /// Rises with every change; older states are ignored.
    pub generation: i64,
    /// Management address (SimpleCIDRAffinityFilter).
    #[serde(default)]
    pub host_ip: String,
    /// The host aggregates it is in.
    #[serde(default)]
    pub aggregates: Vec<HostAggregate>,
}

/// A host aggregate as schedulers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAggregate {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its metadata, `availability_zone` included.
    pub metadata: BTreeMap<String, String>,
}
