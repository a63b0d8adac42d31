//! A subnet as JSON.

use super::{Object, object};
use crate::store::subnet::Subnet;
use serde_json::json;

/// The subnet.
pub fn view(s: &Subnet) -> Object {
    object(json!({
        "id": s.id,
        "name": s.name,
        "tenant_id": s.project_id,
        "project_id": s.project_id,
        "network_id": s.network_id,
        "ip_version": s.ip_version(),
        "subnetpool_id": null,
        "enable_dhcp": s.enable_dhcp,
        "ipv6_ra_mode": s.ipv6_ra_mode,
        "ipv6_address_mode": s.ipv6_address_mode,
        "gateway_ip": s.gateway_ip,
        "cidr": s.cidr.to_string(),
        "allocation_pools": s.allocation_pools,
        "host_routes": s.host_routes,
        "dns_nameservers": s.dns_nameservers,
        "dns_publish_fixed_ip": false,
        "service_types": s.service_types,
        "description": s.description,
        "tags": s.tags,
        "created_at": s.created_at.iso(),
        "updated_at": s.updated_at.iso(),
        "revision_number": s.generation,
    }))
}
