//! One host: its hypervisor, its queue of orders, one task per guest.

use crate::{
    files::Files,
    metrics,
    outbox::Outbox,
    perform::Performed,
    store::{
        Ledger,
        orders::{OrderRow, verb},
    },
};
use ferrostack_bus::Bus;
use ferrostack_hypervisor::Hypervisor;
use ferrostack_model::{Result, Timestamp, message::Outcome};
use ferrostack_settings::{Agent, HypervisorKind};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Pause after a failure of the ledger itself.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

/// What all hosts of one agent process share.
pub struct Shared {
    /// The agent's settings.
    pub settings: Agent,
    /// Base URL of our HTTP endpoint, as compute-api reaches it.
    pub url: OnceLock<String>,
    /// The ledger.
    pub ledger: Ledger,
    /// Image cache and config drives.
    pub files: Files,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Answers on their way.
    pub outbox: Outbox,
    /// This start of the agent.
    pub started: Timestamp,
    /// Every task.
    pub tasks: TaskTracker,
    /// No new work.
    pub stop: CancellationToken,
    /// Drop everything where it stands, as the death of the process would.
    pub kill: CancellationToken,
}

impl Shared {
    /// Memory kept from guests, MiB; fake hosts have nothing else to run.
    pub fn reserved_memory_mb(&self) -> i64 {
        if self.is_fake() { 0 } else { self.settings.reserved_host_memory_mb }
    }

    /// Disk kept from guests, GiB.
    pub fn reserved_disk_gb(&self) -> i64 {
        if self.is_fake() { 0 } else { self.settings.reserved_host_disk_gb }
    }

    fn is_fake(&self) -> bool {
        self.settings.hypervisor == HypervisorKind::Fake
    }

    /// Runs `task` until it ends or [`Self::kill`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = kill.cancelled() => {}
                () = task => {}
            }
        });
    }
}

/// A guest's task.
struct Worker {
    /// Something came while it worked.
    again: bool,
    /// Cancelled when something comes, so that waiting ends.
    newer: CancellationToken,
    /// A power event came while it worked.
    event: bool,
}

/// One host.
pub struct Host {
    /// Service host name.
    pub name: String,
    /// What runs its guests.
    pub hypervisor: Arc<dyn Hypervisor>,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Servers whose orders of an earlier start wait for the control plane's word.
    pub(crate) returning: Mutex<Vec<String>>,
    workers: Mutex<HashMap<String, Worker>>,
}

impl Host {
    /// A host that does nothing yet.
    pub fn new(name: String, hypervisor: Arc<dyn Hypervisor>, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { name, hypervisor, shared, returning: Mutex::default(), workers: Mutex::default() })
    }

    /// Lets the guest's task look into the ledger; starts the task if there is none.
    pub fn poke(self: &Arc<Self>, server_id: &str) {
        {
            let mut workers = self.workers.lock();
            if let Some(worker) = workers.get_mut(server_id) {
                worker.again = true;
                worker.newer.cancel();
                return;
            }
            let worker = Worker { again: false, newer: CancellationToken::new(), event: false };
            workers.insert(server_id.to_owned(), worker);
        }
        let (host, server_id) = (self.clone(), server_id.to_owned());
        self.shared.spawn(async move { host.work(&server_id).await });
    }

    /// Notes a power event of a guest that is being worked on; `false` if it is not.
    pub fn defer_event(&self, server_id: &str) -> bool {
        let mut workers = self.workers.lock();
        let worker = workers.get_mut(server_id);
        worker.map(|w| w.event = true).is_some()
    }

    /// Works on the guest's orders until there are none.
    async fn work(self: &Arc<Self>, server_id: &str) {
        while !self.shared.stop.is_cancelled() {
            let newer = {
                let mut workers = self.workers.lock();
                let Some(worker) = workers.get_mut(server_id) else { return };
                worker.again = false;
                worker.newer = CancellationToken::new();
                worker.newer.clone()
            };
            match self.work_once(server_id, &newer).await {
                Ok(true) => {}
                Ok(false) => match self.end_worker(server_id) {
                    None => {}
                    Some(event) => {
                        if event {
                            self.report_guest(server_id).await;
                        }
                        return;
                    }
                },
                Err(error) => {
                    tracing::error!(
                        host = self.name,
                        server = server_id,
                        error = error.for_log(),
                        "ledger failed"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(LEDGER_PAUSE) => {}
                        () = self.shared.stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Takes the task off the list unless something came meanwhile; then says whether an event was put off.
    fn end_worker(&self, server_id: &str) -> Option<bool> {
        let mut workers = self.workers.lock();
        if workers.get(server_id).is_some_and(|w| w.again) {
            return None;
        }
        Some(workers.remove(server_id).is_some_and(|w| w.event))
    }

    /// One order; `false` if there was none.
    async fn work_once(self: &Arc<Self>, server_id: &str, newer: &CancellationToken) -> Result<bool> {
        let (next, superseded) = self.shared.ledger.next(&self.name, server_id).await?;
        for row in superseded {
            self.shared.outbox.order(&row, Outcome::Superseded);
        }
        let Some(row) = next else { return Ok(false) };
        let begin = Instant::now();
        metrics::BUSY.inc();
        let performed = self.perform(&row, newer).await;
        metrics::BUSY.dec();
        match performed {
            Performed::Outcome(outcome) => {
                let order = row.order.as_ref().map_or("unreadable", verb);
                let result = if matches!(outcome, Outcome::Done { .. }) { "done" } else { "failed" };
                metrics::ORDERS.with_label_values(&[order, result]).inc();
                metrics::SECONDS.with_label_values(&[order]).observe(begin.elapsed().as_secs_f64());
                self.close(&row, outcome).await?;
            }
            // A newer order or the end of the agent: the ledger knows the rest.
            Performed::Interrupted => {}
        }
        Ok(true)
    }

    async fn close(&self, row: &OrderRow, outcome: Outcome) -> Result<()> {
        self.shared.ledger.close(row, &outcome).await?;
        tracing::info!(
            host = self.name,
            server = row.server_id,
            generation = row.generation,
            request_id = row.request_id,
            order = row.order.as_ref().map(verb),
            outcome = ?outcome,
            "order closed"
        );
        self.shared.outbox.order(row, outcome);
        Ok(())
    }
}
