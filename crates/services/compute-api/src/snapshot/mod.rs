//! Asking for an image of a server: `createImage` and `createBackup`.
//!
//! First the job is committed, with the id that the image will have; then the image is made with the caller's token.
//! Whatever dies in between, the job finds out: an image without a job cannot be.

mod record;

pub use record::check_metadata;

use crate::{
    action,
    app::App,
    jobs::snapshot::{Data, FIRST, ImageWord, Rotation},
    store::{instance_actions::Asker, origin, servers::Server},
};
use ferrostack_model::{Caller, Error, ErrorKind, Result, action::Action, id, server::TaskState};
use std::collections::BTreeMap;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Name of the image.
    pub name: String,
    /// Properties it gets.
    pub metadata: BTreeMap<String, String>,
    /// For a backup, how many of its kind are kept.
    pub rotation: Option<Rotation>,
}

impl Wish {
    /// The action's name.
    fn action(&self) -> &'static str {
        if self.rotation.is_some() { "createBackup" } else { "createImage" }
    }
    /// The job's kind, and the action's name in Nova's refusals.
    fn kind(&self) -> &'static str {
        if self.rotation.is_some() { "backup" } else { "snapshot" }
    }
    /// The event's name.
    fn event(&self) -> &'static str {
        crate::jobs::snapshot::event(self.rotation.is_some())
    }
    fn task(&self) -> TaskState {
        if self.rotation.is_some() { TaskState::ImageBackup } else { TaskState::ImageSnapshotPending }
    }
}

/// Begins an image of `server` if its state allows it, else 409; the image's id.
pub async fn begin(
    app: &App,
    caller: &Caller,
    server: Server,
    wish: &Wish,
    request_id: &str,
) -> Result<String> {
    let asker = Asker::of(caller, request_id);
    let image_id = id::uuid();
    let data = Data {
        image_id: image_id.clone(),
        owner: caller.project_id().to_owned(),
        format: app.settings.compute.snapshot_image_format,
        quiesce: record::quiesce(&server),
        rotation: wish.rotation.clone(),
        ..Data::default()
    };
    let begin = action::Begin {
        action: if wish.rotation.is_some() { Action::CreateBackup } else { Action::CreateImage },
        task: wish.task(),
        name: wish.action(),
        event: wish.event(),
        kind: wish.kind(),
        first_step: FIRST,
        data: &data,
        interrupts: "",
    };
    let job_id = action::begin(app, server.clone(), asker, &begin).await?;
    make(app, caller, &server, wish, &image_id, &job_id, request_id).await?;
    Ok(image_id)
}

/// Makes the image that a job waits for, as the caller, and tells the job.
pub async fn make(
    app: &App,
    caller: &Caller,
    server: &Server,
    wish: &Wish,
    image_id: &str,
    job_id: &str,
    request_id: &str,
) -> Result<()> {
    let origin = origin::get(&app.db, &server.id).await?;
    let body = record::image(app, caller, server, &origin, wish, image_id);
    let made = app.image.create(&body, caller, request_id).await;
    let made = made.map_err(|e| match e.kind {
        // Nova's answer to a quota of the image service.
        ErrorKind::TooLarge | ErrorKind::OverLimit => Error::new(ErrorKind::Forbidden, e.public),
        _ => e,
    });
    if made.is_ok() && caller.project_id() != server.project_id {
        // The server's owner sees the image that an admin makes of it.
        if let Err(error) = app.image.share(image_id, &server.project_id, caller, request_id).await {
            tracing::warn!(image = image_id, request_id, error = error.for_log(), "image not shared");
        }
    }
    let word = ImageWord { image_refused: made.as_ref().err().map(|e| e.public.clone()) };
    let word = serde_json::to_value(word).map_err(|e| Error::internal(format!("encoding a word: {e}")))?;
    ferrostack_jobs::wake(&app.db, job_id, &word).await?;
    app.poke();
    made
}
