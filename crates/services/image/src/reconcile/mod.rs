//! What brings records and stores back together, with no input but the two: on a timer, and when woken.

pub mod objects;
pub mod tasks;
pub mod uploads;

use crate::app::App;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Every so many rounds the store directories are compared with the records.
const SWEEP_EVERY: u64 = 12;
/// Every so many rounds all other stores are, too.
const SWEEP_ALL_EVERY: u64 = 60;

/// Runs until `stop`. The first round is at once and complete.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let pause = Duration::from_millis(app.settings.reconcile_ms.max(10));
    for round in 0_u64.. {
        if let Err(error) = uploads::reconcile(&app).await {
            tracing::warn!(error = error.for_log(), "uploads not reconciled");
        }
        if let Err(error) = tasks::reconcile(&app, round % SWEEP_EVERY == 0).await {
            tracing::warn!(error = error.for_log(), "ended imports not cleared away");
        }
        if round % SWEEP_EVERY == 0
            && let Err(error) = objects::reconcile(&app, round % SWEEP_ALL_EVERY == 0).await
        {
            tracing::warn!(error = error.for_log(), "stores not swept");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = app.work.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
