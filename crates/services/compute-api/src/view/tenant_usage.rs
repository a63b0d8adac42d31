//! Usage reports as JSON.

use crate::store::tenant_usage::Life;
use ferrostack_model::Timestamp;
use serde_json::{Value, json};

/// The report of one project: its servers' lives within `start` and `stop`, at `now`.
pub fn project(lives: &[&Life], start: Timestamp, stop: Timestamp, now: Timestamp, detailed: bool) -> Value {
    let Some(first) = lives.first() else { return json!({}) };
    let (mut hours, mut gb, mut mb, mut cpus) = (0.0, 0.0, 0.0, 0.0);
    let mut servers = Vec::new();
    for life in lives {
        let end = life.terminated_at.unwrap_or(stop).min(stop);
        let begin = life.launched_at.max(start);
        let lived = end.since(begin).max(0) as f64 / 3_600_000_000.0;
        hours += lived;
        gb += life.local_gb as f64 * lived;
        mb += life.memory_mb as f64 * lived;
        cpus += life.vcpus as f64 * lived;
        if detailed {
            let until = life.terminated_at.unwrap_or(now);
            servers.push(json!({
                "instance_id": life.id,
                "name": life.name,
                "hours": lived,
                "vcpus": life.vcpus,
                "memory_mb": life.memory_mb,
                "local_gb": life.local_gb,
                "flavor": life.flavor,
                "started_at": life.launched_at.iso_micros_naive(),
                "ended_at": life.terminated_at.map(Timestamp::iso_micros_naive),
                "state": if life.terminated_at.is_some() { "terminated" } else { &life.vm_state },
                "tenant_id": life.project_id,
                "uptime": until.since(life.launched_at).max(0) / 1_000_000,
            }));
        }
    }
    let mut body = json!({
        "tenant_id": first.project_id,
        "start": start.iso_micros_naive(),
        "stop": stop.iso_micros_naive(),
        "total_hours": hours,
        "total_local_gb_usage": gb,
        "total_memory_mb_usage": mb,
        "total_vcpus_usage": cpus,
    });
    if detailed {
        body["server_usages"] = json!(servers);
    }
    body
}
