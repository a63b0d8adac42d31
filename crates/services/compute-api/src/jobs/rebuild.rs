//! Making a server's guest anew, where it is. What it holds of its host stays as it is: nothing is claimed.

use crate::{
    app::App,
    jobs::{
        fault,
        give::{self, Given, give},
        guest,
        order::Pending,
    },
    placement,
    store::{
        Tx,
        instance_actions::{self as actions, End},
        servers::{
            self, Fault, change,
            rebuild::{self, Boot},
        },
    },
};
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    guest::WantedPower,
    message::{Envelope, Order, ScheduleAnswer, ScheduleRequest},
    placement::PlacementRequest,
    server::{PowerState, TaskState, VmState},
};
use serde::{Deserialize, Serialize};

/// Kind of the job.
pub const KIND: &str = "rebuild";
/// Its first step.
pub const FIRST: &str = "schedule";
/// Name of its event in instance actions.
pub const EVENT: &str = "compute_rebuild_instance";

/// What the job knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// Keep the second disk and the swap disk.
    pub preserve_ephemeral: bool,
    /// Whether it is shut off, and stays so.
    pub stopped: bool,
    /// What it booted from, if that changes: its host is then asked whether it takes the new image.
    pub before: Option<Boot>,
    /// Number of the latest request to the scheduler.
    pub round: i64,
    /// When the scheduler is asked again.
    pub due: Timestamp,
    /// The order to the agent.
    pub order: Pending,
    /// Power state after it.
    pub power: Option<PowerState>,
    /// Why it fails.
    pub fault: Option<Fault>,
}

/// The job.
pub struct Rebuild {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Rebuild {
    /// The job with its steps.
    pub fn new() -> Self {
        Self { steps: vec![Box::new(Schedule), Box::new(Spawn), Box::new(Finish)] }
    }
}

impl Default for Rebuild {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for Rebuild {
    fn kind(&self) -> &'static str {
        KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// As in Nova the server is in ERROR, with its old image if the guest was not touched.
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data()?;
        let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
        change::task_failed(tx, &job.target, &fault, Some(VmState::Error)).await?;
        change::forget_secrets(tx, &job.target).await?;
        if let Some(before) = data.before.filter(|_| data.order.generation == 0) {
            rebuild::boot_from(tx, &job.target, &before).await?;
        }
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
        actions::event_end(tx, &job.target, request, EVENT, end, true).await
    }
}

fn fail(mut data: Data, kind: ErrorKind, fault: Fault) -> Result<Outcome> {
    let error = Error::new(kind, fault.message.clone()).with_internal(fault.private.clone());
    data.fault = Some(fault);
    Outcome::fail(error).data(&data)
}

/// Another image goes through the filters, on the one host there is for it (CVE-2017-16239).
struct Schedule;

#[async_trait]
impl Step<App> for Schedule {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if data.before.is_none() {
            return Ok(Outcome::next());
        }
        if let Some(answer) = job.answer::<ScheduleAnswer>()
            && answer.job_id == job.id
            && answer.attempt == data.round
        {
            let decision = answer.decision;
            if decision.hosts.is_empty() {
                let fault = fault::no_valid_host(&decision.rejections, decision.considered, &[]);
                return fail(data, ErrorKind::NoCapacity, fault);
            }
            return Ok(Outcome::next());
        }
        let now = Timestamp::now();
        if now < data.due {
            return Ok(Outcome::wait(data.due));
        }
        data.round += 1;
        data.due = now.plus_millis(app.timing.schedule_ms);
        let server = servers::get(&app.db, &job.target).await?;
        let wish = PlacementRequest {
            host: Some(give::host(&server)?),
            rebuild: true,
            // The host is the server's already, whatever became of its zone.
            availability_zone: None,
            ..placement::request(app, &server).await?
        };
        let request = ScheduleRequest {
            job_id: job.id.clone(),
            server_id: server.id.clone(),
            generation: server.generation,
            attempt: data.round,
            request: wish,
        };
        let message = Envelope::new(&request, job.request_id.as_deref())?.at_generation(server.generation);
        Ok(Outcome::wait(data.due).data(&data)?.send(Address::Scheduler, message))
    }
}

/// The agent fetches what it needs, then wipes the disks and makes the guest.
struct Spawn;

#[async_trait]
impl Step<App> for Spawn {
    fn name(&self) -> &'static str {
        "spawn"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        let inputs = servers::inputs(&app.db, &server.id).await?;
        let host = give::host(&server)?;
        let (stopped, preserve_ephemeral) = (data.stopped, data.preserve_ephemeral);
        let order = |generation| {
            let mut spec = guest::spec(&server, inputs, generation);
            spec.power = if stopped { WantedPower::Stopped } else { WantedPower::Running };
            Order::Rebuild { spec: Box::new(spec), preserve_ephemeral }
        };
        let task = Some(TaskState::RebuildSpawning);
        match give(app, job, &mut data.order, &host, task, order).await? {
            Given::Done(power) => {
                data.power = Some(power);
                Outcome::next().data(&data)
            }
            Given::Failed(fault) => fail(data, ErrorKind::Internal, fault),
            Given::Wait(outcome) => outcome.data(&data),
        }
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
        let (vm_state, power) = match data.stopped {
            true => (VmState::Stopped, PowerState::Shutdown),
            false => (VmState::Active, PowerState::Running),
        };
        let mut tx = app.db.begin_write().await?;
        rebuild::done(&mut tx, &job.target, vm_state, data.power.unwrap_or(power)).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}
