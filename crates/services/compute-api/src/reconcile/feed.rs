//! Tells the schedulers what became of hosts: changes soon, many of them in one message.

use crate::{app::App, store};
use ferrostack_bus::Address;
use ferrostack_model::{
    Result,
    host::HostState,
    message::{Envelope, HostsUpdate},
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// How long changes are gathered.
const GATHER: Duration = Duration::from_millis(50);
/// Hosts in one message.
const BATCH: usize = 500;

/// The hosts that have changed since the schedulers were told.
#[derive(Clone, Default)]
pub struct HostsFeed(Arc<Changes>);

#[derive(Default)]
struct Changes {
    dirty: Mutex<HashSet<String>>,
    wake: Notify,
}

impl HostsFeed {
    /// A host has changed: heartbeat, claim, operator. Call it after the commit.
    pub fn changed(&self, host: &str) {
        self.0.dirty.lock().insert(host.to_owned());
        self.0.wake.notify_one();
    }

    /// The same as something to do later.
    pub fn will_change(&self, host: Option<String>) -> impl FnOnce() + Send + 'static {
        let feed = self.clone();
        move || {
            if let Some(host) = host {
                feed.changed(&host);
            }
        }
    }
}

/// Publishes changes until the service stops.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = app.hosts.0.wake.notified() => {}
        }
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(GATHER) => {}
        }
        let dirty = std::mem::take(&mut *app.hosts.0.dirty.lock());
        if dirty.is_empty() {
            continue;
        }
        if let Err(error) = publish(&app, Some(&dirty)).await {
            // Every heartbeat marks its host again, so nothing is lost for longer than that.
            tracing::info!(error = error.for_log(), "hosts not told to the schedulers");
        }
    }
}

/// Tells the states of `only` these hosts, or of all.
pub async fn publish(app: &App, only: Option<&HashSet<String>>) -> Result<()> {
    let busy: HashMap<String, i64> = store::hosts::busy(&app.db).await?.into_iter().collect();
    let mut aggregates = store::aggregates::by_host(&app.db).await?;
    let hosts = match only {
        // A handful is read one by one, more in one go.
        Some(names) if names.len() <= 8 => {
            let mut hosts = Vec::with_capacity(names.len());
            for name in names {
                hosts.extend(store::hosts::get(&app.db, name).await?);
            }
            hosts
        }
        _ => store::hosts::list(&app.db).await?,
    };
    let states: Vec<HostState> = hosts
        .iter()
        .filter(|h| only.is_none_or(|names| names.contains(&h.host)))
        .map(|h| {
            let aggregates = aggregates.remove(&h.host).unwrap_or_default();
            h.state(&app.settings.compute, busy.get(&h.host).copied().unwrap_or(0), aggregates)
        })
        .collect();
    let full = only.is_none();
    if full {
        // One message: "these are all" cannot be said in parts.
        return send(app, HostsUpdate { hosts: states, full }).await;
    }
    for part in states.chunks(BATCH) {
        send(app, HostsUpdate { hosts: part.to_vec(), full }).await?;
    }
    Ok(())
}

async fn send(app: &App, update: HostsUpdate) -> Result<()> {
    app.bus.publish(&Address::Hosts, &Envelope::new(&update, None)?).await
}
