//! Ports of servers that are gone: a job that was fenced off in the middle of a call may leave one behind.

use crate::{app::App, store::servers};
use ferrostack_model::{Result, Timestamp};
use std::{sync::Arc, time::Duration};

/// How often ports are looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Younger ports are left alone, seconds: their server's job may still be at it.
const YOUNG_SECONDS: i64 = 60;

/// Looks until the service stops.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(error) = sweep(&app, YOUNG_SECONDS).await {
            tracing::debug!(error = error.for_log(), "ports not looked at");
        }
    }
}

/// One round. A port whose device is no server of ours is somebody else's: every port we make follows its server's row.
pub async fn sweep(app: &App, young: i64) -> Result<()> {
    if !app.network.is_there().await? {
        return Ok(());
    }
    let limit = Timestamp::now().plus_seconds(-young);
    for port in app.network.server_ports().await? {
        let Some(server) = servers::find(&app.db, &port.device_id).await? else { continue };
        if server.deleted_at.is_none_or(|t| t > limit) || port.created().is_some_and(|t| t > limit) {
            continue;
        }
        tracing::warn!(port = port.id, server = server.id, "port of a deleted server: taken back");
        if server.nics.iter().any(|n| n.port_id.as_deref() == Some(port.id.as_str())) {
            app.network.unbind_port(&port.id, None).await?;
        } else {
            app.network.delete_port(&port.id, None).await?;
        }
    }
    Ok(())
}
