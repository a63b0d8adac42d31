//! Hosts under their oldest name, `os-hosts`, as JSON.

use crate::store::hosts::Host;
use serde_json::{Value, json};

/// An entry of the list.
pub fn basic(host: &Host) -> Value {
    json!({"host_name": host.host, "service": "compute", "zone": host.availability_zone})
}

/// Capacity, what claims hold, the sum over servers, and each project's part of it: project, vCPUs, MiB, GiB.
pub fn full(host: &Host, projects: &[(String, i64, i64, i64)]) -> Value {
    let row = |project: &str, cpu: i64, memory_mb: i64, disk_gb: i64| {
        json!({"resource": {"host": host.host, "project": project, "cpu": cpu, "memory_mb": memory_mb,
            "disk_gb": disk_gb}})
    };
    let report = &host.report;
    let sum = |part: fn(&(String, i64, i64, i64)) -> i64| projects.iter().map(part).sum();
    let mut rows = vec![
        row("(total)", report.vcpus, report.memory_mb, report.local_gb),
        row("(used_now)", host.vcpus_used, host.memory_mb_used, host.local_gb_used),
        row("(used_max)", sum(|p| p.1), sum(|p| p.2), sum(|p| p.3)),
    ];
    rows.extend(projects.iter().map(|(project, cpu, mb, gb)| row(project, *cpu, *mb, *gb)));
    json!({"host": rows})
}
