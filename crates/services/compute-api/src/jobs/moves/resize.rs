//! Going: a host is chosen and claimed, the guest shut off, its disk moved or kept aside, the guest started in its new
//! size. Then the server waits for confirm or revert; until then its old guest and both claims stay.

use super::{Data, Move, MoveTo, Stand, UNMARKED, Want, bind, give, look, share};
use crate::{
    app::App,
    jobs::fault,
    placement,
    store::{
        Tx, hosts,
        instance_actions::{self as actions, End},
        migrations::{self, Place},
        move_claims,
        servers::{
            self, Fault, change,
            moves::{self, Landed},
        },
    },
};
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    guest_move::Origin,
    message::{Envelope, ScheduleAnswer, ScheduleRequest},
    migration::Status,
    placement::{Held, PlacementRequest},
    server::{PowerState, TaskState, VmState},
};

/// Kind of the job.
pub const KIND: &str = "resize";
/// Its first step.
pub const FIRST: &str = "schedule";
/// Name of its first event in instance actions.
pub const EVENT: &str = "compute_prep_resize";
const MOVING: &str = "compute_resize_instance";
const FINISHING: &str = "compute_finish_resize";
/// Rounds in which every choice was taken by others, before the move fails.
const MAX_LOST_ROUNDS: i64 = 20;

/// The job.
pub struct Resize {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Resize {
    /// The job with its steps.
    pub fn new() -> Self {
        Self {
            steps: vec![
                Box::new(Schedule),
                Box::new(Claim),
                Box::new(Stop),
                Box::new(Ports),
                Box::new(Disks),
                Box::new(Start),
                Box::new(Finish),
            ],
        }
    }
}

impl Default for Resize {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for Resize {
    fn kind(&self) -> &'static str {
        KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// The server is what and where it was, unless its guest did not come back.
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data()?;
        let fault = data.fault.clone().unwrap_or_else(|| fault::of_job(job));
        let vm_state = data.broken.then_some(VmState::Error);
        change::task_failed(tx, &job.target, &fault, vm_state).await?;
        moves::hold_quota(tx, &job.target, 0, 0).await?;
        migrations::set_status(tx, data.migration, Status::Error).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        let details = format!("{} {}", fault.message, fault.details).trim_end().to_owned();
        let end = End { success: false, details: Some(&details), traceback: Some(&fault.private) };
        for event in [EVENT, MOVING, FINISHING] {
            actions::event_end(tx, &job.target, request, event, end, true).await?;
        }
        Ok(())
    }
}

fn fail(mut data: Data, fault: Fault) -> Result<Outcome> {
    let error = Error::new(ErrorKind::NoCapacity, fault.message.clone()).with_internal(fault.private.clone());
    data.fault = Some(fault);
    Outcome::fail(error).data(&data)
}

struct Schedule;

async fn placement(app: &App, this: &Move, data: &Data) -> Result<PlacementRequest> {
    let (source, size) = (this.source()?.to_owned(), &this.migration.new);
    let (want, held) = (share(size), share(&this.migration.old));
    Ok(PlacementRequest {
        vcpus: want.vcpus,
        memory_mb: want.memory_mb,
        disk_gb: want.local_gb,
        extra_specs: size.flavor.extra_specs.clone(),
        host: data.wanted_host.clone(),
        excluded_hosts: if data.same_host { Vec::new() } else { vec![source.clone()] },
        held: data.same_host.then_some(Held {
            host: source,
            vcpus: held.vcpus,
            memory_mb: held.memory_mb,
            disk_gb: held.local_gb,
        }),
        ..placement::request(app, &this.server).await?
    })
}

#[async_trait]
impl Step<App> for Schedule {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if !data.answered
            && let Some(answer) = job.answer::<ScheduleAnswer>()
            && answer.job_id == job.id
            && answer.attempt == data.round
        {
            let decision = answer.decision;
            if decision.hosts.is_empty() {
                let fault = fault::no_valid_host(&decision.rejections, decision.considered, &[]);
                return fail(data, fault);
            }
            (data.hosts, data.answered) = (decision.hosts, true);
            return Outcome::next().data(&data);
        }
        let now = Timestamp::now();
        if now < data.due {
            return Ok(Outcome::wait(data.due));
        }
        if data.round == 0 || data.answered {
            (data.round, data.answered) = (data.round + 1, false);
        }
        data.due = now.plus_millis(app.timing.schedule_ms);
        let this = Move::of(app, job, &data).await?;
        let request = ScheduleRequest {
            job_id: job.id.clone(),
            server_id: job.target.clone(),
            generation: this.server.generation,
            attempt: data.round,
            request: placement(app, &this, &data).await?,
        };
        let message =
            Envelope::new(&request, job.request_id.as_deref())?.at_generation(this.server.generation);
        Ok(Outcome::wait(data.due).data(&data)?.send(Address::Scheduler, message))
    }
}

struct Claim;

#[async_trait]
impl Step<App> for Claim {
    fn name(&self) -> &'static str {
        "claim"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        let (source, want) = (this.source()?, share(&this.migration.new));
        let mut addresses = Vec::new();
        for host in std::mem::take(&mut data.hosts) {
            let row = hosts::get(&app.db, &host).await?;
            addresses.extend(row.map(|row| (host, row.report.host_ip)));
        }
        let mut tx = app.db.begin_write().await?;
        // The server's row is locked before the host's and the job's, here and everywhere.
        if !moves::stage(&mut tx, &job.target, TaskState::ResizePrep).await? {
            return Err(servers::not_found(&job.target));
        }
        for (host, address) in addresses {
            let settings = &app.settings.compute;
            let claimed = move_claims::claim(&mut tx, &job.target, &host, want, settings, false).await?;
            let Some(claimed) = claimed else { continue };
            let place = Place { host: Some(host.clone()), node: Some(claimed.node) };
            migrations::set_dest(&mut tx, data.migration, &place, Some(&address)).await?;
            migrations::set_status(&mut tx, data.migration, Status::PreMigrating).await?;
            let request = job.request_id.as_deref().unwrap_or("");
            actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, false).await?;
            actions::event_begin(&mut tx, &job.target, request, MOVING, Some(source)).await?;
            let hint = app.hosts.will_change(Some(host));
            return Ok(Outcome::next().data(&data)?.in_tx(tx).after_commit(hint));
        }
        data.lost += 1;
        if data.lost > MAX_LOST_ROUNDS {
            drop(tx);
            return fail(data, fault::no_valid_host(&[], 0, &[]));
        }
        // Others were faster. The schedulers hear of their claims meanwhile.
        data.due = Timestamp::now().plus_millis(app.timing.lost_claim_ms * data.lost.min(8));
        Ok(Outcome::back(FIRST).data(&data)?.in_tx(tx))
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut tx = app.db.begin_write().await?;
        change::next_generation(&mut tx, &job.target).await?;
        let freed = move_claims::release(&mut tx, &job.target).await?;
        Ok(Outcome::next().in_tx(tx).after_commit(app.hosts.will_change(freed)))
    }
}

/// Shuts the guest off; its undo brings the old guest back as it was, wherever its disks are.
struct Stop;

#[async_trait]
impl Step<App> for Stop {
    fn name(&self) -> &'static str {
        "stop"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if data.order.generation != 0 {
            match look(app, job, &mut data, |d| &mut d.order).await? {
                Stand::Done(_) => {
                    data.order = Default::default();
                    return Outcome::next().data(&data);
                }
                Stand::Failed { message, private, .. } => {
                    return fail(data, fault::fault(&message, "", &private));
                }
                Stand::Wait(outcome) => return Ok(*outcome),
                Stand::Again => {}
            }
        }
        let mark = (Some(TaskState::ResizeMigrating), Some(Status::Migrating));
        let keep = |order| Data { order, ..data.clone() };
        give(app, job, &this, this.source()?, Want::Stop, mark, keep).await
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if data.undo.generation != 0 && data.undo.host == this.source()? {
            match look(app, job, &mut data, |d| &mut d.undo).await? {
                Stand::Done(_) => {
                    data.undo = Default::default();
                    return Outcome::next().data(&data);
                }
                Stand::Failed { .. } => {
                    (data.broken, data.undo) = (true, Default::default());
                    return Outcome::next().data(&data);
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
        let keep = |undo| Data { undo, ..data.clone() };
        give(app, job, &this, this.source()?, want, UNMARKED, keep).await
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
        if this.in_place() {
            return Ok(Outcome::next());
        }
        let nics = bind(app, &this, this.dest()?, job.request_id.as_deref()).await?;
        let mut tx = app.db.begin_write().await?;
        change::set_ports(&mut tx, &job.target, &nics).await?;
        Ok(Outcome::next().in_tx(tx))
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if !this.in_place() {
            bind(app, &this, this.source()?, job.request_id.as_deref()).await?;
        }
        Ok(Outcome::next())
    }
}

struct Disks;

#[async_trait]
impl Step<App> for Disks {
    fn name(&self) -> &'static str {
        "disks"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if data.order.generation != 0 {
            match look(app, job, &mut data, |d| &mut d.order).await? {
                Stand::Done(_) => {
                    data.order = Default::default();
                    let request = job.request_id.as_deref().unwrap_or("");
                    let mut tx = app.db.begin_write().await?;
                    moves::stage(&mut tx, &job.target, TaskState::ResizeMigrated).await?;
                    migrations::set_status(&mut tx, data.migration, Status::PostMigrating).await?;
                    actions::event_end(&mut tx, &job.target, request, MOVING, actions::SUCCESS, false)
                        .await?;
                    actions::event_begin(&mut tx, &job.target, request, FINISHING, Some(this.dest()?))
                        .await?;
                    return Ok(Outcome::next().data(&data)?.in_tx(tx));
                }
                Stand::Failed { message, private, .. } => {
                    return fail(data, fault::fault(&message, "", &private));
                }
                Stand::Wait(outcome) => return Ok(*outcome),
                Stand::Again => {}
            }
        }
        let size = this.migration.new.clone();
        let step = if this.in_place() {
            MoveTo::Resize(size)
        } else {
            let host = this.source()?.to_owned();
            let row = hosts::get(&app.db, &host).await?;
            let row = row.ok_or_else(|| Error::internal(format!("host {host} is not known")))?;
            MoveTo::Receive(Origin { host, agent_url: row.report.agent_url }, size)
        };
        let keep = |order| Data { order, ..data.clone() };
        give(app, job, &this, this.dest()?, Want::Move(step), UNMARKED, keep).await
    }

    /// What is on the other host goes, and with it a copy under way. A host that says nothing owes us that.
    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if this.in_place() {
            return Ok(Outcome::next());
        }
        if data.undo.generation != 0 && data.undo.host == this.dest()? {
            match look(app, job, &mut data, |d| &mut d.undo).await? {
                Stand::Wait(outcome) => return Ok(*outcome),
                Stand::Again => {}
                Stand::Done(_) | Stand::Failed { .. } => {
                    data.undo = Default::default();
                    return Outcome::next().data(&data);
                }
            }
        }
        let keep = |undo| Data { undo, ..data.clone() };
        give(app, job, &this, this.dest()?, Want::Destroy, UNMARKED, keep).await
    }
}

/// Starts the guest in its new size, if it ran before.
struct Start;

#[async_trait]
impl Step<App> for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let this = Move::of(app, job, &data).await?;
        if data.order.generation != 0 {
            match look(app, job, &mut data, |d| &mut d.order).await? {
                Stand::Done(power) => {
                    (data.order, data.power) = (Default::default(), Some(power));
                    return Outcome::next().data(&data);
                }
                Stand::Failed { message, private, .. } => {
                    return fail(data, fault::fault(&message, "", &private));
                }
                Stand::Wait(outcome) => return Ok(*outcome),
                Stand::Again => {}
            }
        }
        let mark = (Some(TaskState::ResizeFinish), None);
        let want = Want::Ensure { size: this.migration.new.clone(), runs: this.ran() };
        let keep = |order| Data { order, ..data.clone() };
        give(app, job, &this, this.dest()?, want, mark, keep).await
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
        let (source, dest) = (this.source()?.to_owned(), this.dest()?);
        let row = hosts::get(&app.db, dest).await?;
        let zone = row.map(|row| row.availability_zone).unwrap_or_default();
        let size = &this.migration.new;
        let mut tx = app.db.begin_write().await?;
        let landed = Landed {
            host: dest,
            node: this.migration.dest.node.as_deref().unwrap_or_default(),
            zone: &zone,
            size,
            vm_state: VmState::Resized,
            power: data.power.unwrap_or(PowerState::Shutdown),
        };
        if !moves::land(&mut tx, &job.target, landed).await? {
            return Err(servers::not_found(&job.target));
        }
        if let Some(disk_config) = &data.disk_config {
            moves::set_disk_config(&mut tx, &job.target, disk_config).await?;
        }
        move_claims::switch(&mut tx, &job.target, dest, share(size)).await?;
        migrations::set_status(&mut tx, data.migration, Status::Finished).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, FINISHING, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx).after_commit(app.hosts.will_change(Some(source))))
    }
}
