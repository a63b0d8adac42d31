//! Asking for an image of a server: `createImage` and `createBackup`.
//!
//! First the job is committed, with the id that the image will have; then the image is made with the caller's token.
//! Whatever dies in between, the job finds out: an image without a job cannot be.

mod record;

pub use record::check_metadata;

use crate::{
    app::App,
    jobs::{
        power::wrong_state,
        snapshot::{Data, FIRST, ImageWord, Rotation},
    },
    store::{
        instance_actions::{self as actions, Asker},
        origin,
        servers::{self, Server, change},
    },
};
use ferrostack_db::{Change, db_error};
use ferrostack_jobs::Enqueue;
use ferrostack_model::{
    Caller, Error, ErrorKind, Result, id,
    server::{Action, TaskState},
};
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

fn check(server: &Server, wish: &Wish) -> Result<()> {
    let (name, id) = (wish.action(), &server.id);
    if !Action::Snapshot.allowed().contains(&server.vm_state) {
        return Err(wrong_state(name, id, "vm_state", server.vm_state.as_str()));
    }
    if let Some(task) = server.task_state {
        return Err(wrong_state(name, id, "task_state", task.as_str()));
    }
    if server.launched_at.is_none() || server.host.is_none() {
        return Err(Error::conflict(format!("Instance is in an invalid state for '{name}'")));
    }
    Ok(())
}

/// Begins an image of `server` if its state allows it, else 409; the image's id.
pub async fn begin(
    app: &App,
    caller: &Caller,
    mut server: Server,
    wish: &Wish,
    request_id: &str,
) -> Result<String> {
    let asker = Asker { request_id, user_id: caller.user_id(), project_id: caller.project_id() };
    let image_id = id::uuid();
    let origin = origin::get(&app.db, &server.id).await?;
    let data = Data {
        image_id: image_id.clone(),
        owner: caller.project_id().to_owned(),
        format: app.settings.compute.snapshot_image_format,
        quiesce: record::quiesce(&server),
        rotation: wish.rotation.clone(),
        ..Data::default()
    };
    let job_id = loop {
        check(&server, wish)?;
        let id = server.id.as_str();
        let mut tx = app.db.begin_write().await?;
        if change::begin_task(&mut tx, id, server.vm_state, None, wish.task()).await? != Change::Updated {
            // Somebody was faster: judge anew.
            drop(tx);
            server = servers::get(&app.db, id).await?;
            continue;
        }
        actions::begin(&mut tx, id, wish.action(), asker).await?;
        actions::event_begin(&mut tx, id, request_id, wish.event(), server.host.as_deref()).await?;
        let data =
            serde_json::to_value(&data).map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
        let job =
            Enqueue { kind: wish.kind(), first_step: FIRST, target: id, data, request_id: Some(request_id) };
        let job_id = ferrostack_jobs::enqueue(&mut tx, job).await?;
        tx.commit().await.map_err(db_error)?;
        break job_id;
    };
    let body = record::image(app, caller, &server, &origin, wish, &image_id);
    let made = app.image.create(&body, caller, request_id).await;
    let made = made.map_err(|e| match e.kind {
        // Nova's answer to a quota of the image service.
        ErrorKind::TooLarge | ErrorKind::OverLimit => Error::new(ErrorKind::Forbidden, e.public),
        _ => e,
    });
    if made.is_ok() && caller.project_id() != server.project_id {
        // The server's owner sees the image that an admin makes of it.
        if let Err(error) = app.image.share(&image_id, &server.project_id, caller, request_id).await {
            tracing::warn!(image = image_id, request_id, error = error.for_log(), "image not shared");
        }
    }
    let word = ImageWord { image_refused: made.as_ref().err().map(|e| e.public.clone()) };
    let word = serde_json::to_value(word).map_err(|e| Error::internal(format!("encoding a word: {e}")))?;
    ferrostack_jobs::wake(&app.db, &job_id, &word).await?;
    app.poke();
    made.map(|()| image_id)
}
