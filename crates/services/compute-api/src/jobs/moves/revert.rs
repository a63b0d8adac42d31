//! Coming back: the new guest goes, the old one is again what it was, with the disk it had.

use super::{Data, Move, MoveTo, Stand, UNMARKED, Want, bind, give, look, share};
use crate::{
    app::App,
    jobs::fault,
    store::{
        Tx, hosts,
        instance_actions::{self as actions, End},
        migrations, move_claims,
        servers::{
            self, change,
            moves::{self, Landed},
        },
    },
};
use async_trait::async_trait;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result,
    migration::Status,
    server::{PowerState, VmState},
};

/// Kind of the job.
pub const KIND: &str = "revert_resize";
/// Its first step.
pub const FIRST: &str = "dest";
/// Name of its first event in instance actions.
pub const EVENT: &str = "compute_revert_resize";
const FINISHING: &str = "compute_finish_revert_resize";

/// The job.
pub struct Revert {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Revert {
    /// The job with its steps.
    pub fn new() -> Self {
        Self { steps: vec![Box::new(Dest), Box::new(Ports), Box::new(Source), Box::new(Finish)] }
    }
}

impl Default for Revert {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for Revert {
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
        for event in [EVENT, FINISHING] {
            actions::event_end(tx, &job.target, request, event, end, true).await?;
        }
        Ok(())
    }
}

/// The new guest goes first: two must never run. A host that says nothing owes us that.
struct Dest;

#[async_trait]
impl Step<App> for Dest {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if this.in_place() {
            return Ok(Outcome::next());
        }
        if data.order.generation != 0 {
            match look(app, job, &mut data, |d| &mut d.order).await? {
                Stand::Done(_) | Stand::Failed { silent: true, .. } => {
                    data.order = Default::default();
                    return Outcome::next().data(&data);
                }
                Stand::Failed { private, .. } => return Err(Error::unavailable(private)),
                Stand::Wait(outcome) => return Ok(*outcome),
                Stand::Again => {}
            }
        }
        let keep = |order| Data { order, ..data.clone() };
        give(app, job, &this, this.dest()?, Want::Destroy, UNMARKED, keep).await
    }
}

struct Ports;

#[async_trait]
impl Step<App> for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        let source = this.source()?;
        let request = job.request_id.as_deref();
        let nics = if this.in_place() {
            this.server.ports.clone()
        } else {
            bind(app, &this, source, request).await.map_err(|e| Error::unavailable(e.for_log()))?
        };
        let mut tx = app.db.begin_write().await?;
        change::set_ports(&mut tx, &job.target, &nics).await?;
        let request = request.unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, false).await?;
        actions::event_begin(&mut tx, &job.target, request, FINISHING, Some(source)).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}

struct Source;

#[async_trait]
impl Step<App> for Source {
    fn name(&self) -> &'static str {
        "source"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if data.order.generation != 0 {
            match look(app, job, &mut data, |d| &mut d.order).await? {
                Stand::Done(power) => {
                    data.power = Some(power);
                    return Outcome::next().data(&data);
                }
                Stand::Failed { message, private, .. } => {
                    data.fault = Some(fault::fault(&message, "", &private));
                    let error = Error::new(ErrorKind::Internal, message).with_internal(private);
                    return Outcome::fail(error).data(&data);
                }
                Stand::Wait(outcome) => return Ok(*outcome),
                Stand::Again => {}
            }
        }
        let old = this.migration.old.clone();
        let want = if this.in_place() {
            Want::Move(MoveTo::Revert(old))
        } else {
            Want::Ensure { size: old, runs: this.ran() }
        };
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
        let source = this.source()?;
        let zone = hosts::get(&app.db, source).await?.map(|row| row.availability_zone).unwrap_or_default();
        let size = &this.migration.old;
        let mut tx = app.db.begin_write().await?;
        let landed = Landed {
            host: source,
            node: this.migration.source.node.as_deref().unwrap_or_default(),
            zone: &zone,
            size,
            vm_state: this.migration.old_vm_state,
            power: data.power.unwrap_or(PowerState::NoState),
        };
        if !moves::land(&mut tx, &job.target, landed).await? {
            return Err(servers::not_found(&job.target));
        }
        move_claims::switch(&mut tx, &job.target, source, share(size)).await?;
        let freed = move_claims::release(&mut tx, &job.target).await?;
        migrations::set_status(&mut tx, data.migration, Status::Reverted).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, FINISHING, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx).after_commit(app.hosts.will_change(freed)))
    }
}
