//! Payloads of `instance.*`, object versions as in Nova 34.

use super::Phase;
use crate::{keys, store::servers::Server};
use ferrostack_model::{Timestamp, server::PowerState};
use serde_json::{Map, Value, json};

/// Who asked, and what the job knows.
pub struct Asked<'a> {
    /// The request.
    pub request_id: &'a str,
    /// Its user.
    pub user: &'a str,
    /// Its project.
    pub project: &'a str,
    /// Data of the request's job.
    pub job: &'a Value,
}

fn object(name: &str, version: &str, data: Value) -> Value {
    json!({
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        "nova_object.data": data,
    })
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(Timestamp::iso)
}

fn power(state: PowerState) -> &'static str {
    match state {
        PowerState::NoState => "pending",
        PowerState::Running => "running",
        PowerState::Paused => "paused",
        PowerState::Shutdown => "shutdown",
        PowerState::Crashed => "crashed",
        PowerState::Suspended => "suspended",
    }
}

fn flavor(s: &Server) -> Value {
    let f = &s.flavor;
    object(
        "FlavorPayload",
        "1.4",
        json!({
            "flavorid": s.flavor_id,
            "name": f.name,
            "vcpus": f.vcpus,
            "memory_mb": f.ram_mb,
            "root_gb": f.root_gb,
            "ephemeral_gb": f.ephemeral_gb,
            "swap": f.swap_mb,
            "extra_specs": f.extra_specs,
            "disabled": false,
            "is_public": true,
            "rxtx_factor": 1.0,
            "vcpu_weight": 0,
            "projects": null,
            "description": null,
        }),
    )
}

fn addresses(s: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    for port in &s.ports {
        for ip in &port.fixed_ips {
            all.push(object(
                "IpPayload",
                "1.0",
                json!({
                    "label": port.network.name,
                    "mac": port.mac_address,
                    "meta": {},
                    "port_uuid": port.port_id,
                    "version": if ip.ip_address.is_ipv4() { 4 } else { 6 },
                    "address": ip.ip_address,
                    "device_name": format!("tap{}", port.port_id.get(..11).unwrap_or(&port.port_id)),
                }),
            ));
        }
    }
    all
}

fn fault(message: &str, private: &str, name: &str) -> Value {
    let exception =
        if message.starts_with("No valid host was found") { "NoValidHost" } else { "NovaException" };
    object(
        "ExceptionPayload",
        "1.1",
        json!({
            "module_name": module_path!(),
            "function_name": name,
            "exception": exception,
            "exception_message": message,
            "traceback": private,
        }),
    )
}

fn keypairs(s: &Server) -> Vec<Value> {
    let (Some(name), Some(public_key)) = (&s.key_name, &s.public_key) else { return Vec::new() };
    let data = json!({
        "user_id": s.user_id,
        "name": name,
        "fingerprint": keys::ssh_fingerprint(public_key).ok(),
        "public_key": public_key,
        "type": "ssh",
    });
    vec![object("KeypairPayload", "1.0", data)]
}

/// What every notification of a server has.
fn common(s: &Server, asked: &Asked<'_>) -> Map<String, Value> {
    let property = |name: &str| s.image.properties.get(name).cloned();
    let data = json!({
        "uuid": s.id,
        "user_id": s.user_id,
        "tenant_id": s.project_id,
        "reservation_id": s.reservation_id,
        "display_name": s.display_name,
        "display_description": s.description,
        "host_name": s.hostname,
        "host": s.host,
        "node": s.node,
        "os_type": property("os_type"),
        "architecture": property("hw_architecture").or_else(|| property("architecture")),
        "availability_zone": s.availability_zone,
        "image_uuid": s.image.id,
        "key_name": s.key_name,
        "kernel_id": s.kernel.as_ref().map_or("", |image| image.id.as_str()),
        "ramdisk_id": s.ramdisk.as_ref().map_or("", |image| image.id.as_str()),
        "created_at": s.created_at.iso(),
        "launched_at": time(s.launched_at),
        "terminated_at": time(s.terminated_at),
        "deleted_at": time(s.deleted_at),
        "updated_at": s.updated_at.iso(),
        "state": s.vm_state.as_str(),
        "power_state": power(s.power_state),
        "task_state": s.task_state.map(|task| task.as_str()),
        "progress": s.progress,
        "ip_addresses": addresses(s),
        "block_devices": [],
        "flavor": flavor(s),
        "metadata": s.metadata,
        "locked": s.locked,
        "locked_reason": s.locked_reason,
        "auto_disk_config": s.disk_config,
        "shares": [],
        "request_id": asked.request_id,
        "action_initiator_user": asked.user,
        "action_initiator_project": asked.project,
        "fault": null,
    });
    match data {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The payload of `instance.<name>`.
pub fn of(s: &Server, name: &str, phase: Phase<'_>, asked: &Asked<'_>) -> Value {
    let mut data = common(s, asked);
    if let Phase::Error(message, private) = phase {
        data.insert("fault".into(), fault(message, private, name));
    }
    let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
    let (kind, version) = match name {
        "create" => {
            put("keypairs", json!(keypairs(s)));
            put("tags", json!(s.tags));
            put("trusted_image_certificates", json!(s.trusted_certs));
            put("instance_name", json!(s.instance_name));
            ("InstanceCreatePayload", "1.13")
        }
        "snapshot" => {
            put("snapshot_image_id", asked.job["image_id"].clone());
            ("InstanceActionSnapshotPayload", "1.10")
        }
        "rebuild" => {
            put("trusted_image_certificates", json!(s.trusted_certs));
            ("InstanceActionRebuildPayload", "1.10")
        }
        "rescue" => {
            put("rescue_image_ref", asked.job["rescue_image_ref"].clone());
            ("InstanceActionRescuePayload", "1.4")
        }
        _ => ("InstanceActionPayload", "1.9"),
    };
    object(kind, version, Value::Object(data))
}
