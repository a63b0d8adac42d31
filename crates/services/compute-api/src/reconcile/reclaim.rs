//! Servers whose deletion was put off long enough.

use crate::{
    app::App,
    jobs::delete,
    store::{
        instance_actions::Asker,
        servers::{self, states},
    },
};
use ferrostack_model::{Result, Timestamp, id, server::VmState};
use std::{sync::Arc, time::Duration};

/// How often they are looked for.
const LOOK: Duration = Duration::from_secs(60);
/// Servers of one round.
const MOST: i64 = 200;

/// Looks until the service stops.
pub async fn run(app: Arc<App>) {
    let interval = app.settings.compute.reclaim_instance_interval;
    let look = LOOK.min(Duration::from_secs(u64::try_from(interval).unwrap_or(0).max(1)));
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(if interval > 0 { look } else { LOOK }) => {}
        }
        if let Err(error) = collect(&app, interval).await {
            tracing::info!(error = error.for_log(), "servers to be deleted not looked for");
        }
    }
}

/// One round: what has waited for `interval` seconds is deleted. 0: deletions are not put off (any more), and servers
/// that wait from before stay until an admin deletes them, as in Nova.
pub async fn collect(app: &App, interval: i64) -> Result<()> {
    if interval <= 0 {
        return Ok(());
    }
    for id in states::overdue(&app.db, Timestamp::now().plus_seconds(-interval), MOST).await? {
        let Some(server) = servers::find(&app.db, &id).await? else { continue };
        if server.deleted_at.is_some()
            || server.vm_state != VmState::SoftDeleted
            || server.task_state.is_some()
        {
            continue;
        }
        let request_id = format!("req-{}", id::uuid());
        // On behalf of its owner, whatever lock it got meanwhile.
        let asker = Asker {
            request_id: &request_id,
            user_id: &server.user_id,
            project_id: &server.project_id,
            admin: true,
        };
        tracing::info!(server = server.id, request_id, "a deleted server is reclaimed");
        if let Err(error) = delete::begin(app, &server, asker).await {
            tracing::warn!(server = server.id, error = error.for_log(), "a deleted server is not reclaimed");
        }
    }
    Ok(())
}
