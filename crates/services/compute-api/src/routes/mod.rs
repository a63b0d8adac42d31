//! The route table: one module a noun, each with its own rows.

use ferrostack_http::Route;

mod aggregates;
mod availability_zones;
mod baremetal;
mod extensions;
mod extra_specs;
mod flavor_access;
mod flavors;
mod floating_ips;
mod hypervisors;
mod images;
mod instance_actions;
mod keypairs;
mod limits;
mod live_migrations;
mod migrations;
mod networks;
mod os_hosts;
mod quota_sets;
mod removed;
mod security_groups;
mod server_actions;
mod server_create;
mod server_diagnostics;
mod server_external_events;
mod server_filter;
mod server_groups;
mod server_interfaces;
mod server_ips;
mod server_metadata;
mod server_migrations;
mod server_password;
mod server_tags;
mod server_topology;
mod servers;
mod services;
mod tenant_usage;
mod usage_audit;
mod versions;
mod volumes;
mod volumes_boot;

pub use server_actions::names as server_action_names;
mod volume_attachments;

/// Every route of the compute API, below `/v2.1` (the edge maps the other prefixes to it).
pub fn table() -> Vec<Route> {
    let parts = [
        versions::routes(),
        volume_attachments::routes(),
        volume_attachments::assisted(),
        flavors::routes(),
        extra_specs::routes(),
        flavor_access::routes(),
        keypairs::routes(),
        quota_sets::routes(),
        limits::routes(),
        services::routes(),
        hypervisors::routes(),
        os_hosts::routes(),
        aggregates::routes(),
        availability_zones::routes(),
        extensions::routes(),
        servers::routes(),
        server_create::routes(),
        server_external_events::routes(),
        server_actions::routes(),
        server_metadata::routes(),
        server_tags::routes(),
        server_diagnostics::routes(),
        server_password::routes(),
        server_topology::routes(),
        server_ips::routes(),
        server_groups::routes(),
        server_interfaces::routes(),
        instance_actions::routes(),
        tenant_usage::routes(),
        migrations::routes(),
        server_migrations::routes(),
        usage_audit::routes(),
        images::routes(),
        networks::routes(),
        floating_ips::routes(),
        security_groups::routes(),
        volumes::routes(),
        volumes_boot::routes(),
        baremetal::routes(),
        removed::routes(),
        live_migrations::routes(),
    ];
    parts.into_iter().flatten().collect()
}
