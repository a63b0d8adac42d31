//! Deleting a server: the guest wherever it may be, the ports, the claim. It takes over from any other job.

use crate::{
    app::App,
    jobs::{
        fault,
        guest::{self, Destroyed, Destroying},
        ports,
    },
    store::{
        Tx, claims,
        instance_actions::{self as actions, End},
        servers::{self, change},
    },
};
use async_trait::async_trait;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{Error, Result, server::VmState};
use serde::{Deserialize, Serialize};

/// Kind of the job.
pub const KIND: &str = "delete";
/// Its first step.
pub const FIRST: &str = "destroy";
/// Name of its event in instance actions.
pub const EVENT: &str = "compute_terminate_instance";

/// What the job knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// The destruction under way.
    pub destroying: Destroying,
}

/// The job.
pub struct Delete {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Delete {
    /// The job with its steps.
    pub fn new() -> Self {
        Self { steps: vec![Box::new(Destroy), Box::new(Ports), Box::new(Release)] }
    }
}

impl Default for Delete {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for Delete {
    fn kind(&self) -> &'static str {
        KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// A part that is down delays a delete, however long.
    fn max_attempts(&self) -> i64 {
        i64::MAX
    }
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let fault = fault::of_job(job);
        change::task_failed(tx, &job.target, &fault, Some(VmState::Error)).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
        actions::event_end(tx, &job.target, request, EVENT, end, true).await
    }
}

/// What a delete cannot do now it tries again: a server that cannot be deleted helps nobody.
fn later(error: Error) -> Error {
    Error::unavailable(error.for_log())
}

struct Destroy;

#[async_trait]
impl Step<App> for Destroy {
    fn name(&self) -> &'static str {
        FIRST
    }
    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        match guest::destroy(app, job, &mut data.destroying).await? {
            Destroyed::Yes => Ok(Outcome::next()),
            Destroyed::Wait(outcome) => outcome.data(&data),
        }
    }
}

struct Ports;

#[async_trait]
impl Step<App> for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }
    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let Some(server) = servers::find(&app.db, &job.target).await? else { return Ok(Outcome::next()) };
        ports::take_back(app, &server, job.request_id.as_deref()).await.map_err(later)?;
        Ok(Outcome::next())
    }
}

struct Release;

#[async_trait]
impl Step<App> for Release {
    fn name(&self) -> &'static str {
        "release"
    }
    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut tx = app.db.begin_write().await?;
        change::mark_deleted(&mut tx, &job.target).await?;
        if let Some(host) = claims::release(&mut tx, &job.target).await? {
            app.hosts.changed(&host);
        }
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}
