//! A network as JSON.

use super::{Object, object};
use crate::store::network::Network;
use serde_json::json;

/// Attributes that only some may see, each with its rule.
pub const RESTRICTED: &[(&str, &str)] = &[
    ("provider:network_type", "get_network:provider:network_type"),
    ("provider:physical_network", "get_network:provider:physical_network"),
    ("provider:segmentation_id", "get_network:provider:segmentation_id"),
];

/// The network with its subnets' ids, oldest first. The caller takes out what may not be seen.
pub fn view(n: &Network, subnets: &[String], zone: &str) -> Object {
    object(json!({
        "id": n.id,
        "name": n.name,
        "tenant_id": n.project_id,
        "project_id": n.project_id,
        "admin_state_up": n.admin_state_up,
        "mtu": n.mtu,
        "status": "ACTIVE",
        "subnets": subnets,
        "shared": n.shared,
        "availability_zone_hints": n.availability_zone_hints,
        "availability_zones": [zone],
        "ipv4_address_scope": null,
        "ipv6_address_scope": null,
        "router:external": false,
        "is_default": false,
        "description": n.description,
        "port_security_enabled": n.port_security_enabled,
        "dns_domain": n.dns_domain,
        // Each host realises the network for itself.
        "provider:network_type": "local",
        "provider:physical_network": null,
        "provider:segmentation_id": null,
        "tags": n.tags,
        "created_at": n.created_at.iso(),
        "updated_at": n.updated_at.iso(),
        "revision_number": n.generation,
    }))
}
