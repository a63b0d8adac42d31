//! Making a server anew on another host, because its own is gone.
//!
//! What the dead host has is destroyed when it is back, and only once the server is another host's: a failed evacuation
//! costs nothing (R29).

use crate::{
    action,
    app::App,
    jobs::{
        choose::{Asked, Choosing, Dest, Taken},
        fault, guest,
        order::{self, News, Pending, host_is_up},
        ports,
    },
    store::{
        Tx, guests,
        instance_actions::{self as actions, Asker, End},
        migrations::{self, Place, Size},
        move_claims,
        servers::{
            self, Fault, Server, change,
            moving::{self, To},
        },
    },
};
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    action::Action,
    auth::Secret,
    guest::WantedPower,
    message::Order,
    migration::{Kind, Status},
    server::{PowerState, TaskState, VmState},
};
use serde::{Deserialize, Serialize};

/// Kind of the job.
pub const KIND: &str = "evacuate";
/// Its first step.
pub const FIRST: &str = "record";
/// Name of its event in instance actions.
pub const EVENT: &str = "compute_rebuild_instance";

/// What the job knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// Number of its migration.
    pub migration: i64,
    /// The dead host.
    pub source: String,
    /// Who asked.
    pub user_id: String,
    /// In which project.
    pub project_id: String,
    /// Whether the server is off in the end.
    pub stopped: bool,
    /// Where to.
    pub choosing: Choosing,
    /// When the leavings on hosts that live are looked at again.
    pub clearing: Option<Timestamp>,
    /// The destination.
    pub dest: Option<Dest>,
    /// The order to its agent.
    pub order: Pending,
    /// Power state after it.
    pub power: Option<PowerState>,
    /// The row is on the destination: nothing is taken back any more.
    pub switched: bool,
    /// Why it fails.
    pub fault: Option<Fault>,
}

/// The job.
pub struct Evacuate {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Evacuate {
    /// The job with its steps.
    pub fn new() -> Self {
        Self {
            steps: vec![
                Box::new(Record),
                Box::new(Clear),
                Box::new(Schedule),
                Box::new(Claim),
                Box::new(Ports),
                Box::new(Spawn),
                Box::new(Finish),
            ],
        }
    }
}

impl Default for Evacuate {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for Evacuate {
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
        if data.migration != 0 {
            migrations::set_status(tx, data.migration, Status::Failed).await?;
        }
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
        actions::event_begin(tx, &job.target, request, EVENT, None).await?;
        actions::event_end(tx, &job.target, request, EVENT, end, true).await
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// To this host.
    pub host: Option<String>,
    /// Without asking the scheduler.
    pub forced: bool,
    /// The guest's new admin password.
    pub admin_pass: Option<Secret>,
    /// The server stays off, whatever it was.
    pub stopped: bool,
}

/// Begins it if the server's state allows it and its host is down, else 409 or 400; the job's id.
pub async fn begin(app: &App, server: Server, wish: Wish, asker: Asker<'_>) -> Result<String> {
    action::check(&server, Action::Evacuate, asker.admin)?;
    let source = server.host.clone().ok_or_else(|| {
        Error::conflict(format!("Instance {} is in an invalid state for 'evacuate'", server.id))
    })?;
    if host_is_up(app, &source, Timestamp::now()).await? {
        return Err(Error::bad_request(format!("Compute service of {source} is still in use.")));
    }
    let data = Data {
        source,
        user_id: asker.user_id.to_owned(),
        project_id: asker.project_id.to_owned(),
        stopped: wish.stopped || server.vm_state == VmState::Stopped,
        choosing: Choosing::of(wish.host, wish.forced),
        ..Data::default()
    };
    let begin = action::Begin {
        action: Action::Evacuate,
        task: TaskState::Rebuilding,
        name: "evacuate",
        event: EVENT,
        kind: KIND,
        first_step: FIRST,
        data: &data,
        interrupts: "The operation was interrupted by the evacuation of the instance.",
    };
    if let Some(password) = &wish.admin_pass {
        let mut tx = app.db.begin_write().await?;
        moving::set_admin_pass(&mut tx, &server.id, password).await?;
        tx.commit().await.map_err(ferrostack_db::db_error)?;
    }
    action::begin(app, server, asker, &begin).await
}

fn fail(mut data: Data, fault: Fault) -> Result<Outcome> {
    let error = Error::new(ErrorKind::NoCapacity, fault.message.clone()).with_internal(fault.private.clone());
    data.fault = Some(fault);
    Outcome::fail(error).data(&data)
}

/// The evacuation is in the books from now on, and what it interrupted is over.
struct Record;

#[async_trait]
impl Step<App> for Record {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        let size = Size::of_server(&app.db, &server).await?;
        let mut tx = app.db.begin_write().await?;
        change::set_task(&mut tx, &server.id, Some(TaskState::Rebuilding)).await?;
        let freed = move_claims::release(&mut tx, &server.id).await?;
        migrations::end_for_deleted(&mut tx, &server.id).await?;
        let new = migrations::New {
            server: &server,
            kind: Kind::Evacuation,
            status: Status::Accepted,
            user_id: &data.user_id,
            project_id: &data.project_id,
            request_id: job.request_id.as_deref().unwrap_or(""),
            old: &size,
            new: &size,
        };
        data.migration = migrations::insert(&mut tx, new).await?;
        Ok(Outcome::next().data(&data)?.in_tx(tx).after_commit(app.hosts.will_change(freed)))
    }
}

/// What an interrupted move left on other hosts that live is destroyed before there is another guest.
struct Clear;

#[async_trait]
impl Step<App> for Clear {
    fn name(&self) -> &'static str {
        "clear"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let now = Timestamp::now();
        let mut left = Vec::new();
        for row in guests::of_server(&app.db, &job.target).await? {
            if row.host != data.source && (row.doomed == 0 || host_is_up(app, &row.host, now).await?) {
                left.push(row);
            }
        }
        if left.is_empty() {
            return Ok(Outcome::next());
        }
        if let Some(due) = data.clearing.filter(|due| now < *due) {
            return Ok(Outcome::wait(due));
        }
        let due = now.plus_millis(app.timing.inquiry_ms);
        data.clearing = Some(due);
        let mut outcome = Outcome::wait(due).data(&data)?;
        let mut tx = app.db.begin_write().await?;
        for row in left {
            let mut generation = row.generation;
            if row.doomed == 0
                && let Some(next) = change::next_generation(&mut tx, &job.target).await?
            {
                guests::doom(&mut tx, &job.target, &row.host, next).await?;
                generation = next;
            }
            let request_id = job.request_id.as_deref();
            let message = order::message(&job.id, &job.target, generation, Order::Destroy, request_id)?;
            outcome = outcome.send(Address::Agent(row.host), message);
        }
        Ok(outcome.in_tx(tx))
    }
}

struct Schedule;

#[async_trait]
impl Step<App> for Schedule {
    fn name(&self) -> &'static str {
        "schedule"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        match data.choosing.ask(app, job, &server).await? {
            Asked::Chosen => Outcome::next().data(&data),
            Asked::Refused(fault) => fail(data, fault),
            Asked::Wait(outcome) => outcome.data(&data),
        }
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
        let server = servers::get(&app.db, &job.target).await?;
        let held: Vec<String> =
            guests::of_server(&app.db, &server.id).await?.into_iter().map(|g| g.host).collect();
        let mut tx = app.db.begin_write().await?;
        // The server's row is locked before the hosts' and the job's, here and everywhere.
        if !change::set_task(&mut tx, &server.id, Some(TaskState::Rebuilding)).await? {
            return Err(servers::not_found(&server.id));
        }
        match data.choosing.take(app, &mut tx, &server, &held).await? {
            Taken::Host(dest) => {
                let host = dest.host.clone();
                let place = Place { host: Some(host.clone()), node: Some(dest.node.clone()) };
                migrations::set_dest(&mut tx, data.migration, &place, None).await?;
                migrations::set_status(&mut tx, data.migration, Status::PreMigrating).await?;
                data.dest = Some(dest);
                let hint = app.hosts.will_change(Some(host));
                Ok(Outcome::next().data(&data)?.in_tx(tx).after_commit(hint))
            }
            Taken::Again => Ok(Outcome::back("schedule").data(&data)?.in_tx(tx)),
            Taken::Full => {
                drop(tx);
                let fault = fault::exhausted(&server.id, &data.choosing.failed);
                fail(data, fault)
            }
        }
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        if data.switched {
            return Ok(Outcome::next());
        }
        let mut tx = app.db.begin_write().await?;
        change::next_generation(&mut tx, &job.target).await?;
        let freed = move_claims::release(&mut tx, &job.target).await?;
        Ok(Outcome::next().in_tx(tx).after_commit(app.hosts.will_change(freed)))
    }
}

/// The ports are the destination's before the guest speaks there.
struct Ports;

#[async_trait]
impl Step<App> for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        let there = data.dest.map(|dest| Server {
            host: Some(dest.host),
            availability_zone: Some(dest.zone),
            ..server.clone()
        });
        ports::rebind(app, &there.unwrap_or(server), job.request_id.as_deref()).await?;
        Ok(Outcome::next())
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        if let Some(server) = servers::find(&app.db, &job.target).await?.filter(|_| !data.switched) {
            ports::rebind(app, &server, job.request_id.as_deref()).await?;
        }
        Ok(Outcome::next())
    }
}

struct Spawn;

impl Spawn {
    async fn order(&self, app: &App, job: &Job, mut data: Data) -> Result<Outcome> {
        let server = servers::get(&app.db, &job.target).await?;
        let host = data.dest.clone().ok_or_else(|| Error::internal("spawn without a host"))?.host;
        let inputs = servers::inputs(&app.db, &server.id).await?;
        let mut tx = app.db.begin_write().await?;
        change::set_task(&mut tx, &server.id, Some(TaskState::RebuildSpawning)).await?;
        migrations::set_status(&mut tx, data.migration, Status::PreMigrating).await?;
        let generation = change::next_generation(&mut tx, &server.id)
            .await?
            .ok_or_else(|| servers::not_found(&server.id))?;
        guests::ordered(&mut tx, &server.id, &host, generation).await?;
        data.order = Pending::sent(app, &host, generation);
        let mut spec = guest::spec(&server, inputs, generation);
        if data.stopped {
            spec.power = WantedPower::Stopped;
        }
        let order = Order::Ensure { spec: Box::new(spec) };
        let message = order::message(&job.id, &server.id, generation, order, job.request_id.as_deref())?;
        let outcome = data.order.wait(job, false)?.data(&data)?.in_tx(tx);
        Ok(outcome.send(Address::Agent(host), message))
    }

    /// Another host is tried, or it fails.
    async fn elsewhere(&self, app: &App, job: &Job, mut data: Data, why: &str) -> Result<Outcome> {
        let host = data.dest.clone().unwrap_or_default().host;
        if !data.choosing.reject(app, &host, why) {
            let fault = fault::exhausted(&job.target, &data.choosing.failed);
            return fail(data, fault);
        }
        (data.order, data.dest) = (Pending::default(), None);
        let mut tx = app.db.begin_write().await?;
        let destroy = guest::abandon(&mut tx, job, &host).await?;
        let freed = move_claims::release(&mut tx, &job.target).await?;
        let mut outcome = Outcome::back("schedule").data(&data)?.in_tx(tx);
        if let Some((to, message)) = destroy {
            outcome = outcome.send(to, message);
        }
        Ok(outcome.after_commit(app.hosts.will_change(freed)))
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
                self.elsewhere(app, job, data, format!("{message} {details}").trim_end()).await
            }
            News::Failed { message, details, .. } => {
                let private = format!("{}: {message} {details}", data.order.host);
                fail(data, fault::fault(&message, "", &private))
            }
            News::Silent => self.elsewhere(app, job, data, "the host does not answer").await,
            News::Repeat => self.order(app, job, data).await,
            News::Ask => data.order.wait(job, true)?.data(&data),
            News::Wait => data.order.wait(job, false)?.data(&data),
        }
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let Some(dest) = data.dest.filter(|_| !data.switched) else { return Ok(Outcome::next()) };
        let rows = guests::of_server(&app.db, &job.target).await?;
        if !rows.iter().any(|row| row.host == dest.host && row.doomed == 0) {
            return Ok(Outcome::next());
        }
        let mut tx = app.db.begin_write().await?;
        let destroy = guest::abandon(&mut tx, job, &dest.host).await?;
        let mut outcome = Outcome::next().in_tx(tx);
        if let Some((to, message)) = destroy {
            outcome = outcome.send(to, message);
        }
        Ok(outcome)
    }
}

/// The server is the destination's; what the dead host has is doomed.
struct Finish;

#[async_trait]
impl Step<App> for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let dest = data.dest.clone().ok_or_else(|| Error::internal("an evacuation to nowhere"))?;
        let server = servers::get(&app.db, &job.target).await?;
        let power = data.power.unwrap_or(PowerState::Running);
        let mut tx = app.db.begin_write().await?;
        let to = To { host: &dest.host, node: &dest.node, zone: &dest.zone };
        if !moving::moved(&mut tx, &server.id, &data.source, to, power).await? {
            return Err(Error::internal("an evacuated server was not where it came from"));
        }
        if data.stopped {
            change::settle(&mut tx, &server.id, VmState::Stopped, power, Timestamp::now()).await?;
            change::forget_secrets(&mut tx, &server.id).await?;
        } else {
            change::activate(&mut tx, &server.id, power).await?;
        }
        move_claims::switch(&mut tx, &server.id, &dest.host, server.want()).await?;
        let freed = move_claims::release(&mut tx, &server.id).await?;
        migrations::set_status(&mut tx, data.migration, Status::Done).await?;
        let destroy = guest::abandon(&mut tx, job, &data.source).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        data.switched = true;
        let mut outcome = Outcome::next().data(&data)?.in_tx(tx);
        if let Some((to, message)) = destroy {
            outcome = outcome.send(to, message);
        }
        let hint = app.hosts.will_change(freed);
        Ok(outcome.after_commit(hint).after_commit(app.hosts.will_change(Some(dest.host))))
    }
}
