//! The route table: one module a noun, each with its own rows.

use ferrostack_http::Route;

mod availability_zones;
mod extensions;
mod extra_specs;
mod flavor_access;
mod flavors;
mod hypervisors;
mod keypairs;
mod limits;
mod quota_sets;
mod services;
mod versions;

/// Every route of the compute API, below `/v2.1` (the edge maps the other prefixes to it).
pub fn table() -> Vec<Route> {
    let parts = [
        versions::routes(),
        flavors::routes(),
        extra_specs::routes(),
        flavor_access::routes(),
        keypairs::routes(),
        quota_sets::routes(),
        limits::routes(),
        services::routes(),
        hypervisors::routes(),
        availability_zones::routes(),
        extensions::routes(),
    ];
    parts.into_iter().flatten().collect()
}
