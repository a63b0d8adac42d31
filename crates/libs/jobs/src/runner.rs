//! Claims due jobs and runs their steps.

use crate::{
    Job, JobKind, Outcome, State, Verdict,
    store::{self, Leave},
    testing::{Fault, Faults},
};
use ferrostack_bus::Bus;
use ferrostack_db::Db;
use ferrostack_model::{Error, Result, Timestamp, id};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How a runner works.
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// Jobs run at once.
    pub parallel: usize,
    /// How long a claim stands without renewal, milliseconds.
    pub lease_ms: i64,
    /// How often the table is searched without being poked, milliseconds.
    pub poll_ms: u64,
    /// First pause after a retryable error, milliseconds; doubles up to 64 times this.
    pub retry_ms: i64,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self { parallel: 64, lease_ms: 15_000, poll_ms: 500, retry_ms: 100 }
    }
}

/// Runs the jobs of one service; any number may work on one table.
pub struct Runner<C: ?Sized> {
    cx: Arc<C>,
    db: Db,
    bus: Arc<dyn Bus>,
    kinds: HashMap<&'static str, Box<dyn JobKind<C>>>,
    options: RunnerOptions,
    owner: String,
    poke: Notify,
    pub(crate) faults: Faults,
}

/// Why a run of a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Waiting, finished or retried later: the row says which.
    Left,
    /// Somebody else has the claim.
    Fenced,
    /// A test's crash: nothing was written and the claim is still held.
    Crashed,
}

impl<C: std::marker::Send + Sync + ?Sized + 'static> Runner<C> {
    /// A runner for `kinds`. Nothing runs before [`Self::start`].
    pub fn new(
        cx: Arc<C>,
        db: Db,
        bus: Arc<dyn Bus>,
        kinds: Vec<Box<dyn JobKind<C>>>,
        options: RunnerOptions,
    ) -> Arc<Self> {
        let kinds = kinds.into_iter().map(|k| (k.kind(), k)).collect();
        let (owner, faults) = (id::uuid(), Faults::default());
        Arc::new(Self { cx, db, bus, kinds, options, owner, poke: Notify::new(), faults })
    }

    /// Says that something may be due. Call it after a commit that enqueued or woke a job.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// The faults to inject: for tests.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Works until `stop`; then finishes the steps that run and releases their claims.
    pub async fn start(self: Arc<Self>, stop: CancellationToken) {
        let limit = Arc::new(Semaphore::new(self.options.parallel.max(1)));
        let tasks = TaskTracker::new();
        let batch = i64::try_from(self.options.parallel).unwrap_or(64) * 2;
        while !stop.is_cancelled() {
            let due = match store::due(&self.db, batch).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(error = error.for_log(), "cannot look for due jobs");
                    Vec::new()
                }
            };
            let mut claimed = 0;
            for job_id in due {
                let Ok(permit) = limit.clone().acquire_owned().await else { break };
                if stop.is_cancelled() {
                    break;
                }
                match store::claim(&self.db, &job_id, &self.owner, self.options.lease_ms).await {
                    Ok(Some(job)) => {
                        claimed += 1;
                        let (me, stop) = (self.clone(), stop.clone());
                        tasks.spawn(async move {
                            me.run(job, &stop).await;
                            drop(permit);
                            // A slot is free and the job may be due again.
                            me.poke.notify_one();
                        });
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(job_id, error = error.for_log(), "cannot claim a job");
                        break;
                    }
                }
            }
            if claimed == 0 {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.poke.notified() => {}
                    () = tokio::time::sleep(Duration::from_millis(self.options.poll_ms)) => {}
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Claims and runs one job now, whatever else is due; for tests. `None` if it is not due or held.
    pub async fn run_one(&self, job_id: &str) -> Result<Option<()>> {
        match store::claim(&self.db, job_id, &self.owner, self.options.lease_ms).await? {
            Some(job) => {
                self.run(job, &CancellationToken::new()).await;
                Ok(Some(()))
            }
            None => Ok(None),
        }
    }

    /// Runs a claimed job step by step until it waits, ends or is lost.
    async fn run(&self, mut job: Job, stop: &CancellationToken) {
        loop {
            let end = match self.step_with_lease(&mut job).await {
                Ok(None) => {
                    if stop.is_cancelled() {
                        self.release(&job, Timestamp::now()).await;
                        return;
                    }
                    continue;
                }
                Ok(Some(end)) => end,
                Err(error) => {
                    // The result could not be written (a deadlock, a database that is away), or nobody knows whether it
                    // was: the row says which step runs next. What is in memory may be ahead of it, and is not written.
                    tracing::warn!(job = job.id, step = job.step, error = error.for_log(), "job not written");
                    // If this fails the lease runs out by itself.
                    let _ = store::renew(&self.db, &job, self.options.lease_ms / 10).await;
                    return;
                }
            };
            if end == End::Fenced {
                tracing::info!(job = job.id, kind = job.kind, step = job.step, "job was taken over");
            }
            return;
        }
    }

    async fn release(&self, job: &Job, run_after: Timestamp) {
        let leave = Leave {
            state: job.state,
            step: &job.step,
            data: &job.data,
            attempt: job.attempt,
            run_after,
            keep_until: None,
            consumed: false,
        };
        if let Ok(mut tx) = self.db.begin_write().await
            && store::leave(&mut tx, job, leave).await.is_ok()
        {
            // If this fails the lease runs out by itself.
            let _ = tx.commit().await;
        }
    }

    /// One step, renewing the lease beside it. `None`: go on with the next.
    async fn step_with_lease(&self, job: &mut Job) -> Result<Option<End>> {
        let snapshot = job.clone();
        let step = self.step(job);
        tokio::pin!(step);
        let pause = Duration::from_millis(u64::try_from(self.options.lease_ms / 3).unwrap_or(1000).max(10));
        loop {
            tokio::select! {
                end = &mut step => return end,
                () = tokio::time::sleep(pause) => {
                    if !store::renew(&self.db, &snapshot, self.options.lease_ms).await.unwrap_or(true) {
                        return Ok(Some(End::Fenced));
                    }
                }
            }
        }
    }

    async fn step(&self, job: &mut Job) -> Result<Option<End>> {
        let Some(kind) = self.kinds.get(job.kind.as_str()) else {
            return Err(Error::internal(format!("no job kind {}", job.kind)));
        };
        let steps = kind.steps();
        let Some(index) = steps.iter().position(|s| s.name() == job.step) else {
            return Err(Error::internal(format!("job kind {} has no step {}", job.kind, job.step)));
        };
        let undoing = job.state == State::Undoing;
        let fault = self.faults.take(&job.step, undoing);
        if fault == Some(Fault::CrashBefore) {
            return Ok(Some(End::Crashed));
        }
        let step = &steps[index];
        let mut result = if fault == Some(Fault::Fail) {
            Err(Error::internal("injected failure"))
        } else if undoing {
            step.undo(&self.cx, job).await
        } else {
            step.run(&self.cx, job).await
        };
        if fault == Some(Fault::Twice) {
            // The first run's transaction is rolled back, as if the process had died before the commit.
            drop(result);
            store::reread_inbox(&self.db, job).await?;
            result = if undoing { step.undo(&self.cx, job).await } else { step.run(&self.cx, job).await };
        }
        if fault == Some(Fault::CrashAfter) {
            return Ok(Some(End::Crashed));
        }
        let outcome = match result {
            // There is nothing behind an undo: it is tried again.
            Ok(Outcome { verdict: Verdict::Fail(error), .. }) if undoing => {
                return self.retry_later(job, &error).await;
            }
            Ok(outcome) => outcome,
            Err(error) if undoing || (error.kind.retryable() && job.attempt + 1 < kind.max_attempts()) => {
                return self.retry_later(job, &error).await;
            }
            Err(error) => Outcome::fail(error),
        };
        let ended = self.write(kind.as_ref(), job, index, outcome).await?;
        if fault == Some(Fault::CrashAfterCommit) {
            return Ok(Some(End::Crashed));
        }
        Ok(ended)
    }

    async fn retry_later(&self, job: &Job, error: &Error) -> Result<Option<End>> {
        let pause = self.options.retry_ms << job.attempt.clamp(0, 6);
        tracing::info!(
            job = job.id,
            kind = job.kind,
            step = job.step,
            attempt = job.attempt,
            error = error.for_log(),
            "step will run again"
        );
        let mut tx = self.db.begin_write().await?;
        let leave = Leave {
            state: job.state,
            step: &job.step,
            data: &job.data,
            attempt: job.attempt + 1,
            run_after: Timestamp::now().plus_millis(pause),
            keep_until: None,
            consumed: false,
        };
        let kept = store::leave(&mut tx, job, leave).await?;
        tx.commit().await.map_err(ferrostack_db::db_error)?;
        Ok(Some(if kept { End::Left } else { End::Fenced }))
    }

    async fn write(
        &self,
        kind: &dyn JobKind<C>,
        job: &mut Job,
        index: usize,
        outcome: Outcome,
    ) -> Result<Option<End>> {
        let Outcome { verdict, data, tx, send, after } = outcome;
        let steps = kind.steps();
        let now = Timestamp::now();
        let mut tx = match tx {
            Some(tx) => tx,
            None => self.db.begin_write().await?,
        };
        let (mut state, mut step, mut run_after) = (job.state, index, now);
        let (mut goes_on, mut consumed) = (true, true);
        match verdict {
            Verdict::Wait(until) => {
                run_after = until;
                goes_on = false;
            }
            Verdict::Back(name) => {
                step = steps
                    .iter()
                    .position(|s| s.name() == name)
                    .ok_or_else(|| Error::internal(format!("job kind {} has no step {name}", job.kind)))?;
            }
            Verdict::Fail(why) => {
                tracing::warn!(
                    job = job.id,
                    kind = job.kind,
                    step = job.step,
                    target = job.target,
                    request_id = job.request_id,
                    error = why.for_log(),
                    "job failed, undoing"
                );
                job.error = Some(why.for_log());
                job.failure = Some(why);
                state = State::Undoing;
                consumed = true;
            }
            Verdict::Next if job.state == State::Undoing => match index.checked_sub(1) {
                Some(before) => step = before,
                None => state = State::Failed,
            },
            Verdict::Next if index + 1 < steps.len() => step = index + 1,
            Verdict::Next => state = State::Done,
        }
        if let Some(data) = data {
            job.data = data;
        }
        if state == State::Failed {
            kind.failed(&self.cx, job, &mut tx).await?;
        }
        goes_on &= !state.is_final();
        let attempt = if step == index && state == job.state { job.attempt } else { 0 };
        let leave = Leave {
            state,
            step: steps[step].name(),
            data: &job.data,
            attempt,
            run_after,
            keep_until: goes_on.then(|| now.plus_millis(self.options.lease_ms)),
            consumed,
        };
        if !store::leave(&mut tx, job, leave).await? {
            return Ok(Some(End::Fenced));
        }
        tx.commit().await.map_err(ferrostack_db::db_error)?;
        for hint in after {
            hint();
        }
        for message in send {
            // Lost messages come back with the step's deadline.
            if let Err(error) = self.bus.publish(&message.to, &message.message).await {
                tracing::info!(job = job.id, step = job.step, error = error.for_log(), "message not sent");
            }
        }
        (job.state, job.step, job.attempt) = (state, steps[step].name().to_owned(), attempt);
        if !goes_on {
            return Ok(Some(End::Left));
        }
        store::reread_inbox(&self.db, job).await?;
        Ok(None)
    }
}
