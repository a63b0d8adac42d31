//! The route table: one module a noun, each with its own rows.

use ferrostack_http::Route;

/// Every route of the compute API, below `/v2.1` (the edge maps the other prefixes to it).
pub fn table() -> Vec<Route> {
    let parts: [Vec<Route>; 0] = [];
    parts.into_iter().flatten().collect()
}
