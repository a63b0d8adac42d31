//! What arrives for compute: heartbeats, reports of guests, answers of agents and schedulers.

use crate::{app::App, reconcile, store};
use async_trait::async_trait;
use ferrostack_bus::{Handler, Source, Verdict};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    host::HostReport,
    message::{
        AgentAnswer, Envelope, GuestPassword, GuestsReport, HostsWanted, Message, Outcome, ScheduleAnswer,
        ServiceReport,
    },
    returning::AgentReturn,
};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Messages handled at once.
const PREFETCH: u16 = 256;
/// Heartbeats written in one transaction.
const BATCH: usize = 256;

type Beat = (HostReport, Timestamp, oneshot::Sender<Result<()>>);

/// The consumer of the queue `compute`.
pub struct Consumer {
    app: Arc<App>,
    beats: mpsc::Sender<Beat>,
}

/// Consumes until the service stops.
pub async fn start(app: &Arc<App>) -> Result<()> {
    let (beats, receiver) = mpsc::channel(BATCH);
    tokio::spawn(write_beats(app.clone(), receiver));
    let consumer = Arc::new(Consumer { app: app.clone(), beats });
    app.bus.consume(Source::Compute, PREFETCH, consumer, app.stop.clone()).await
}

#[async_trait]
impl Handler for Consumer {
    async fn handle(&self, message: Envelope) -> Verdict {
        match self.take(&message).await {
            Ok(()) => Verdict::Ack,
            Err(error) if error.kind == ErrorKind::BadRequest => {
                tracing::warn!(
                    kind = message.kind,
                    id = message.id,
                    error = error.for_log(),
                    "message refused"
                );
                Verdict::Reject
            }
            Err(error) => {
                tracing::info!(kind = message.kind, error = error.for_log(), "message comes again");
                Verdict::Retry
            }
        }
    }
}

impl Consumer {
    async fn take(&self, message: &Envelope) -> Result<()> {
        match message.kind.as_str() {
            HostReport::KIND => self.beat(message.open()?, message.sent_at).await,
            AgentAnswer::KIND => self.agent(message.open()?, message).await,
            ScheduleAnswer::KIND => {
                let answer: ScheduleAnswer = message.open()?;
                self.wake(&answer.job_id, message).await
            }
            AgentReturn::KIND => reconcile::returning::take(&self.app, message.open()?).await,
            GuestPassword::KIND => crate::password::take(&self.app, message.open()?).await,
            GuestsReport::KIND => reconcile::guests::take(&self.app, message.open()?).await,
            HostsWanted::KIND => {
                let wanted: HostsWanted = message.open()?;
                tracing::info!(scheduler = wanted.scheduler, "hosts asked for");
                reconcile::feed::publish(&self.app, None).await
            }
            ServiceReport::KIND => {
                let at = message.sent_at.min(Timestamp::now());
                store::control_services::report(&self.app.db, &message.open()?, at).await
            }
            kind => Err(Error::bad_request(format!("unknown kind {kind}"))),
        }
    }

    async fn wake(&self, job_id: &str, message: &Envelope) -> Result<()> {
        if ferrostack_jobs::wake(&self.app.db, job_id, &message.body).await? {
            self.app.poke();
        }
        Ok(())
    }

    async fn agent(&self, answer: AgentAnswer, message: &Envelope) -> Result<()> {
        if matches!(answer.outcome, Outcome::Done { .. })
            && store::guests::gone(&self.app.db, &answer.server_id, &answer.host, answer.generation).await?
        {
            tracing::info!(server = answer.server_id, host = answer.host, "guest is gone");
        }
        if answer.job_id.is_empty() {
            return Ok(());
        }
        if matches!(answer.outcome, Outcome::Working { .. }) {
            // It may have overtaken, or been overtaken by, the final word: that must not be lost.
            ferrostack_jobs::wake_if_silent(&self.app.db, &answer.job_id, &message.body).await?;
            return Ok(());
        }
        self.wake(&answer.job_id, message).await
    }

    async fn beat(&self, report: HostReport, at: Timestamp) -> Result<()> {
        if report.host.is_empty() || report.host.len() > 255 {
            return Err(Error::bad_request("host.report without a usable host name"));
        }
        let (done, written) = oneshot::channel();
        // A clock that is ahead must not make a dead host look alive.
        let at = at.min(Timestamp::now());
        let closed = |_| Error::unavailable("the service is stopping");
        self.beats.send((report, at, done)).await.map_err(|_| closed(()))?;
        written.await.map_err(|_| closed(()))?
    }
}

/// Writes what has come meanwhile in one transaction, so a thousand hosts cost a few transactions a second.
async fn write_beats(app: Arc<App>, mut receiver: mpsc::Receiver<Beat>) {
    let mut batch: Vec<Beat> = Vec::new();
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            n = receiver.recv_many(&mut batch, BATCH) => if n == 0 { return },
        }
        // Every transaction that writes several hosts does so in the order of their names.
        batch.sort_by(|a, b| a.0.host.cmp(&b.0.host));
        let result = write_batch(&app, &batch).await;
        for (report, _, done) in batch.drain(..) {
            if result.is_ok() {
                app.hosts.changed(&report.host);
            }
            // The waiting handler may be gone with its connection.
            let _ = done.send(result.clone());
        }
    }
}

async fn write_batch(app: &App, batch: &[Beat]) -> Result<()> {
    let mut tx = app.db.begin_write().await?;
    for (report, at, _) in batch {
        if store::hosts::report(&mut tx, report, *at).await? {
            tracing::info!(host = report.host, "host is new or has changed");
        }
    }
    tx.commit().await.map_err(ferrostack_db::db_error)
}
