//! Making a server: choose a host, claim it, bind ports, have the agent make the guest.

use crate::{
    app::App,
    jobs::{
        fault,
        guest::{self, Destroyed, Destroying},
        order::{self, News, Pending},
        ports,
        unshelve::{self, Unshelving},
    },
    placement,
    store::{
        Tx, claims, guests,
        instance_actions::{self as actions, End},
        servers::{self, Fault, Server, change},
    },
};
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    message::{Envelope, Order, ScheduleAnswer, ScheduleRequest},
    placement::{PlacementRequest, Rejection},
    server::{PowerState, TaskState, VmState},
};
use serde::{Deserialize, Serialize};

/// Kind of the job.
pub const KIND: &str = "build";
/// Its first step.
pub const FIRST: &str = "schedule";
/// Name of its event in instance actions.
pub const EVENT: &str = "compute__do_build_and_run_instance";
/// Rounds in which every choice was taken by others, before the build fails.
const MAX_LOST_ROUNDS: i64 = 20;

/// What the job knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// `zone:host`: that host even if it is disabled.
    pub forced: bool,
    /// Host an admin asked for.
    pub forced_host: Option<String>,
    /// Hypervisor an admin asked for.
    pub forced_node: Option<String>,
    /// Number of the latest request to the scheduler.
    pub round: i64,
    /// Whether that request was answered and its hosts are used up.
    pub answered: bool,
    /// When the scheduler is asked again.
    pub due: Timestamp,
    /// Chosen hosts that were not tried yet.
    pub hosts: Vec<String>,
    /// Rounds in which every choice was lost.
    pub lost: i64,
    /// Hosts on which the build failed, and why.
    pub failed: Vec<(String, String)>,
    /// The claimed host.
    pub host: Option<String>,
    /// The order to its agent.
    pub order: Pending,
    /// Power state after it.
    pub power: Option<PowerState>,
    /// Why the build fails.
    pub fault: Option<Fault>,
    /// The undo of a guest.
    pub destroying: Destroying,
    /// Of a server that comes back from the shelf.
    pub unshelve: Option<Unshelving>,
}

impl Data {
    /// Name of the event that the job is.
    fn event(&self) -> &'static str {
        if self.unshelve.is_some() { unshelve::EVENT } else { EVENT }
    }
}

/// The job.
pub struct Build {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Build {
    /// The job with its steps.
    pub fn new() -> Self {
        Self {
            steps: vec![
                Box::new(Schedule),
                Box::new(Claim),
                Box::new(Ports),
                Box::new(Spawn),
                Box::new(Finish),
            ],
        }
    }
}

impl Default for Build {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for Build {
    fn kind(&self) -> &'static str {
        KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data().unwrap_or_default();
        let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
        change::task_failed(tx, &job.target, &fault, Some(VmState::Error)).await?;
        change::forget_secrets(tx, &job.target).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&explain(&fault)), traceback: Some(&fault.private) };
        actions::event_begin(tx, &job.target, request, EVENT, data.host.as_deref()).await?;
        actions::event_end(tx, &job.target, request, EVENT, end, true).await
    }
}

fn explain(fault: &Fault) -> String {
    format!("{} {}", fault.message, fault.details).trim_end().to_owned()
}

/// The server of a job. One that is gone has nothing to build.
async fn server(app: &App, job: &Job) -> Result<Server> {
    servers::get(&app.db, &job.target).await
}

/// What the scheduler is asked for.
async fn placement(app: &App, server: &Server, data: &Data) -> Result<PlacementRequest> {
    Ok(PlacementRequest {
        host: data.forced_host.clone(),
        node: data.forced_node.clone(),
        excluded_hosts: data.failed.iter().map(|(host, _)| host.clone()).collect(),
        ..placement::request(app, server).await?
    })
}

fn fail(mut data: Data, fault: Fault) -> Result<Outcome> {
    let error = Error::new(ErrorKind::NoCapacity, fault.message.clone()).with_internal(fault.private.clone());
    data.fault = Some(fault);
    Outcome::fail(error).data(&data)
}

pub(super) struct Schedule;

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
                let fault = no_host(&decision.rejections, decision.considered, &data);
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
        let server = server(app, job).await?;
        let request = ScheduleRequest {
            job_id: job.id.clone(),
            server_id: server.id.clone(),
            generation: server.generation,
            attempt: data.round,
            request: placement(app, &server, &data).await?,
        };
        let message = Envelope::new(&request, job.request_id.as_deref())?.at_generation(server.generation);
        Ok(Outcome::wait(data.due).data(&data)?.send(Address::Scheduler, message))
    }
}

fn no_host(rejections: &[Rejection], considered: usize, data: &Data) -> Fault {
    fault::no_valid_host(rejections, considered, &data.failed)
}

pub(super) struct Claim;

#[async_trait]
impl Step<App> for Claim {
    fn name(&self) -> &'static str {
        "claim"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let server = server(app, job).await?;
        let want = claims::Want {
            vcpus: i64::from(server.flavor.vcpus),
            memory_mb: i64::try_from(server.flavor.ram_mb).unwrap_or(i64::MAX),
            local_gb: server.disk_gb(),
        };
        let forced = data.forced;
        let mut tx = app.db.begin_write().await?;
        // The server's row is locked before the host's and the job's, here and everywhere.
        if !change::set_task(&mut tx, &server.id, Some(TaskState::BlockDeviceMapping)).await? {
            return Err(servers::not_found(&server.id));
        }
        for host in std::mem::take(&mut data.hosts) {
            let claimed =
                claims::claim(&mut tx, &server.id, &host, want, &app.settings.compute, forced).await?;
            let Some(claimed) = claimed else { continue };
            let zone = &claimed.availability_zone;
            change::place(&mut tx, &server.id, &host, &claimed.node, zone).await?;
            let request = job.request_id.as_deref().unwrap_or("");
            actions::event_begin(&mut tx, &server.id, request, data.event(), Some(&host)).await?;
            data.host = Some(host.clone());
            let hint = app.hosts.will_change(Some(host));
            return Ok(Outcome::next().data(&data)?.in_tx(tx).after_commit(hint));
        }
        change::set_task(&mut tx, &server.id, Some(TaskState::Scheduling)).await?;
        data.lost += 1;
        if data.lost > MAX_LOST_ROUNDS {
            drop(tx);
            let fault = fault::exhausted(&server.id, &data.failed);
            return fail(data, fault);
        }
        // Others were faster. The schedulers hear of their claims meanwhile.
        data.due = Timestamp::now().plus_millis(app.timing.lost_claim_ms * data.lost.min(8));
        Ok(Outcome::back(FIRST).data(&data)?.in_tx(tx))
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut tx = app.db.begin_write().await?;
        change::displace(&mut tx, &job.target).await?;
        let freed = claims::release(&mut tx, &job.target).await?;
        Ok(Outcome::next().in_tx(tx).after_commit(app.hosts.will_change(freed)))
    }
}

struct Ports;

#[async_trait]
impl Step<App> for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let server = server(app, job).await?;
        let nics = ports::bind(app, &server, job.request_id.as_deref()).await?;
        let mut tx = app.db.begin_write().await?;
        change::set_ports(&mut tx, &server.id, &nics).await?;
        Ok(Outcome::next().in_tx(tx))
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let Some(server) = servers::find(&app.db, &job.target).await? else { return Ok(Outcome::next()) };
        ports::take_back(app, &server, job.request_id.as_deref()).await?;
        let mut tx = app.db.begin_write().await?;
        change::set_ports(&mut tx, &server.id, &[]).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}

pub(super) struct Spawn;

impl Spawn {
    async fn order(&self, app: &App, job: &Job, mut data: Data) -> Result<Outcome> {
        let server = server(app, job).await?;
        let host = data.host.clone().ok_or_else(|| Error::internal("spawn without a host"))?;
        let inputs = servers::inputs(&app.db, &server.id).await?;
        let mut tx = app.db.begin_write().await?;
        change::set_task(&mut tx, &server.id, Some(TaskState::Spawning)).await?;
        let generation = change::next_generation(&mut tx, &server.id)
            .await?
            .ok_or_else(|| servers::not_found(&server.id))?;
        guests::ordered(&mut tx, &server.id, &host, generation).await?;
        data.order = Pending::sent(app, &host, generation);
        let mut spec = guest::spec(&server, inputs, generation);
        if let Some(image) = data.unshelve.as_ref().and_then(|unshelving| unshelving.image.clone()) {
            // What its disk was is in this one.
            spec.image = image;
        }
        let order = Order::Ensure { spec: Box::new(spec) };
        let message = order::message(&job.id, &server.id, generation, order, job.request_id.as_deref())?;
        let outcome = data.order.wait(job, false)?.data(&data)?.in_tx(tx);
        Ok(outcome.send(Address::Agent(host), message))
    }

    /// Another host is tried, or the build fails: the claim goes, the guest is destroyed where it may be.
    async fn elsewhere(&self, app: &App, job: &Job, mut data: Data, why: String) -> Result<Outcome> {
        let host = data.host.take().unwrap_or_default();
        let request = job.request_id.as_deref().unwrap_or("");
        data.failed.push((host.clone(), why.clone()));
        data.order = Pending::default();
        if i64::try_from(data.failed.len()).unwrap_or(i64::MAX) >= app.settings.compute.max_attempts {
            let fault = fault::exhausted(&job.target, &data.failed);
            data.host = Some(host);
            return fail(data, fault);
        }
        let mut tx = app.db.begin_write().await?;
        let destroy = guest::abandon(&mut tx, job, &host).await?;
        change::displace(&mut tx, &job.target).await?;
        claims::release(&mut tx, &job.target).await?;
        let end =
            End { success: false, details: Some("The build failed on one host."), traceback: Some(&why) };
        actions::event_end(&mut tx, &job.target, request, data.event(), end, false).await?;
        let mut outcome = Outcome::back(FIRST).data(&data)?.in_tx(tx);
        if let Some((to, message)) = destroy {
            outcome = outcome.send(to, message);
        }
        Ok(outcome.after_commit(app.hosts.will_change(Some(host))))
    }
}

#[async_trait]
impl Step<App> for Spawn {
    fn name(&self) -> &'static str {
        "spawn"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if data.order.generation == 0 {
            return self.order(app, job, data).await;
        }
        match data.order.news(app, job).await? {
            News::Done(power) => {
                data.power = Some(power);
                Outcome::next().data(&data)
            }
            News::Failed { message, details, elsewhere: true } => {
                self.elsewhere(app, job, data, format!("{message} {details}").trim_end().to_owned()).await
            }
            News::Failed { message, details, .. } => {
                let host = data.host.clone().unwrap_or_default();
                fail(data, fault::fault(&message, "", &format!("{host}: {message} {details}")))
            }
            News::Silent => self.elsewhere(app, job, data, "the host does not answer".into()).await,
            News::Repeat => self.order(app, job, data).await,
            News::Ask => data.order.wait(job, true)?.data(&data),
            News::Wait => data.order.wait(job, false)?.data(&data),
        }
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        match guest::destroy(app, job, &mut data.destroying).await? {
            Destroyed::Yes => Ok(Outcome::next()),
            Destroyed::Wait(outcome) => outcome.data(&data),
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
        let mut tx = app.db.begin_write().await?;
        change::activate(&mut tx, &job.target, data.power.unwrap_or(PowerState::Running)).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}
