//! A server's ports: made or bound for it, and taken back.

use crate::{
    app::App,
    network::{NetworkApi, NewPort, Port},
    store::servers::{NicRequest, Server},
};
use ferrostack_model::{
    Error, Result,
    network::{NetworkSpec, NicSpec},
};
use std::collections::HashMap;

/// Makes or binds every port that was asked for; the same ports however often it runs.
pub async fn bind(app: &App, server: &Server, request_id: Option<&str>) -> Result<Vec<NicSpec>> {
    let mut networks: HashMap<String, NetworkSpec> = HashMap::new();
    let mut nics = Vec::with_capacity(server.nics.len());
    for (index, wanted) in server.nics.iter().enumerate() {
        let key = format!("{}/{index}", server.id);
        let port = bind_one(app, server, wanted, key, request_id).await?;
        if !networks.contains_key(&port.network_id) {
            let network = app.network.network(&port.network_id, request_id).await?;
            networks.insert(port.network_id.clone(), network);
        }
        let network = networks.get(&port.network_id).cloned();
        let network = network.ok_or_else(|| Error::internal("network just read is missing"))?;
        nics.push(NetworkApi::nic(port, network));
    }
    Ok(nics)
}

/// Makes or binds one port; the same `key` makes the same port.
pub async fn bind_one(
    app: &App,
    server: &Server,
    wanted: &NicRequest,
    key: String,
    request_id: Option<&str>,
) -> Result<Port> {
    let host = server.host.as_deref().unwrap_or("");
    let zone = server.availability_zone.as_deref().unwrap_or("");
    let port = match (&wanted.port_id, &wanted.network_id) {
        (Some(id), _) => app.network.bind_port(id, &server.id, zone, host, request_id).await?,
        (None, Some(network_id)) => {
            let new = NewPort {
                key,
                network_id,
                project_id: &server.project_id,
                server_id: &server.id,
                zone,
                host,
                fixed_ip: wanted.fixed_ip.as_deref(),
            };
            app.network.create_port(&new, request_id).await?
        }
        (None, None) => return Err(Error::internal("a requested interface names neither network nor port")),
    };
    if port.host_id == host {
        return Ok(port);
    }
    // Made in an earlier attempt, for another host.
    app.network.bind_port(&port.id, &server.id, zone, host, request_id).await
}

/// Deletes the ports we made and gives back those that users brought.
pub async fn take_back(app: &App, server: &Server, request_id: Option<&str>) -> Result<()> {
    if server.nics.is_empty() && server.ports.is_empty() {
        return Ok(());
    }
    for port in app.network.ports_of(&server.id, request_id).await? {
        let brought = server.nics.iter().any(|n| n.port_id.as_deref() == Some(port.id.as_str()));
        if brought {
            app.network.unbind_port(&port.id, request_id).await?;
        } else {
            app.network.delete_port(&port.id, request_id).await?;
        }
    }
    Ok(())
}

/// Tells the network service that the server's ports are on its host now.
pub async fn rebind(app: &App, server: &Server, request_id: Option<&str>) -> Result<()> {
    let host = server.host.as_deref().unwrap_or("");
    let zone = server.availability_zone.as_deref().unwrap_or("");
    for port in &server.ports {
        match app.network.bind_port(&port.port_id, &server.id, zone, host, request_id).await {
            // A port that was deleted meanwhile is bound to nothing.
            Err(error) if error.kind == ferrostack_model::ErrorKind::NotFound => {}
            other => {
                other?;
            }
        }
    }
    Ok(())
}
