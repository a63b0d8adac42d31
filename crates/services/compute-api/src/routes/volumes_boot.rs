//! `os-volumes_boot`: servers under another name, through 2.102.

use super::{server_actions, server_create, servers};
use ferrostack_http::Route;
use ferrostack_model::microversion::until;

/// What servers' rows are called here.
const NAMES: &[(&str, &str)] = &[
    ("/v2.1/servers", "/v2.1/os-volumes_boot"),
    ("/v2.1/servers/detail", "/v2.1/os-volumes_boot/detail"),
    ("/v2.1/servers/{id}", "/v2.1/os-volumes_boot/{id}"),
    ("/v2.1/servers/{id}/action", "/v2.1/os-volumes_boot/{id}/action"),
];

/// The rows.
pub fn routes() -> Vec<Route> {
    let rows = [servers::routes(), server_create::routes(), server_actions::routes()].concat();
    rows.into_iter()
        .filter_map(|mut row| {
            let (_, path) = NAMES.iter().find(|(name, _)| *name == row.path)?;
            row.path = path;
            Some(row.window(until(102)))
        })
        .collect()
}
