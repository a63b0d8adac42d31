//! What the scheduler is asked for a server: its size, its image, its hints and its group as they are now.

use crate::{
    app::App,
    store::{
        server_groups,
        servers::{self, Server},
    },
};
use ferrostack_model::{Result, placement::PlacementRequest};

/// Hints whose values are servers.
const NAME_SERVERS: [&str; 2] = ["same_host", "different_host"];

/// The request for `server`, of any host in the zone it is bound to. Who wants a certain host, or none of some, sets
/// that.
pub async fn request(app: &App, server: &Server) -> Result<PlacementRequest> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let named: Vec<&str> = NAME_SERVERS
        .iter()
        .filter_map(|hint| server.hints.get(*hint))
        .flatten()
        .map(String::as_str)
        .collect();
    let hosts_of = servers::hosts_of(&app.db, &named).await?;
    Ok(PlacementRequest {
        project_id: server.project_id.clone(),
        vcpus: i64::from(server.flavor.vcpus),
        memory_mb: number(server.flavor.ram_mb),
        disk_gb: server.disk_gb(),
        flavor: server.flavor.name.clone(),
        image_id: server.image.id.clone(),
        extra_specs: server.flavor.extra_specs.clone(),
        image_properties: server.image.properties.clone(),
        availability_zone: server.pinned_az.clone(),
        hints: server.hints.clone(),
        group: server_groups::wish(&app.db, &server.id).await?,
        hosts_of,
        ..PlacementRequest::default()
    })
}
