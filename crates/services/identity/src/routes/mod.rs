//! The route table.

mod access;
mod feed;
mod tokens;
mod versions;

use ferrostack_http::Route;

/// Every route.
pub fn table() -> Vec<Route> {
    let mut rows = versions::rows();
    rows.extend(tokens::rows());
    rows.extend(access::rows());
    rows.extend(feed::rows());
    rows
}
