//! Steps, what they answer, and kinds of jobs.

use crate::Job;
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_db::Tx;
use ferrostack_model::{Error, Result, Timestamp, message::Envelope};
use serde::Serialize;
use serde_json::Value;

/// What comes after a run of a step.
#[derive(Debug)]
pub enum Verdict {
    /// On to the next step (when undoing: back to the one before).
    Next,
    /// Run this step again when an answer wakes it, at the latest at this time.
    Wait(Timestamp),
    /// Back to the named earlier step (another host is tried).
    Back(&'static str),
    /// Cannot succeed: undo and fail.
    Fail(Error),
}

/// A message to publish once the step's result is durable.
pub struct Send {
    /// Where to.
    pub to: Address,
    /// What.
    pub message: Envelope,
}

/// A step's result.
pub struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) data: Option<Value>,
    pub(crate) tx: Option<Tx>,
    pub(crate) send: Vec<Send>,
    pub(crate) after: Vec<Box<dyn FnOnce() + std::marker::Send>>,
}

impl Outcome {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, data: None, tx: None, send: Vec::new(), after: Vec::new() }
    }
    /// On to the next step.
    pub fn next() -> Self {
        Self::of(Verdict::Next)
    }
    /// Wait for an answer until `deadline`, then run this step again.
    pub fn wait(deadline: Timestamp) -> Self {
        Self::of(Verdict::Wait(deadline))
    }
    /// Back to an earlier step.
    pub fn back(step: &'static str) -> Self {
        Self::of(Verdict::Back(step))
    }
    /// Undo and fail.
    pub fn fail(error: Error) -> Self {
        Self::of(Verdict::Fail(error))
    }
    /// Replaces the job's data.
    pub fn data<T: Serialize>(mut self, data: &T) -> Result<Self> {
        self.data = Some(serde_json::to_value(data).map_err(|e| Error::internal(format!("job data: {e}")))?);
        Ok(self)
    }
    /// Domain writes that must be in the same transaction as the job's row. Begin it after all I/O.
    #[must_use]
    pub fn in_tx(mut self, tx: Tx) -> Self {
        self.tx = Some(tx);
        self
    }
    /// Runs `hint` after the commit, in this process only and not if it dies: for what others find out anyway.
    #[must_use]
    pub fn after_commit(mut self, hint: impl FnOnce() + std::marker::Send + 'static) -> Self {
        self.after.push(Box::new(hint));
        self
    }
    /// Publishes `message` after the commit.
    #[must_use]
    pub fn send(mut self, to: Address, message: Envelope) -> Self {
        self.send.push(Send { to, message });
        self
    }
}

/// One step of a job. Both methods may run twice, and the process may die anywhere in them.
#[async_trait]
pub trait Step<C: ?Sized>: std::marker::Send + Sync {
    /// Name, unique in its job; stored, so never rename it.
    fn name(&self) -> &'static str;

    /// Does the work. A retryable error runs it again later; any other error fails the job.
    async fn run(&self, cx: &C, job: &Job) -> Result<Outcome>;

    /// Takes back what `run` did, or may have begun. Errors are retried for ever, so undo must be possible.
    async fn undo(&self, _cx: &C, _job: &Job) -> Result<Outcome> {
        Ok(Outcome::next())
    }
}

/// A kind of job: its steps in order and what to write when it has failed.
#[async_trait]
pub trait JobKind<C: ?Sized>: std::marker::Send + Sync {
    /// Name; stored, so never rename it.
    fn kind(&self) -> &'static str;
    /// The steps in order.
    fn steps(&self) -> &[Box<dyn Step<C>>];
    /// Runs of one step that may end in a retryable error before the job fails.
    fn max_attempts(&self) -> i64 {
        40
    }
    /// Domain writes of a job that was undone (server to ERROR, fault), in the transaction that ends it.
    async fn failed(&self, cx: &C, job: &Job, tx: &mut Tx) -> Result<()>;
}
