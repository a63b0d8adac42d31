//! Quota sets and limits as JSON.

use crate::store::quota::{Usage, limit_of};
use ferrostack_model::{Microversion, microversion::feature};
use ferrostack_settings::Quota;
use serde_json::{Map, Value, json};

/// Members in the order Nova answers them, with the kind that decides which versions show them.
const MEMBERS: [(&str, Kind); 14] = [
    ("cores", Kind::Always),
    ("fixed_ips", Kind::Network),
    ("floating_ips", Kind::Network),
    ("injected_file_content_bytes", Kind::Injected),
    ("injected_file_path_bytes", Kind::Injected),
    ("injected_files", Kind::Injected),
    ("instances", Kind::Always),
    ("key_pairs", Kind::Always),
    ("metadata_items", Kind::Always),
    ("ram", Kind::Always),
    ("security_group_rules", Kind::Network),
    ("security_groups", Kind::Network),
    ("server_group_members", Kind::Groups),
    ("server_groups", Kind::Groups),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Always,
    /// Networks are not ours: unlimited, and not shown for long.
    Network,
    Injected,
    Groups,
}

/// Members of a project's quota set at `v`.
pub fn members(v: Microversion) -> impl Iterator<Item = &'static str> {
    let shown = move |kind: Kind| match kind {
        Kind::Always | Kind::Groups => true,
        Kind::Network => !v.has(feature::NO_PROXIES),
        Kind::Injected => v.has(feature::INJECTED_FILE_QUOTA),
    };
    MEMBERS.iter().filter(move |(_, kind)| shown(*kind)).map(|(name, _)| *name)
}

/// Members of a quota class at `v`: groups came and networks went with 2.50.
fn class_members(v: Microversion) -> impl Iterator<Item = &'static str> {
    let shown = move |kind: Kind| match kind {
        Kind::Always => true,
        Kind::Groups => v.has(feature::QUOTA_NO_NETWORK),
        Kind::Network => !v.has(feature::QUOTA_NO_NETWORK),
        Kind::Injected => v.has(feature::INJECTED_FILE_QUOTA),
    };
    MEMBERS.iter().filter(move |(_, kind)| shown(*kind)).map(|(name, _)| *name)
}

fn object(id: Option<&str>) -> Map<String, Value> {
    id.map(|id| ("id".to_owned(), json!(id))).into_iter().collect()
}

/// Limits; `id` is the project's, absent in the answer to an update.
pub fn limits(id: Option<&str>, quota: &Quota, v: Microversion) -> Value {
    let mut set = object(id);
    set.extend(members(v).map(|name| (name.to_owned(), json!(limit_of(quota, name)))));
    json!({"quota_set": set})
}

/// Limits with what is in use.
pub fn detail(id: &str, quota: &Quota, used: Usage, v: Microversion) -> Value {
    let mut set = object(Some(id));
    set.extend(members(v).map(|name| {
        let entry = json!({"limit": limit_of(quota, name), "in_use": used.of(name), "reserved": 0});
        (name.to_owned(), entry)
    }));
    json!({"quota_set": set})
}

/// A quota class; `id` is its name, absent in the answer to an update.
pub fn class(id: Option<&str>, quota: &Quota, v: Microversion) -> Value {
    let mut set = object(id);
    set.extend(class_members(v).map(|name| (name.to_owned(), json!(limit_of(quota, name)))));
    json!({"quota_class_set": set})
}

/// `GET /limits`
pub fn absolute(quota: &Quota, used: Usage, v: Microversion) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: i64| {
        body.insert(name.into(), json!(value));
    };
    let network = !v.has(feature::NO_PROXIES);
    put("maxTotalCores", quota.cores);
    if v.has(feature::INJECTED_FILE_QUOTA) {
        put("maxPersonality", quota.injected_files);
        put("maxPersonalitySize", quota.injected_file_content_bytes);
    }
    put("maxTotalInstances", quota.instances);
    put("maxTotalKeypairs", quota.key_pairs);
    put("maxServerMeta", quota.metadata_items);
    if !v.has(feature::NO_IMAGE_META_PROXY) {
        put("maxImageMeta", quota.metadata_items);
    }
    put("maxTotalRAMSize", quota.ram);
    put("maxServerGroups", quota.server_groups);
    put("maxServerGroupMembers", quota.server_group_members);
    if network {
        put("maxTotalFloatingIps", -1);
        put("maxSecurityGroups", -1);
        put("maxSecurityGroupRules", -1);
    }
    put("totalRAMUsed", used.ram);
    put("totalCoresUsed", used.cores);
    put("totalInstancesUsed", used.instances);
    if network {
        put("totalFloatingIpsUsed", 0);
        put("totalSecurityGroupsUsed", 0);
    }
    put("totalServerGroupsUsed", used.server_groups);
    json!({"limits": {"rate": [], "absolute": body}})
}
