//! Hypervisors as JSON.

use super::services::{state, status};
use crate::store::hosts::Host;
use ferrostack_model::{Microversion, microversion::feature};
use serde_json::{Value, json};

/// A host with what hypervisor answers need besides.
#[derive(Clone, Copy, Debug)]
pub struct Hypervisor<'a> {
    /// The host.
    pub host: &'a Host,
    /// Servers with a task under way.
    pub busy: i64,
    /// Id and name of its servers, where they are asked for.
    pub servers: Option<&'a [(String, String)]>,
    /// After how many seconds of silence it is down.
    pub down_time: i64,
}

/// The id at `v`: a UUID from 2.53, a number before.
pub fn id(host: &Host, v: Microversion) -> Value {
    if v.has(feature::SERVICE_UUID) { json!(host.hypervisor_id) } else { json!(host.hypervisor_number) }
}

/// The short form.
pub fn basic(h: Hypervisor<'_>, v: Microversion) -> Value {
    let mut body = json!({
        "id": id(h.host, v),
        "hypervisor_hostname": h.host.hypervisor_hostname,
        "state": state(h.host, h.down_time),
        "status": status(h.host),
    });
    if let Some(servers) = h.servers
        && (!servers.is_empty() || v.has(feature::STRICT_INPUT))
    {
        let list: Vec<_> = servers.iter().map(|(id, name)| json!({"uuid": id, "name": name})).collect();
        body["servers"] = json!(list);
    }
    body
}

/// The short form with the uptime.
pub fn with_uptime(h: Hypervisor<'_>, v: Microversion) -> Value {
    let mut body = basic(h, v);
    body["uptime"] = json!(uptime(h.host));
    body
}

/// The whole form.
pub fn full(h: Hypervisor<'_>, v: Microversion) -> Value {
    let mut body = basic(h, v);
    let (host, report) = (h.host, &h.host.report);
    let service_id =
        if v.has(feature::SERVICE_UUID) { json!(host.service_id) } else { json!(host.service_number) };
    body["hypervisor_type"] = json!(report.hypervisor_type);
    body["hypervisor_version"] = json!(report.hypervisor_version);
    body["host_ip"] = json!(report.host_ip);
    body["service"] = json!({"host": host.host, "id": service_id, "disabled_reason": host.disabled_reason});
    if v.has(feature::HYPERVISOR_NO_USAGE) {
        // Of a host that is down nobody can say.
        let up = state(host, h.down_time) == "up";
        body["uptime"] = if up { json!(uptime(host)) } else { Value::Null };
        return body;
    }
    body["cpu_info"] = if v.has(feature::HYPERVISOR_CPU_INFO_OBJECT) {
        if report.cpu_info.is_object() { report.cpu_info.clone() } else { json!({}) }
    } else {
        json!(report.cpu_info.to_string())
    };
    for (name, value) in usage(h) {
        body[name] = json!(value);
    }
    body
}

/// Capacity and use, under the names of Nova.
fn usage(h: Hypervisor<'_>) -> [(&'static str, i64); 11] {
    let (host, report) = (h.host, &h.host.report);
    let free_disk = report.local_gb - host.local_gb_used;
    [
        ("vcpus", report.vcpus),
        ("memory_mb", report.memory_mb),
        ("local_gb", report.local_gb),
        ("vcpus_used", host.vcpus_used),
        ("memory_mb_used", host.memory_mb_used),
        ("local_gb_used", host.local_gb_used),
        ("free_ram_mb", report.memory_mb - host.memory_mb_used),
        ("free_disk_gb", free_disk),
        ("current_workload", h.busy),
        ("running_vms", host.num_instances),
        // Guests' disks are counted in full, so what is free is what is least available.
        ("disk_available_least", free_disk),
    ]
}

/// `GET /os-hypervisors/statistics`: the sums over enabled hosts.
pub fn statistics<'a>(all: impl Iterator<Item = Hypervisor<'a>>) -> Value {
    let mut body = json!({"count": 0, "vcpus": 0, "memory_mb": 0, "local_gb": 0, "vcpus_used": 0,
        "memory_mb_used": 0, "local_gb_used": 0, "free_ram_mb": 0, "free_disk_gb": 0, "current_workload": 0,
        "running_vms": 0, "disk_available_least": 0});
    let mut add = |name: &str, value: i64| {
        let sum = body[name].as_i64().unwrap_or(0).saturating_add(value);
        body[name] = json!(sum);
    };
    for h in all.filter(|h| !h.host.disabled) {
        add("count", 1);
        for (name, value) in usage(h) {
            add(name, value);
        }
    }
    json!({"hypervisor_statistics": body})
}

/// As `uptime` prints it, without what is not reported: users and load.
fn uptime(host: &Host) -> String {
    let seconds = host.report.uptime_seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let clock = host.last_seen.iso();
    let clock = clock.get(11..19).unwrap_or("");
    match days {
        0 => format!(" {clock} up {hours:2}:{minutes:02}"),
        1 => format!(" {clock} up 1 day, {hours:2}:{minutes:02}"),
        _ => format!(" {clock} up {days} days, {hours:2}:{minutes:02}"),
    }
}
