//! Deleting a server: the guest wherever it may be, the ports, the claim. It takes over from any other job.

use crate::{
    action,
    app::App,
    jobs::{
        fault,
        guest::{self, Destroyed, Destroying},
        ports, power, shelve, snapshot,
    },
    store::{
        Tx, claims, guests,
        instance_actions::{self as actions, Asker, End},
        migrations, move_claims,
        servers::{self, Server, change},
        shelved,
    },
};
use async_trait::async_trait;
use ferrostack_db::db_error;
use ferrostack_jobs::{Enqueue, Job, JobKind, Outcome, Step};
use ferrostack_model::{Error, Result, action::Action, server::VmState};
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
    /// An image that was being made of the server.
    #[serde(default)]
    pub image: Option<String>,
    /// The image of a server that is shelved, or was about to be.
    #[serde(default)]
    pub shelved: Option<String>,
}

/// The job.
pub struct Delete {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Delete {
    /// The job with its steps.
    pub fn new() -> Self {
        Self { steps: vec![Box::new(Destroy), Box::new(Images), Box::new(Ports), Box::new(Release)] }
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

/// Takes a server over from whatever works on it and has it deleted. A server that is nowhere is gone at once; one
/// that is being deleted already is left to that. 409 if it is locked.
pub async fn begin(app: &App, server: &Server, asker: Asker<'_>) -> Result<()> {
    action::check(server, Action::Delete, asker.admin)?;
    let id = server.id.as_str();
    let mut tx = app.db.begin_write().await?;
    // The server's row first, then the job's: every transaction locks in this order.
    if !change::begin_delete(&mut tx, id).await? {
        return Err(servers::not_found(id));
    }
    let active = ferrostack_jobs::supersede(&mut tx, id).await?;
    if active.as_ref().is_some_and(|job| job.kind == KIND) {
        // Nothing of this is written.
        return Ok(());
    }
    let image = active.as_ref().and_then(snapshot::image_of);
    let being_shelved = active.as_ref().and_then(shelve::image_of);
    let shelved = being_shelved.or(shelved::image_in(&mut tx, id).await?);
    if let Some(request) = active.as_ref().and_then(|job| job.request_id.as_deref()) {
        let why = "The operation was interrupted by the deletion of the instance.";
        actions::abandoned(&mut tx, id, request, why).await?;
    }
    actions::begin(&mut tx, id, "delete", asker).await?;
    actions::event_begin(&mut tx, id, asker.request_id, EVENT, server.host.as_deref()).await?;
    // Read under the row's lock: the job that was just fenced off may have written since.
    let now = servers::find_in(&mut tx, id).await?.ok_or_else(|| servers::not_found(id))?;
    if image.is_none()
        && shelved.is_none()
        && now.host.is_none()
        && now.ports.is_empty()
        && guests::none_of(&mut tx, id).await?
    {
        change::mark_deleted(&mut tx, id).await?;
        actions::event_end(&mut tx, id, asker.request_id, EVENT, actions::SUCCESS, true).await?;
        return tx.commit().await.map_err(db_error);
    }
    let data = serde_json::to_value(Data { image, shelved, ..Data::default() })
        .map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
    let request_id = Some(asker.request_id);
    let job = Enqueue { kind: KIND, first_step: FIRST, target: id, data, request_id };
    ferrostack_jobs::enqueue(&mut tx, job).await?;
    tx.commit().await.map_err(db_error)?;
    app.poke();
    Ok(())
}

/// Puts the server aside instead, where the cloud puts deletions off and there is something to be put aside.
pub async fn begin_soft(app: &App, server: &Server, asker: Asker<'_>) -> Result<()> {
    use VmState::{Active, Paused, Rescued, SoftDeleted, Stopped, Suspended};
    let there = server.host.is_some() && server.launched_at.is_some();
    let state = matches!(
        server.vm_state,
        Active | Paused | Rescued | SoftDeleted | Stopped | Suspended | VmState::Error
    );
    if app.settings.compute.reclaim_instance_interval <= 0 || !there || !state {
        return begin(app, server, asker).await;
    }
    action::check(server, Action::Delete, asker.admin)?;
    let verb = power::Verb::SoftDelete;
    let id = server.id.as_str();
    let mut tx = app.db.begin_write().await?;
    if !change::begin_soft_delete(&mut tx, id).await? {
        return Err(servers::not_found(id));
    }
    let active = ferrostack_jobs::supersede(&mut tx, id).await?;
    if active.as_ref().is_some_and(|job| job.kind == KIND || job.kind == verb.kind()) {
        return Ok(());
    }
    let simple =
        |job: &Job| super::ends_with_reset(&job.kind) || snapshot::KINDS.contains(&job.kind.as_str());
    if !active.as_ref().is_none_or(simple) {
        // In the middle of a move or a rebuild there is nothing whole to be put aside.
        drop(tx);
        return begin(app, server, asker).await;
    }
    let image = active.as_ref().and_then(snapshot::image_of);
    if let Some(request) = active.as_ref().and_then(|job| job.request_id.as_deref()) {
        let why = "The operation was interrupted by the deletion of the instance.";
        actions::abandoned(&mut tx, id, request, why).await?;
    }
    actions::begin(&mut tx, id, "delete", asker).await?;
    actions::event_begin(&mut tx, id, asker.request_id, verb.event(), server.host.as_deref()).await?;
    let data = serde_json::to_value(power::Data { image, ..power::Data::of(verb) })
        .map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
    let request_id = Some(asker.request_id);
    let job = Enqueue { kind: verb.kind(), first_step: power::FIRST, target: id, data, request_id };
    ferrostack_jobs::enqueue(&mut tx, job).await?;
    tx.commit().await.map_err(db_error)?;
    app.poke();
    Ok(())
}

/// Removes an image that was being made of a server that goes, unless it got all its data: then it is its owner's.
pub async fn remove_unfinished(app: &App, image: &str, request_id: Option<&str>) -> Result<()> {
    let status = app.image.status(image, request_id).await.map_err(later)?;
    if status.is_some_and(|status| status != "active") {
        app.image.remove(image, request_id).await.map_err(later)?;
    }
    Ok(())
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

/// An image that was not finished goes with its server.
struct Images;

#[async_trait]
impl Step<App> for Images {
    fn name(&self) -> &'static str {
        "images"
    }
    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        if let Some(image) = &data.image {
            remove_unfinished(app, image, job.request_id.as_deref()).await?;
        }
        if let Some(image) = &data.shelved {
            app.image.remove(image, job.request_id.as_deref()).await.map_err(later)?;
        }
        Ok(Outcome::next())
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
        shelved::forget(&mut tx, &job.target).await?;
        let freed = claims::release(&mut tx, &job.target).await?;
        let left = move_claims::release(&mut tx, &job.target).await?;
        migrations::end_for_deleted(&mut tx, &job.target).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next()
            .in_tx(tx)
            .after_commit(app.hosts.will_change(freed))
            .after_commit(app.hosts.will_change(left)))
    }
}
