//! A port as JSON.

use super::{Object, object};
use crate::store::port::Port;
use serde_json::json;

/// Attributes that only some may see, each with its rule.
pub const RESTRICTED: &[(&str, &str)] = &[
    ("binding:host_id", "get_port:binding:host_id"),
    ("binding:profile", "get_port:binding:profile"),
    ("binding:vif_details", "get_port:binding:vif_details"),
    ("binding:vif_type", "get_port:binding:vif_type"),
];

/// The port. The caller takes out what may not be seen.
///
/// A port is ACTIVE while a host is bound to it: compute binds the host that it tells to realise the interface
/// and unbinds it with the server, so there is no report of an agent to wait for.
pub fn view(p: &Port) -> Object {
    let bound = !p.binding_host.is_empty();
    let details = if bound { json!({"connectivity": "l2", "port_filter": false}) } else { json!({}) };
    object(json!({
        "id": p.id,
        "name": p.name,
        "network_id": p.network_id,
        "tenant_id": p.project_id,
        "project_id": p.project_id,
        "mac_address": p.mac_address,
        "admin_state_up": p.admin_state_up,
        "status": if bound && p.admin_state_up { "ACTIVE" } else { "DOWN" },
        "device_id": p.device_id,
        "device_owner": p.device_owner,
        "fixed_ips": p.fixed_ips,
        "allowed_address_pairs": [],
        "extra_dhcp_opts": [],
        "security_groups": [],
        "description": p.description,
        "binding:vnic_type": p.vnic_type,
        "binding:profile": p.binding_profile,
        "binding:host_id": p.binding_host,
        "binding:vif_type": if bound { "bridge" } else { "unbound" },
        "binding:vif_details": details,
        "port_security_enabled": p.port_security_enabled,
        "dns_name": p.dns_name,
        "dns_assignment": [],
        "ip_allocation": if p.fixed_ips.is_empty() { "none" } else { "immediate" },
        "tags": p.tags,
        "created_at": p.created_at.iso(),
        "updated_at": p.updated_at.iso(),
        "revision_number": p.generation,
    }))
}
