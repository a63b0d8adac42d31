//! What the network service says of a server's ports, taken into its row and brought to its host.

use crate::{
    app::App,
    jobs::{interface, order},
    network::NetworkApi,
    store::{
        guests,
        servers::{self, change},
    },
};
use ferrostack_bus::Address;
use ferrostack_db::db_error;
use ferrostack_model::Result;

/// Reads the addresses of the server's ports anew. While a job is at work on the server nothing is done: it reads them
/// itself, or the next event comes.
pub async fn refresh(app: &App, server_id: &str, request_id: Option<&str>) -> Result<()> {
    let Some(server) = servers::find(&app.db, server_id).await?.filter(|s| s.deleted_at.is_none()) else {
        return Ok(());
    };
    let there = app.network.ports_of(server_id, request_id).await?;
    let mut bound = server.ports.clone();
    for nic in &mut bound {
        let Some(port) = there.iter().find(|p| p.id == nic.port_id) else { continue };
        let network = app.network.network(&port.network_id, request_id).await?;
        *nic = NetworkApi::nic(port.clone(), network);
    }
    if bound == server.ports {
        return Ok(());
    }
    let inputs = servers::inputs(&app.db, server_id).await?;
    let busy = ferrostack_jobs::find_active(&app.db, server_id).await?.is_some();
    let mut tx = app.db.begin_write().await?;
    if !change::set_ports(&mut tx, server_id, &bound).await? {
        return Ok(());
    }
    let now = servers::find_in(&mut tx, server_id).await?.filter(|s| s.generation == server.generation + 1);
    let idle = now.filter(|s| s.task_state.is_none() && !busy);
    let (Some(mut now), Some(host)) = (idle, server.host.clone()) else {
        return tx.commit().await.map_err(db_error);
    };
    now.ports = bound;
    let Some(generation) = change::next_generation(&mut tx, server_id).await? else { return Ok(()) };
    guests::ordered(&mut tx, server_id, &host, generation).await?;
    let order = interface::nics_order(&now, inputs, generation);
    let message = order::message("", server_id, generation, order, request_id)?;
    tx.commit().await.map_err(db_error)?;
    app.bus.publish(&Address::Agent(host), &message).await
}
