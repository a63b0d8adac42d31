//! Moving a server to another host while it runs.
//!
//! The source is asked whether the guest may leave, a destination is chosen, claimed and prepared, and the source sends the
//! guest. Whatever is said of the sending then, the hosts are asked who has the guest ([`resolve`]), and only the one that
//! says so gets the server's row: once, and never back (R21).

mod resolve;
mod wait;

pub use resolve::Resolving;
pub use wait::until_checked;

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
        self, Tx, guests,
        instance_actions::{self as actions, Asker, End},
        live_migration_wishes as wishes,
        migrations::{self, Place, Progress, Size},
        move_claims,
        servers::{self, Fault, Server, change},
    },
};
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    action::Action,
    id,
    live_migration::{self, Offer, Part},
    message::{AgentAnswer, Order, Outcome as Word},
    migration::{Kind, Status},
    server::{PowerState, TaskState, VmState},
};
use serde::{Deserialize, Serialize};

/// Kind of the job.
pub const KIND: &str = "live-migrate";
/// Its first step.
pub const FIRST: &str = "record";
/// Name of its event in instance actions.
pub const EVENT: &str = "compute_live_migration";
/// Failed attempts to tell the network service, after which the migration ends without it.
const PORT_ATTEMPTS: i64 = 10;

/// What the job knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// Number of its migration.
    pub migration: i64,
    /// Name of the marker among the guest's files.
    pub marker: String,
    /// The server's host before.
    pub source: String,
    /// What the server was.
    pub paused: bool,
    /// Whether disks are copied; `None`: as the hosts need.
    pub block: Option<bool>,
    /// Who asked.
    pub user_id: String,
    /// In which project.
    pub project_id: String,
    /// Where to.
    pub choosing: Choosing,
    /// The destination.
    pub dest: Option<Dest>,
    /// The latest order.
    pub order: Pending,
    /// The destination's answer.
    pub offer: Option<Offer>,
    /// The guest was told to be paused.
    pub pausing: bool,
    /// It ends because somebody wished so.
    pub aborting: bool,
    /// Who has the guest.
    pub resolving: Resolving,
    /// The row is on the destination: nothing is taken back any more.
    pub switched: bool,
    /// Nobody has the guest.
    pub gone: bool,
    /// Why it fails.
    pub fault: Option<Fault>,
}

/// The job.
pub struct LiveMigrate {
    steps: Vec<Box<dyn Step<App>>>,
}

impl LiveMigrate {
    /// The job with its steps.
    pub fn new() -> Self {
        Self {
            steps: vec![
                Box::new(Record),
                Box::new(Begin),
                Box::new(Check),
                Box::new(Schedule),
                Box::new(Claim),
                Box::new(Prepare),
                Box::new(Depart),
                Box::new(Settle),
                Box::new(Finish),
            ],
        }
    }
}

impl Default for LiveMigrate {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for LiveMigrate {
    fn kind(&self) -> &'static str {
        KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// A guest that did not move goes on where it is; only one that nobody has is in error.
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data().unwrap_or_default();
        let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
        if data.switched || data.aborting {
            change::set_task(tx, &job.target, None).await?;
        } else {
            change::task_failed(tx, &job.target, &fault, data.gone.then_some(VmState::Error)).await?;
        }
        let status = match (data.switched, data.aborting) {
            (true, _) => Status::Completed,
            (false, true) => Status::Cancelled,
            (false, false) => Status::Error,
        };
        migrations::set_status(tx, data.migration, status).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
        actions::event_begin(tx, &job.target, request, EVENT, Some(&data.source)).await?;
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
    /// Whether disks are copied; `None`: as the hosts need.
    pub block: Option<bool>,
}

/// Begins it if the server's state allows it, else 409; the job's id.
pub async fn begin(app: &App, server: Server, wish: Wish, asker: Asker<'_>) -> Result<String> {
    let data = Data {
        marker: id::uuid(),
        source: server.host.clone().unwrap_or_default(),
        paused: server.vm_state == VmState::Paused,
        user_id: asker.user_id.to_owned(),
        project_id: asker.project_id.to_owned(),
        block: wish.block,
        choosing: Choosing::of(wish.host, wish.forced),
        ..Data::default()
    };
    let begin = action::Begin {
        action: Action::LiveMigrate,
        task: TaskState::Migrating,
        name: "live-migration",
        event: EVENT,
        kind: KIND,
        first_step: FIRST,
        data: &data,
        interrupts: "",
    };
    action::begin(app, server, asker, &begin).await
}

fn fail(mut data: Data, kind: ErrorKind, message: &str, private: &str) -> Result<Outcome> {
    data.fault = Some(fault::fault(message, "", private));
    Outcome::fail(Error::new(kind, message).with_internal(private)).data(&data)
}

/// Ends what has not begun to send, if somebody wished so.
async fn aborted(app: &App, data: &mut Data) -> Result<bool> {
    data.aborting |= wishes::get(&app.db, data.migration).await?.abort;
    Ok(data.aborting)
}

fn abort(data: Data) -> Result<Outcome> {
    fail(data, ErrorKind::Conflict, "The live migration was aborted.", "")
}

/// Sends a part to a host as an order of its own generation.
async fn order(app: &App, job: &Job, data: &mut Data, host: &str, part: PartOf<'_>) -> Result<Outcome> {
    let server = servers::get(&app.db, &job.target).await?;
    let inputs = match part {
        PartOf::Plain(_) => None,
        PartOf::WithSpec(_) => Some(servers::inputs(&app.db, &server.id).await?),
    };
    let mut tx = app.db.begin_write().await?;
    let generation =
        change::next_generation(&mut tx, &server.id).await?.ok_or_else(|| servers::not_found(&server.id))?;
    guests::ordered(&mut tx, &server.id, host, generation).await?;
    let part = match (part, inputs) {
        (PartOf::WithSpec(make), Some(inputs)) => make(Box::new(guest::spec(&server, inputs, generation))),
        (PartOf::Plain(part), _) => part,
        (PartOf::WithSpec(_), None) => return Err(Error::internal("a part without its spec")),
    };
    data.order = Pending::sent(app, host, generation);
    let order = Order::Migrate { part };
    let message = order::message(&job.id, &server.id, generation, order, job.request_id.as_deref())?;
    let outcome = data.order.wait(job, false)?.data(data)?.in_tx(tx);
    Ok(outcome.send(Address::Agent(host.to_owned()), message))
}

/// A part, or how it is made of the guest's spec.
enum PartOf<'a> {
    Plain(Part),
    WithSpec(&'a (dyn Fn(Box<ferrostack_model::guest::GuestSpec>) -> Part + Sync)),
}

fn wait(job: &Job, data: &Data, ask: bool) -> Result<Outcome> {
    data.order.wait(job, ask)?.data(data)
}

/// The migration is in the books from now on.
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
        let new = migrations::New {
            server: &server,
            kind: Kind::Live,
            status: Status::Accepted,
            user_id: &data.user_id,
            project_id: &data.project_id,
            request_id: job.request_id.as_deref().unwrap_or(""),
            old: &size,
            new: &size,
        };
        data.migration = migrations::insert(&mut tx, new).await?;
        Ok(Outcome::next().data(&data)?.in_tx(tx))
    }

    /// A guest that turned out to have moved has its ports there.
    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        if let Some(server) = servers::find(&app.db, &job.target).await?.filter(|_| data.switched) {
            ports::rebind(app, &server, job.request_id.as_deref()).await?;
        }
        Ok(Outcome::next())
    }
}

/// What needs nobody but ourselves.
struct Begin;

#[async_trait]
impl Step<App> for Begin {
    fn name(&self) -> &'static str {
        "begin"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let now = Timestamp::now();
        let unavailable = |host: &str| format!("Compute service of {host} is unavailable at this time.");
        if !host_is_up(app, &data.source, now).await? {
            let message = unavailable(&data.source);
            return fail(data, ErrorKind::BadRequest, &message, "");
        }
        if let Some(wanted) = data.choosing.wanted.clone() {
            let message = if store::hosts::get(&app.db, &wanted).await?.is_none() {
                format!("Compute host {wanted} could not be found.")
            } else if wanted == data.source {
                format!("Unable to migrate instance ({}) to current host ({wanted}).", job.target)
            } else if !host_is_up(app, &wanted, now).await? {
                unavailable(&wanted)
            } else {
                return Ok(Outcome::next());
            };
            return fail(data, ErrorKind::BadRequest, &message, "");
        }
        Ok(Outcome::next())
    }
}

/// The source says whether the guest may leave.
struct Check;

#[async_trait]
impl Step<App> for Check {
    fn name(&self) -> &'static str {
        "check"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let source = data.source.clone();
        let part = || PartOf::Plain(Part::Check { marker: data.marker.clone() });
        if data.order.generation == 0 {
            let part = part();
            return order(app, job, &mut data, &source, part).await;
        }
        match data.order.news(app, job).await? {
            News::Done(_) => {
                data.order = Pending::default();
                Outcome::next().data(&data)
            }
            News::Failed { message, details, .. } => {
                let message = format!("Migration pre-check error: {message}");
                fail(data, ErrorKind::BadRequest, &message, &format!("{source}: {details}"))
            }
            News::Silent => {
                let message = format!("Compute service of {source} is unavailable at this time.");
                fail(data, ErrorKind::BadRequest, &message, "")
            }
            News::Repeat => {
                let part = PartOf::Plain(Part::Check { marker: data.marker.clone() });
                order(app, job, &mut data, &source, part).await
            }
            News::Ask => wait(job, &data, true),
            News::Wait => wait(job, &data, false),
        }
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
        if aborted(app, &mut data).await? {
            return abort(data);
        }
        let server = servers::get(&app.db, &job.target).await?;
        match data.choosing.ask(app, job, &server).await? {
            Asked::Chosen => Outcome::next().data(&data),
            Asked::Refused(fault) => {
                let error = Error::new(ErrorKind::BadRequest, fault.message.clone());
                let error = error.with_internal(fault.private.clone());
                data.fault = Some(fault);
                Outcome::fail(error).data(&data)
            }
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
        if aborted(app, &mut data).await? {
            return abort(data);
        }
        let server = servers::get(&app.db, &job.target).await?;
        let held: Vec<String> =
            guests::of_server(&app.db, &server.id).await?.into_iter().map(|g| g.host).collect();
        let mut tx = app.db.begin_write().await?;
        // The server's row is locked before the hosts' and the job's, here and everywhere.
        if !change::set_task(&mut tx, &server.id, Some(TaskState::Migrating)).await? {
            return Err(servers::not_found(&server.id));
        }
        match data.choosing.take(app, &mut tx, &server, &held).await? {
            Taken::Host(dest) => {
                let host = dest.host.clone();
                let place = Place { host: Some(host.clone()), node: Some(dest.node.clone()) };
                migrations::set_dest(&mut tx, data.migration, &place, None).await?;
                migrations::set_status(&mut tx, data.migration, Status::Preparing).await?;
                data.dest = Some(dest);
                let hint = app.hosts.will_change(Some(host));
                Ok(Outcome::next().data(&data)?.in_tx(tx).after_commit(hint))
            }
            Taken::Again => {
                migrations::set_status(&mut tx, data.migration, Status::Queued).await?;
                Ok(Outcome::back("schedule").data(&data)?.in_tx(tx))
            }
            Taken::Full => {
                drop(tx);
                let message = "No valid host was found. There are not enough hosts available.";
                fail(data, ErrorKind::BadRequest, message, "no chosen host has enough room")
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

/// The destination makes what the guest needs.
struct Prepare;

impl Prepare {
    async fn order(&self, app: &App, job: &Job, mut data: Data) -> Result<Outcome> {
        let host = data.dest.clone().unwrap_or_default().host;
        let (marker, block) = (data.marker.clone(), data.block);
        let make = move |spec| Part::Receive { spec, marker: marker.clone(), block };
        order(app, job, &mut data, &host, PartOf::WithSpec(&make)).await
    }

    /// Another host is tried, or it fails: what may have been made goes, and the claim.
    async fn elsewhere(
        &self,
        app: &App,
        job: &Job,
        mut data: Data,
        retry: bool,
        why: String,
    ) -> Result<Outcome> {
        let host = data.dest.clone().unwrap_or_default().host;
        if !retry || !data.choosing.reject(app, &host, &why) {
            let message = match data.choosing.wanted.is_some() || !retry {
                true => format!("Migration pre-check error: {why}"),
                false => format!(
                    "Exceeded max scheduling retries {} for instance {} during live migration",
                    data.choosing.failed.len(),
                    job.target
                ),
            };
            return fail(data, ErrorKind::BadRequest, &message, &format!("{host}: {why}"));
        }
        (data.order, data.dest) = (Pending::default(), None);
        let mut tx = app.db.begin_write().await?;
        let destroy = guest::abandon(&mut tx, job, &host).await?;
        let freed = move_claims::release(&mut tx, &job.target).await?;
        migrations::set_dest(&mut tx, data.migration, &Place::default(), None).await?;
        let mut outcome = Outcome::back("schedule").data(&data)?.in_tx(tx);
        if let Some((to, message)) = destroy {
            outcome = outcome.send(to, message);
        }
        Ok(outcome.after_commit(app.hosts.will_change(freed)))
    }
}

#[async_trait]
impl Step<App> for Prepare {
    fn name(&self) -> &'static str {
        "prepare"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if aborted(app, &mut data).await? {
            return abort(data);
        }
        if data.order.generation == 0 {
            return self.order(app, job, data).await;
        }
        let offer = job.answer::<AgentAnswer>().and_then(|answer| match answer.outcome {
            Word::Prepared { offer }
                if answer.host == data.order.host && answer.generation == data.order.generation =>
            {
                Some(offer)
            }
            _ => None,
        });
        if let Some(offer) = offer {
            (data.offer, data.order) = (Some(offer), Pending::default());
            let mut tx = app.db.begin_write().await?;
            change::next_generation(&mut tx, &job.target).await?;
            migrations::set_status(&mut tx, data.migration, Status::Running).await?;
            return Ok(Outcome::next().data(&data)?.in_tx(tx));
        }
        match data.order.news(app, job).await? {
            News::Done(_) => fail(data, ErrorKind::Internal, "The destination said nothing of use.", ""),
            News::Failed { message, details, elsewhere } => {
                tracing::info!(server = job.target, details, "a destination refused the guest");
                self.elsewhere(app, job, data, elsewhere, message).await
            }
            News::Silent => self.elsewhere(app, job, data, true, "the host does not answer".into()).await,
            News::Repeat => self.order(app, job, data).await,
            News::Ask => wait(job, &data, true),
            News::Wait => wait(job, &data, false),
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

/// The source sends the guest.
struct Depart;

impl Depart {
    async fn order(&self, app: &App, job: &Job, mut data: Data) -> Result<Outcome> {
        let source = data.source.clone();
        let part = Part::Send { offer: data.offer.clone().unwrap_or_default(), force: data.pausing };
        order(app, job, &mut data, &source, PartOf::Plain(part)).await
    }

    /// The sending is over, whatever is said of it: who has the guest is asked next.
    fn over(mut data: Data, word: resolve::Word) -> Result<Outcome> {
        data.order = Pending::default();
        data.resolving = Resolving::begin(word);
        Outcome::next().data(&data)
    }
}

#[async_trait]
impl Step<App> for Depart {
    fn name(&self) -> &'static str {
        "send"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let wished = wishes::get(&app.db, data.migration).await?;
        if wished.abort {
            data.aborting = true;
            data.fault = Some(fault::fault("The live migration was aborted.", "", ""));
            return Self::over(data, resolve::Word::Unsaid);
        }
        if data.order.generation == 0 || wished.force_complete && !data.pausing {
            data.pausing = wished.force_complete;
            return self.order(app, job, data).await;
        }
        let working = job.answer::<AgentAnswer>().and_then(|answer| match answer.outcome {
            Word::Working { detail } => serde_json::from_str::<live_migration::Progress>(&detail).ok(),
            _ => None,
        });
        if let Some(now) = working {
            migrations::set_progress(
                &app.db,
                data.migration,
                progress(now.memory_total, now.memory_processed, now.memory_remaining),
                progress(now.disk_total, now.disk_processed, now.disk_remaining),
            )
            .await?;
        }
        match data.order.news(app, job).await? {
            News::Done(PowerState::NoState) => Self::over(data, resolve::Word::Gone),
            News::Done(_) => Self::over(data, resolve::Word::Unsaid),
            News::Failed { message, details, .. } => {
                let private = format!("{}: {message} {details}", data.source);
                data.fault = Some(fault::fault(&message, "", &private));
                Self::over(data, resolve::Word::Unsaid)
            }
            News::Silent => {
                let private = format!("host {} does not answer", data.source);
                let message = "The host of the instance does not answer.";
                data.fault = Some(fault::fault(message, "", &private));
                Self::over(data, resolve::Word::Silent)
            }
            News::Repeat => self.order(app, job, data).await,
            News::Ask => wait(job, &data, true),
            News::Wait => wait(job, &data, false),
        }
    }

    /// The guest may be anywhere: it is found before anything is taken from either host.
    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if data.switched || data.offer.is_none() {
            return Ok(Outcome::next());
        }
        match resolve::step(app, job, &mut data).await? {
            resolve::Found::Wait(outcome) => Ok(*outcome),
            resolve::Found::Moved(power) => resolve::switch(app, job, data, power).await,
            resolve::Found::Stayed => Outcome::next().data(&data),
            resolve::Found::Nowhere => {
                data.gone = true;
                Outcome::next().data(&data)
            }
        }
    }
}

fn progress(total: u64, processed: u64, remaining: u64) -> Progress {
    // Nova's answers know no 0: what is not counted is null.
    let number = |n: u64| i64::try_from(n).ok().filter(|n| *n > 0);
    Progress { total: number(total), processed: number(processed), remaining: number(remaining) }
}

/// Who has the guest has the server.
struct Settle;

#[async_trait]
impl Step<App> for Settle {
    fn name(&self) -> &'static str {
        "settle"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if data.switched {
            return Ok(Outcome::next());
        }
        match resolve::step(app, job, &mut data).await? {
            resolve::Found::Wait(outcome) => Ok(*outcome),
            resolve::Found::Moved(power) => resolve::switch(app, job, data, power).await,
            resolve::Found::Stayed => {
                let why = data.fault.clone();
                let message = why.as_ref().map_or("The guest stayed on its host.", |f| f.message.as_str());
                let private = why.as_ref().map_or("", |f| f.private.as_str()).to_owned();
                fail(data, ErrorKind::Internal, message, &private)
            }
            resolve::Found::Nowhere => {
                data.gone = true;
                fail(data, ErrorKind::Internal, "The guest was lost on its way.", "neither host has it")
            }
        }
    }
}

/// The network service hears of it, and it is over.
struct Finish;

#[async_trait]
impl Step<App> for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        match ports::rebind(app, &server, job.request_id.as_deref()).await {
            Ok(()) => {}
            Err(error) if error.kind.retryable() && job.attempt < PORT_ATTEMPTS => return Err(error),
            // The guest has moved: that stands.
            Err(error) => tracing::error!(
                server = server.id,
                error = error.for_log(),
                "ports of a moved guest are not bound to its new host"
            ),
        }
        let mut tx = app.db.begin_write().await?;
        change::set_task(&mut tx, &job.target, None).await?;
        migrations::set_status(&mut tx, data.migration, Status::Completed).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}
