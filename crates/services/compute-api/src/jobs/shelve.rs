//! Shelving: the guest is shut down, its disk becomes an image, and its host is freed, at once or later.

use crate::{
    app::App,
    jobs::{
        fault,
        give::{self, Given, give},
        guest::{self, Destroyed, Destroying},
        order::Pending,
        snapshot::{self, Data},
    },
    store::{
        Tx, claims,
        instance_actions::{self as actions, End},
        servers::{self, Fault, change},
        shelved,
    },
};
use async_trait::async_trait;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result,
    message::Order,
    server::{TaskState, VmState},
};
use serde::{Deserialize, Serialize};

/// Kind of the job that shelves.
pub const KIND: &str = "shelve";
/// Its first step.
pub const FIRST: &str = snapshot::FIRST;
/// Name of its event in instance actions.
pub const EVENT: &str = "compute_shelve_instance";
/// Kind of the job that takes a shelved server off its host.
pub const OFFLOAD_KIND: &str = "shelve_offload";
/// Its first step.
pub const OFFLOAD_FIRST: &str = "destroy";
/// Name of its event in instance actions.
pub const OFFLOAD_EVENT: &str = "compute_shelve_offload_instance";

/// What shelving knows beside the image: a part of its data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shelving {
    /// Whether the server leaves its host now.
    pub offload: bool,
    /// What the server was.
    pub was: Option<VmState>,
    /// The order to shut down.
    pub stop: Pending,
    /// The order to start again, if shelving fails.
    pub start: Pending,
    /// The destruction under way.
    pub destroying: Destroying,
}

/// The job that shelves.
pub struct Shelve {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Shelve {
    /// The job with its steps.
    pub fn new() -> Self {
        Self {
            steps: vec![
                Box::new(Record(snapshot::Image)),
                Box::new(Stop),
                Box::new(snapshot::Copy),
                Box::new(Shelved),
                Box::new(Destroy),
                Box::new(Offload),
            ],
        }
    }
}

impl Default for Shelve {
    fn default() -> Self {
        Self::new()
    }
}

/// The job that takes a shelved server off its host.
pub struct ShelveOffload {
    steps: Vec<Box<dyn Step<App>>>,
}

impl ShelveOffload {
    /// The job with its steps.
    pub fn new() -> Self {
        Self { steps: vec![Box::new(Destroy), Box::new(Offload)] }
    }
}

impl Default for ShelveOffload {
    fn default() -> Self {
        Self::new()
    }
}

/// The image that a job of ours is making for a server that is not shelved yet.
pub fn image_of(job: &Job) -> Option<String> {
    if job.kind != KIND {
        return None;
    }
    job.data::<Data>().ok().map(|data| data.image_id)
}

/// Ends what failed: the server is what it was, or shelved if its image is whole.
async fn failed(job: &Job, tx: &mut Tx) -> Result<()> {
    let data: Data = job.data()?;
    let shelving = data.shelve.unwrap_or_default();
    let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
    let is_shelved = shelved::image_in(tx, &job.target).await?.is_some();
    // What was in the memory of such a guest is gone.
    let off = shelving.stop.generation > 0
        && !is_shelved
        && matches!(shelving.was, Some(VmState::Paused | VmState::Suspended));
    change::task_failed(tx, &job.target, &fault, off.then_some(VmState::Stopped)).await?;
    let request = job.request_id.as_deref().unwrap_or("");
    let event =
        if is_shelved && (shelving.offload || job.kind == OFFLOAD_KIND) { OFFLOAD_EVENT } else { EVENT };
    let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
    actions::event_end(tx, &job.target, request, event, end, true).await
}

#[async_trait]
impl JobKind<App> for Shelve {
    fn kind(&self) -> &'static str {
        KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// A part that is down delays it: half off its host a server is nowhere.
    fn max_attempts(&self) -> i64 {
        i64::MAX
    }
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        failed(job, tx).await
    }
}

#[async_trait]
impl JobKind<App> for ShelveOffload {
    fn kind(&self) -> &'static str {
        OFFLOAD_KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// A part that is down delays it: half off its host a server is nowhere.
    fn max_attempts(&self) -> i64 {
        i64::MAX
    }
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        failed(job, tx).await
    }
}

fn fail(mut data: Data, fault: Fault) -> Result<Outcome> {
    let error = Error::new(ErrorKind::Internal, fault.message.clone()).with_internal(fault.private.clone());
    data.fault = Some(fault);
    Outcome::fail(error).data(&data)
}

/// What cannot be done now is tried again: a server that is on its way off its host is not left half there.
fn later(error: Error) -> Error {
    Error::unavailable(error.for_log())
}

/// The record of the image, which only a server that is not shelved loses again.
struct Record(snapshot::Image);

#[async_trait]
impl Step<App> for Record {
    fn name(&self) -> &'static str {
        FIRST
    }
    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        self.0.run(app, job).await
    }
    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        if shelved::image(&app.db, &job.target).await?.is_some() {
            return Ok(Outcome::next());
        }
        self.0.undo(app, job).await
    }
}

/// Shuts the guest down, so that what is on its disk is whole.
struct Stop;

#[async_trait]
impl Step<App> for Stop {
    fn name(&self) -> &'static str {
        "stop"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let mut shelving = data.shelve.clone().unwrap_or_default();
        if shelving.was == Some(VmState::Stopped) {
            return Ok(Outcome::next());
        }
        let server = servers::get(&app.db, &job.target).await?;
        let host = give::host(&server)?;
        // A guest that does not run hears no button.
        let timeout_seconds = match shelving.was {
            Some(VmState::Active) => app.settings.compute.shutdown_timeout_seconds,
            _ => 0,
        };
        let order = |_| Order::Stop { timeout_seconds };
        let given = give(app, job, &mut shelving.stop, &host, None, order).await?;
        data.shelve = Some(shelving);
        match given {
            Given::Done(_) => Outcome::next().data(&data),
            Given::Failed(fault) => fail(data, fault),
            Given::Wait(outcome) => outcome.data(&data),
        }
    }

    /// A guest that ran runs again; if it cannot, its host's next report says so.
    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let mut shelving = data.shelve.clone().unwrap_or_default();
        let ran = shelving.was == Some(VmState::Active) && shelving.stop.generation > 0;
        if !ran || shelved::image(&app.db, &job.target).await?.is_some() {
            return Ok(Outcome::next());
        }
        let host = shelving.stop.host.clone();
        let given = give(app, job, &mut shelving.start, &host, None, |_| Order::Start).await?;
        data.shelve = Some(shelving);
        match given {
            Given::Done(_) | Given::Failed(_) => Outcome::next().data(&data),
            Given::Wait(outcome) => outcome.data(&data),
        }
    }
}

/// The image is whole: from now on it is the server.
struct Shelved;

#[async_trait]
impl Step<App> for Shelved {
    fn name(&self) -> &'static str {
        "shelved"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let offload = data.shelve.as_ref().is_some_and(|shelving| shelving.offload);
        let request = job.request_id.as_deref().unwrap_or("");
        let server = servers::get(&app.db, &job.target).await?;
        let mut tx = app.db.begin_write().await?;
        let task = offload.then_some(TaskState::ShelvingOffloading);
        shelved::shelve(&mut tx, &job.target, &data.image_id, task).await?;
        if offload {
            actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, false).await?;
            actions::event_begin(&mut tx, &job.target, request, OFFLOAD_EVENT, server.host.as_deref())
                .await?;
        }
        Ok(Outcome::next().in_tx(tx))
    }
}

/// Whether a job takes its server off its host.
fn offloads(job: &Job, data: &Data) -> bool {
    job.kind == OFFLOAD_KIND || data.shelve.as_ref().is_some_and(|shelving| shelving.offload)
}

struct Destroy;

#[async_trait]
impl Step<App> for Destroy {
    fn name(&self) -> &'static str {
        OFFLOAD_FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if !offloads(job, &data) {
            return Ok(Outcome::next());
        }
        let mut shelving = data.shelve.clone().unwrap_or_default();
        let destroyed = guest::destroy(app, job, &mut shelving.destroying).await.map_err(later)?;
        data.shelve = Some(shelving);
        match destroyed {
            Destroyed::Yes => Outcome::next().data(&data),
            Destroyed::Wait(outcome) => outcome.data(&data),
        }
    }
}

struct Offload;

#[async_trait]
impl Step<App> for Offload {
    fn name(&self) -> &'static str {
        "offload"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let request = job.request_id.as_deref().unwrap_or("");
        let mut tx = app.db.begin_write().await?;
        if !offloads(job, &data) {
            change::set_task(&mut tx, &job.target, None).await?;
            actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
            return Ok(Outcome::next().in_tx(tx));
        }
        shelved::offload(&mut tx, &job.target).await?;
        let freed = claims::release(&mut tx, &job.target).await?;
        actions::event_end(&mut tx, &job.target, request, OFFLOAD_EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx).after_commit(app.hosts.will_change(freed)))
    }
}
