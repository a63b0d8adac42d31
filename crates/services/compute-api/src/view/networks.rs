//! Networks as old microversions show them, made of what the network service answers.

use serde_json::{Value, json};

/// What everybody sees, beside id and label; a network service of its own says none of it.
const ALL: &[&str] =
    &["cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6", "netmask_v6"];
/// What admins see as well.
const ADMIN: &[&str] = &[
    "deleted_at",
    "deleted",
    "injected",
    "bridge",
    "vlan",
    "vpn_public_address",
    "vpn_public_port",
    "vpn_private_address",
    "dhcp_start",
    "host",
    "bridge_interface",
    "multi_host",
    "priority",
    "rxtx_base",
    "dhcp_server",
    "enable_dhcp",
    "share_address",
];

/// `os-networks`.
pub fn full(network: &Value, is_admin: bool) -> Value {
    let mut body = json!({"id": network["id"], "label": network["name"]});
    for name in ALL {
        body[*name] = Value::Null;
    }
    if is_admin {
        for name in ADMIN {
            body[*name] = Value::Null;
        }
        for name in ["created_at", "updated_at", "project_id", "mtu"] {
            body[name] = network[name].clone();
        }
    }
    body
}

/// `os-tenant-networks`.
pub fn of_project(network: &Value) -> Value {
    json!({"id": network["id"], "label": network["name"], "cidr": "None"})
}

/// A floating IP with the name of its pool and the server whose port it is at.
pub fn floating_ip(ip: &Value, pool: &str, server: Option<&str>) -> Value {
    json!({"id": ip["id"], "ip": ip["floating_ip_address"], "pool": pool, "fixed_ip": ip["fixed_ip_address"],
        "instance_id": server})
}
