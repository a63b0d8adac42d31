//! Our own line in os-services: whoever runs the jobs is the conductor.

use crate::{app::App, store::control_services};
use ferrostack_model::{Timestamp, message::ServiceReport};
use ferrostack_settings::machine_name;
use std::{sync::Arc, time::Duration};

/// Between reports: as Nova's `report_interval`.
const INTERVAL: Duration = Duration::from_secs(10);

/// Reports until the service stops.
pub async fn run(app: Arc<App>) {
    let report = ServiceReport { binary: "nova-conductor".into(), host: machine_name() };
    loop {
        if let Err(error) = control_services::report(&app.db, &report, Timestamp::now()).await {
            tracing::info!(error = error.for_log(), "own report not written");
        }
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
