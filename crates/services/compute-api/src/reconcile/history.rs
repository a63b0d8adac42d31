//! Finished jobs are forgotten after a while.

use crate::app::App;
use ferrostack_model::Timestamp;
use std::{sync::Arc, time::Duration};

/// How long finished jobs stay readable, seconds.
const KEEP_SECONDS: i64 = 7 * 86_400;
/// How often old ones are looked for.
const LOOK: Duration = Duration::from_secs(600);

/// Looks until the service stops.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        match ferrostack_jobs::prune(&app.db, Timestamp::now().plus_seconds(-KEEP_SECONDS)).await {
            Ok(0) => {}
            Ok(n) => tracing::info!(jobs = n, "finished jobs forgotten"),
            Err(error) => tracing::info!(error = error.for_log(), "finished jobs not looked for"),
        }
    }
}
