//! What a server uses of its host.

use crate::store::servers::Server;
use ferrostack_model::{Timestamp, diagnostics::Diagnostics, server::PowerState};
use serde_json::{Map, Value, json};

/// Nova's name of a power state.
pub const fn state(power: PowerState) -> &'static str {
    match power {
        PowerState::NoState => "pending",
        PowerState::Running => "running",
        PowerState::Paused => "paused",
        PowerState::Shutdown => "shutdown",
        PowerState::Crashed => "crashed",
        PowerState::Suspended => "suspended",
    }
}

/// Through 2.47: numbers by libvirt's device names.
pub fn plain(told: &Diagnostics) -> Value {
    let mut body = Map::new();
    let mut put = |name: String, value: Value| {
        body.insert(name, value);
    };
    for (n, time) in told.cpus.iter().enumerate() {
        put(format!("cpu{n}_time"), json!(time));
    }
    for disk in &told.disks {
        let name = &disk.name;
        put(format!("{name}_read_req"), json!(disk.read_requests));
        put(format!("{name}_read"), json!(disk.read_bytes));
        put(format!("{name}_write_req"), json!(disk.write_requests));
        put(format!("{name}_write"), json!(disk.write_bytes));
        put(format!("{name}_errors"), json!(disk.errors));
    }
    for nic in &told.nics {
        let name = &nic.name;
        put(format!("{name}_rx"), json!(nic.rx_bytes));
        put(format!("{name}_rx_packets"), json!(nic.rx_packets));
        put(format!("{name}_rx_errors"), json!(nic.rx_errors));
        put(format!("{name}_rx_drop"), json!(nic.rx_drop));
        put(format!("{name}_tx"), json!(nic.tx_bytes));
        put(format!("{name}_tx_packets"), json!(nic.tx_packets));
        put(format!("{name}_tx_errors"), json!(nic.tx_errors));
        put(format!("{name}_tx_drop"), json!(nic.tx_drop));
    }
    put("memory".into(), json!(told.memory_kib));
    for (name, value) in &told.memory {
        put(format!("memory-{name}"), json!(value));
    }
    Value::Object(body)
}

/// From 2.48 on: the same form whatever the hypervisor. Memory in MiB.
pub fn standard(told: &Diagnostics, server: &Server, now: Timestamp) -> Value {
    let cpus: Vec<Value> = told
        .cpus
        .iter()
        .enumerate()
        .map(|(id, time)| json!({"id": id, "time": time, "utilisation": null}))
        .collect();
    let disks: Vec<Value> = told
        .disks
        .iter()
        .map(|d| {
            json!({"read_bytes": d.read_bytes, "read_requests": d.read_requests, "write_bytes": d.write_bytes,
                "write_requests": d.write_requests, "errors_count": d.errors})
        })
        .collect();
    let nics: Vec<Value> = told
        .nics
        .iter()
        .map(|n| {
            json!({"mac_address": n.mac_address, "rx_octets": n.rx_bytes, "rx_packets": n.rx_packets,
                "rx_errors": n.rx_errors, "rx_drop": n.rx_drop, "rx_rate": null, "tx_octets": n.tx_bytes,
                "tx_packets": n.tx_packets, "tx_errors": n.tx_errors, "tx_drop": n.tx_drop, "tx_rate": null})
        })
        .collect();
    json!({
        "state": state(told.state),
        "driver": "libvirt",
        "hypervisor": told.hypervisor,
        "hypervisor_os": "linux",
        "uptime": server.launched_at.map(|at| (now.0 - at.0).max(0) / 1_000_000),
        "config_drive": server.config_drive,
        "num_cpus": cpus.len(),
        "num_nics": nics.len(),
        "num_disks": disks.len(),
        "cpu_details": cpus,
        "disk_details": disks,
        "nic_details": nics,
        "memory_details": {"maximum": told.memory_kib / 1024, "used": told.memory_used_kib / 1024},
    })
}
