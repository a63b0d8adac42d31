//! Sends the notifications that wait, oldest first; each at least once.

use crate::{app::App, store::notifications};
use ferrostack_bus::Topic;
use ferrostack_model::{Result, Timestamp, id};
use std::{sync::Arc, time::Duration};

/// How often it is looked for new ones.
const LOOK: Duration = Duration::from_millis(200);
/// How long a batch is one replica's, seconds: longer than the broker may take to answer.
const LEASE_SECONDS: i64 = 60;
/// Sent together.
const BATCH: i64 = 100;

/// Sends until the service stops.
pub async fn run(app: Arc<App>) {
    if !app.settings.compute.notifications.enabled {
        return;
    }
    let owner = id::uuid();
    loop {
        match send(&app, &owner).await {
            // There may be more.
            Ok(sent) if sent == BATCH => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(error = error.for_log(), "notifications wait"),
        }
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// One batch; how many.
pub async fn send(app: &App, owner: &str) -> Result<i64> {
    let until = Timestamp::now().plus_seconds(LEASE_SECONDS);
    let found = notifications::claim(&app.db, owner, until, BATCH).await?;
    let settings = &app.settings.compute.notifications;
    // What follows one another with the same priority goes together; the order stays.
    for group in found.chunk_by(|a, b| a.priority == b.priority) {
        let bodies: Vec<Vec<u8>> = group.iter().map(|one| one.body.clone().into_bytes()).collect();
        let priority = group.first().map(|one| one.priority.to_lowercase()).unwrap_or_default();
        for topic in &settings.topics {
            let topic = Topic {
                exchange: settings.exchange.clone(),
                key: format!("{topic}.{priority}"),
                durable: settings.durable,
            };
            app.bus.notify(&topic, &bodies).await?;
        }
        notifications::remove(&app.db, owner, group).await?;
    }
    Ok(i64::try_from(found.len()).unwrap_or(BATCH))
}
