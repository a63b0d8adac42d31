//! The route table: one module a noun, each with its own rows.

use ferrostack_http::Route;

mod extra_specs;
mod flavor_access;
mod flavors;
mod keypairs;
mod versions;

/// Every route of the compute API, below `/v2.1` (the edge maps the other prefixes to it).
pub fn table() -> Vec<Route> {
    let parts = [
        versions::routes(),
        flavors::routes(),
        extra_specs::routes(),
        flavor_access::routes(),
        keypairs::routes(),
    ];
    parts.into_iter().flatten().collect()
}
