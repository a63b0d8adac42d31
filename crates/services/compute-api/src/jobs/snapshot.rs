//! An image of a server: its record, the agent's copy of the disk, and for backups what is too old.

use crate::{
    app::App,
    jobs::{
        fault,
        order::{self, News, Pending},
        shelve::Shelving,
    },
    store::{
        Tx, guests,
        instance_actions::{self as actions, End},
        servers::{self, Fault, change},
    },
};
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    message::{AgentAnswer, Order, Outcome as Word},
    server::TaskState,
    snapshot::{SnapshotFormat, SnapshotOrder, stage},
};
use serde::{Deserialize, Serialize};

/// The first step.
pub const FIRST: &str = "image";
/// Kinds of these jobs.
pub const KINDS: [&str; 2] = ["snapshot", "backup"];
/// Failures of the image service after which the old backups are left to the next backup.
const ROTATION_ATTEMPTS: i64 = 10;

/// Name of the event in instance actions.
pub const fn event(backup: bool) -> &'static str {
    if backup { "compute_backup_instance" } else { "compute_snapshot_instance" }
}

/// How many backups are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// `daily`, `weekly` or any other text.
    pub backup_type: String,
    /// Of this type so many; 0: none, not even the new one.
    pub keep: u64,
}

/// What the job knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// The image.
    pub image_id: String,
    /// Project of who asked: owner of the image.
    pub owner: String,
    /// Its disk format.
    pub format: SnapshotFormat,
    /// Freeze the guest's file systems.
    pub quiesce: bool,
    /// Of a backup.
    pub rotation: Option<Rotation>,
    /// Of a server that is being shelved.
    pub shelve: Option<Shelving>,
    /// The order to the agent.
    pub order: Pending,
    /// Why it fails.
    pub fault: Option<Fault>,
}

/// What the request tells its job when it has asked for the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageWord {
    /// Why there is none.
    pub image_refused: Option<String>,
}

/// The job.
pub struct Snapshot {
    kind: &'static str,
    steps: Vec<Box<dyn Step<App>>>,
}

impl Snapshot {
    /// `createImage`
    pub fn image() -> Self {
        Self { kind: KINDS[0], steps: vec![Box::new(Image), Box::new(Copy), Box::new(Finish)] }
    }
    /// `createBackup`
    pub fn backup() -> Self {
        let steps: Vec<Box<dyn Step<App>>> =
            vec![Box::new(Image), Box::new(Copy), Box::new(Rotate), Box::new(Finish)];
        Self { kind: KINDS[1], steps }
    }
}

#[async_trait]
impl JobKind<App> for Snapshot {
    fn kind(&self) -> &'static str {
        self.kind
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// The server is as it was: only the image was not to be had.
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data()?;
        let event = event(data.rotation.is_some());
        let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
        change::task_failed(tx, &job.target, &fault, None).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
        actions::event_end(tx, &job.target, request, event, end, true).await
    }
}

/// The image of a job of ours that another job takes over.
pub fn image_of(job: &Job) -> Option<String> {
    if !KINDS.contains(&job.kind.as_str()) {
        return None;
    }
    job.data::<Data>().ok().map(|data| data.image_id)
}

fn fail(mut data: Data, message: &str, private: String) -> Result<Outcome> {
    data.fault = Some(fault::fault(message, "", &private));
    Outcome::fail(Error::new(ErrorKind::Internal, message).with_internal(private)).data(&data)
}

/// The record is there, or soon; if not there is nothing to do.
pub(super) struct Image;

#[async_trait]
impl Step<App> for Image {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        if let Some(ImageWord { image_refused: Some(why) }) = job.answer() {
            let private = format!("the image service refused image {}", data.image_id);
            return fail(data, &why, private);
        }
        if app.image.status(&data.image_id, job.request_id.as_deref()).await?.is_some() {
            return Ok(Outcome::next());
        }
        let late = job.created_at.plus_millis(app.timing.inquiry_ms.saturating_mul(2));
        if Timestamp::now() < late {
            return Ok(Outcome::wait(late));
        }
        let private = format!("image {} was never made", data.image_id);
        fail(data, "The image could not be created.", private)
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        app.image.remove(&data.image_id, job.request_id.as_deref()).await?;
        Ok(Outcome::next())
    }
}

/// The agent copies the disk and sends it to the image service.
pub(super) struct Copy;

impl Copy {
    async fn order(&self, app: &App, job: &Job, mut data: Data) -> Result<Outcome> {
        let server = servers::get(&app.db, &job.target).await?;
        let host = server.host.ok_or_else(|| Error::conflict("The instance has no host."))?;
        let mut tx = app.db.begin_write().await?;
        if server.task_state == Some(TaskState::ImageSnapshotPending) {
            let next = TaskState::ImageSnapshot;
            change::advance_task(&mut tx, &server.id, TaskState::ImageSnapshotPending, next).await?;
        }
        let generation = change::next_generation(&mut tx, &server.id)
            .await?
            .ok_or_else(|| servers::not_found(&server.id))?;
        guests::ordered(&mut tx, &server.id, &host, generation).await?;
        data.order = Pending::sent(app, &host, generation);
        let snapshot =
            SnapshotOrder { image_id: data.image_id.clone(), format: data.format, quiesce: data.quiesce };
        let order = Order::Snapshot { snapshot };
        let message = order::message(&job.id, &server.id, generation, order, job.request_id.as_deref())?;
        let outcome = data.order.wait(job, false)?.data(&data)?.in_tx(tx);
        Ok(outcome.send(Address::Agent(host), message))
    }

    /// Waits on, and shows what the agent says that it does.
    async fn wait(&self, app: &App, job: &Job, data: &Data, ask: bool) -> Result<Outcome> {
        let outcome = data.order.wait(job, ask)?.data(data)?;
        let said = match job.answer::<AgentAnswer>() {
            Some(AgentAnswer { outcome: Word::Working { detail }, .. }) => detail,
            _ => return Ok(outcome),
        };
        let (then, before): (_, &[TaskState]) = match said.as_str() {
            stage::PENDING_UPLOAD if data.shelve.is_some() => {
                (TaskState::ShelvingImagePendingUpload, &[TaskState::Shelving])
            }
            stage::UPLOADING if data.shelve.is_some() => (
                TaskState::ShelvingImageUploading,
                &[TaskState::Shelving, TaskState::ShelvingImagePendingUpload],
            ),
            stage::PENDING_UPLOAD => {
                (TaskState::ImagePendingUpload, &[TaskState::ImageSnapshot, TaskState::ImageBackup])
            }
            stage::UPLOADING => (
                TaskState::ImageUploading,
                &[TaskState::ImageSnapshot, TaskState::ImageBackup, TaskState::ImagePendingUpload],
            ),
            _ => return Ok(outcome),
        };
        let now = servers::get(&app.db, &job.target).await?.task_state;
        let Some(now) = now.filter(|now| before.contains(now)) else { return Ok(outcome) };
        let mut tx = app.db.begin_write().await?;
        change::advance_task(&mut tx, &job.target, now, then).await?;
        Ok(outcome.in_tx(tx))
    }
}

#[async_trait]
impl Step<App> for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if data.order.generation == 0 {
            return self.order(app, job, data).await;
        }
        match data.order.news(app, job).await? {
            News::Done(_) => Outcome::next().data(&data),
            News::Failed { message, details, .. } => {
                let private = format!("{}: {message} {details}", data.order.host);
                fail(data, &message, private)
            }
            News::Silent => {
                let private = format!("host {} does not answer", data.order.host);
                fail(data, "The host of the instance does not answer.", private)
            }
            News::Repeat => self.order(app, job, data).await,
            News::Ask => self.wait(app, job, &data, true).await,
            News::Wait => self.wait(app, job, &data, false).await,
        }
    }
}

/// Removes the oldest backups. That this cannot be done now takes nothing from the new one.
struct Rotate;

#[async_trait]
impl Step<App> for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let Some(rotation) = &data.rotation else { return Ok(Outcome::next()) };
        match rotate(app, job, &data, rotation).await {
            Err(error) if error.kind.retryable() && job.attempt < ROTATION_ATTEMPTS => Err(error),
            Err(error) => {
                tracing::warn!(server = job.target, error = error.for_log(), "old backups are left");
                Ok(Outcome::next())
            }
            Ok(()) => Ok(Outcome::next()),
        }
    }
}

async fn rotate(app: &App, job: &Job, data: &Data, rotation: &Rotation) -> Result<()> {
    let request_id = job.request_id.as_deref();
    let all = app.image.backups(&job.target, &rotation.backup_type, &data.owner, request_id).await?;
    let keep = usize::try_from(rotation.keep).unwrap_or(usize::MAX);
    for old in all.iter().skip(keep) {
        tracing::info!(server = job.target, image = old, request_id, "old backup removed");
        app.image.remove(old, request_id).await?;
    }
    Ok(())
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
        change::end_image_task(&mut tx, &job.target).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        let event = event(data.rotation.is_some());
        actions::event_end(&mut tx, &job.target, request, event, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}
