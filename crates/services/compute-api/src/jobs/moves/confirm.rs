//! Confirming: the old guest, or the disks kept aside of it, go, and with them what they hold of their host.

use super::{Data, Move, MoveTo, Stand, UNMARKED, Want, give, look};
use crate::{
    app::App,
    jobs::fault,
    store::{
        Tx,
        instance_actions::{self as actions, End},
        migrations, move_claims,
        servers::{change, moves},
    },
};
use async_trait::async_trait;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, Result, Timestamp,
    migration::Status,
    server::{PowerState, VmState},
};

/// Kind of the job.
pub const KIND: &str = "confirm_resize";
/// Its first step.
pub const FIRST: &str = "source";
/// Name of its event in instance actions.
pub const EVENT: &str = "compute_confirm_resize";

/// The job.
pub struct Confirm {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Confirm {
    /// The job with its steps.
    pub fn new() -> Self {
        Self { steps: vec![Box::new(Source), Box::new(Finish)] }
    }
}

impl Default for Confirm {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for Confirm {
    fn kind(&self) -> &'static str {
        KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// A part that is down delays it, however long.
    fn max_attempts(&self) -> i64 {
        i64::MAX
    }
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data()?;
        let fault = data.fault.clone().unwrap_or_else(|| fault::of_job(job));
        change::task_failed(tx, &job.target, &fault, Some(VmState::Error)).await?;
        migrations::set_status(tx, data.migration, Status::Error).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
        actions::event_end(tx, &job.target, request, EVENT, end, true).await
    }
}

/// What is left of the old guest goes. A host that says nothing owes us that.
struct Source;

#[async_trait]
impl Step<App> for Source {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if data.order.generation != 0 {
            match look(app, job, &mut data, |d| &mut d.order).await? {
                Stand::Done(_) | Stand::Failed { silent: true, .. } => return Outcome::next().data(&data),
                Stand::Failed { private, .. } => {
                    data.order = Default::default();
                    return Err(Error::unavailable(private));
                }
                Stand::Wait(outcome) => return Ok(*outcome),
                Stand::Again => {}
            }
        }
        let want = if this.in_place() { Want::Move(MoveTo::Forget) } else { Want::Destroy };
        let keep = |order| Data { order, ..data.clone() };
        give(app, job, &this, this.source()?, want, UNMARKED, keep).await
    }
}

struct Finish;

#[async_trait]
impl Step<App> for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        let power = this.server.power_state;
        let vm_state = if power == PowerState::Shutdown { VmState::Stopped } else { VmState::Active };
        let mut tx = app.db.begin_write().await?;
        change::settle(&mut tx, &job.target, vm_state, power, Timestamp::now()).await?;
        moves::hold_quota(&mut tx, &job.target, 0, 0).await?;
        let freed = move_claims::release(&mut tx, &job.target).await?;
        migrations::set_status(&mut tx, data.migration, Status::Confirmed).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx).after_commit(app.hosts.will_change(freed)))
    }
}
