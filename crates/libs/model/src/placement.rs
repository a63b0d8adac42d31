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
    /// The flavor's name (AggregateTypeAffinityFilter).
    #[serde(default)]
    pub flavor: String,
    /// The image's id; "" of a server without one (IsolatedHostsFilter).
    #[serde(default)]
    pub image_id: String,
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
    /// What the server holds of a host already and gives back if it stays there in another size.
    #[serde(default)]
    pub held: Option<Held>,
    /// The server group it is in.
    #[serde(default)]
    pub group: Option<GroupWish>,
    /// Where the servers run that hints name (same_host, different_host): host by server id.
    #[serde(default)]
    pub hosts_of: BTreeMap<String, String>,
    /// The server stays where it is and only gets another image: its host is asked whether it takes that, with the
    /// filters that Nova runs on a rebuild. It takes nothing from the host that it does not hold already.
    #[serde(default)]
    pub rebuild: bool,
}

/// What a server holds of its host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The host.
    pub host: String,
    /// Virtual CPUs.
    pub vcpus: i64,
    /// MiB.
    pub memory_mb: i64,
    /// GiB.
    pub disk_gb: i64,
}

/// What placing a server must know of its group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupWish {
    /// Its policy.
    pub policy: GroupPolicy,
    /// Of an anti-affinity group: members that one host may have; 1 if not said.
    #[serde(default)]
    pub max_server_per_host: Option<i64>,
    /// How many other members a host has; hosts without any are not named.
    #[serde(default)]
    pub hosts: BTreeMap<String, i64>,
}

/// The policy of a server group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupPolicy {
    /// All on one host.
    #[default]
    Affinity,
    /// No two (or no more than the rule says) on one host.
    AntiAffinity,
    /// On as few hosts as may be.
    SoftAffinity,
    /// On as many hosts as may be.
    SoftAntiAffinity,
}

impl GroupPolicy {
    /// The text in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::AntiAffinity => "anti-affinity",
            Self::SoftAffinity => "soft-affinity",
            Self::SoftAntiAffinity => "soft-anti-affinity",
        }
    }

    /// The value with this text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Affinity, Self::AntiAffinity, Self::SoftAffinity, Self::SoftAntiAffinity]
            .into_iter()
            .find(|policy| policy.as_str() == text)
    }
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
