//! Resizes that nobody decided about are confirmed after a while (`compute.resize_confirm_window`).

use crate::{
    app::App,
    jobs::moves::begin,
    store::{instance_actions::Asker, migrations, servers},
};
use ferrostack_model::{Result, Timestamp, id};
use std::{sync::Arc, time::Duration};

/// Resizes looked at in one round.
const ROUND: i64 = 100;

/// Looks until the service stops; at once back if resizes are never confirmed so.
pub async fn run(app: Arc<App>) {
    let window = app.settings.compute.resize_confirm_window;
    if window <= 0 {
        return;
    }
    let pause = Duration::from_secs(u64::try_from(window / 4).unwrap_or(0).clamp(1, 60));
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if let Err(error) = confirm(&app, window).await {
            tracing::info!(error = error.for_log(), "undecided resizes not looked for");
        }
    }
}

/// One round: what has waited `window` seconds is confirmed.
pub async fn confirm(app: &App, window: i64) -> Result<()> {
    for migration in migrations::undecided(&app.db, Timestamp::now().plus_seconds(-window), ROUND).await? {
        let Some(server) = servers::find(&app.db, &migration.server_id).await? else { continue };
        let request_id = format!("req-{}", id::uuid());
        let asker = Asker {
            request_id: &request_id,
            user_id: &migration.user_id,
            project_id: &migration.project_id,
            admin: true,
        };
        // One whose user is deciding just now, or whose state was reset, is left to them.
        if let Err(error) = begin::confirm(app, server, asker).await {
            let log = error.for_log();
            tracing::info!(server = migration.server_id, error = log, "resize not confirmed by itself");
        }
    }
    Ok(())
}
