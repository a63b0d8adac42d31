//! What is asked of the scheduler and what it answers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A wish for a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlacementRequest {
    /// Owner of the server.
    pub project_id: String,
    /// Virtual CPUs.
    pub vcpus: i64,
    /// MiB.
    pub memory_mb: i64,
    /// Root and ephemeral disk in GiB and swap rounded up.
    pub disk_gb: i64,
    /// The flavor's extra specs.
    #[serde(default)]
    pub extra_specs: BTreeMap<String, String>,
    /// The image's properties.
    #[serde(default)]
    pub image_properties: BTreeMap<String, String>,
    /// Wanted zone; any if none.
    #[serde(default)]
    pub availability_zone: Option<String>,
    /// Only this host (admin's `zone:host` or `host` of 2.74).
    #[serde(default)]
    pub host: Option<String>,
    /// Only this hypervisor (admin's `zone:host:node` or `hypervisor_hostname` of 2.74).
    #[serde(default)]
    pub node: Option<String>,
    /// Scheduler hints, each a list of texts.
    #[serde(default)]
    pub hints: BTreeMap<String, Vec<String>>,
    /// Hosts that failed in this attempt (RetryFilter).
    #[serde(default)]
    pub excluded_hosts: Vec<String>,
}

/// Hosts that one filter refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The filter's name, `RamFilter`.
    pub filter: String,
    /// Why, in words, without host names.
    pub reason: String,
    /// The hosts.
    pub hosts: Vec<String>,
}

/// The scheduler's answer. No hosts means NoValidHost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The choice, then the alternates, best first.
    pub hosts: Vec<String>,
    /// Every refused host, grouped by filter and reason.
    pub rejections: Vec<Rejection>,
    /// How many hosts were looked at.
    pub considered: usize,
}
