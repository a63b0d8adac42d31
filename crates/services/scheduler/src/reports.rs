//! Tells compute-api that this scheduler lives, for os-services.

use ferrostack_bus::{Address, Bus};
use ferrostack_model::{
    Result,
    message::{Envelope, ServiceReport},
};
use ferrostack_settings::machine_name;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between reports: as Nova's `report_interval`.
const INTERVAL: Duration = Duration::from_secs(10);

/// Reports until the scheduler stops.
pub async fn run(bus: Arc<dyn Bus>, stop: CancellationToken) {
    let report = ServiceReport { binary: "nova-scheduler".into(), host: machine_name() };
    loop {
        if let Err(error) = send(bus.as_ref(), &report).await {
            // The next one comes soon.
            tracing::debug!(error = error.for_log(), "report not sent");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn send(bus: &dyn Bus, report: &ServiceReport) -> Result<()> {
    bus.publish(&Address::Compute, &Envelope::new(report, None)?).await
}
