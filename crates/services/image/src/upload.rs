//! From the bytes of a request to the data of an image.
//!
//! The upload owns the image by a token and a lease that it renews while it lives. If it ends in any way but
//! success (refusal, disconnect, panic, dropped future) the image goes back to queued and its object goes; if the
//! process dies the reconciler does the same when the lease has run out.

use crate::{
    app::App,
    image::{Image, Status},
    inspect,
    receive::{Receiver, storage_error},
    store::upload as store,
    stores::{Backend, object_name},
};
use bytes::Bytes;
use ferrostack_db::Change;
use ferrostack_model::{Error, ErrorKind, Result, id};
use futures_util::{Stream, StreamExt};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, task::AbortHandle};

/// A client that sends nothing for so long has gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Attempts to write down a finished upload while the database is away.
const COMMIT_ATTEMPTS: u32 = 6;

/// The right to write an image's data, given back on drop.
struct Upload {
    app: Arc<App>,
    image_id: String,
    token: String,
    into: Arc<Backend>,
    heartbeat: AbortHandle,
    done: bool,
}

impl Upload {
    async fn begin(app: &Arc<App>, image: &Image, to: Status, into: &Arc<Backend>) -> Result<Self> {
        let token = id::hex();
        if store::begin(&app.db, &image.id, to, &token, app.lease()).await? != Change::Updated {
            return Err(not_allowed(image.status, to));
        }
        let heartbeat = tokio::spawn(beat(app.clone(), image.id.clone(), token.clone())).abort_handle();
        Ok(Self {
            app: app.clone(),
            image_id: image.id.clone(),
            token,
            into: into.clone(),
            heartbeat,
            done: false,
        })
    }

    fn object(&self) -> String {
        object_name(&self.image_id, &self.token)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.heartbeat.abort();
        // Without a runtime the process is ending, and the lease will run out.
        if !self.done
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(give_back(
                self.app.clone(),
                self.image_id.clone(),
                self.token.clone(),
                self.into.clone(),
            ));
        }
    }
}

/// Ends an upload that failed: the image is queued again and the object goes.
///
/// The record first: an object without a record is swept, a record without its object would be a lie.
async fn give_back(app: Arc<App>, id: String, token: String, store: Arc<Backend>) {
    let object = object_name(&id, &token);
    match store::abort(&app.db, &id, &token).await {
        Ok(Change::Updated) => {}
        Ok(_) if is_stored(&app, &id, &object).await => return,
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(image = id, error = error.for_log(), "upload left to the reconciler");
            return;
        }
    }
    if let Err(error) = store.remove(&object).await {
        tracing::warn!(image = id, error = error.for_log(), "object of a failed upload left to the sweep");
    }
}

/// Whether the record names `object`; yes if that cannot be found out.
async fn is_stored(app: &App, id: &str, object: &str) -> bool {
    match crate::store::image::get(&app.db, id).await {
        Ok(image) => image.is_some_and(|i| {
            i.file.as_deref() == Some(object) || i.locations.iter().any(|l| l.name == object)
        }),
        Err(_) => true,
    }
}

async fn beat(app: Arc<App>, id: String, token: String) {
    let pause = Duration::from_millis((app.settings.upload_lease_seconds.max(1).unsigned_abs() * 1000) / 4);
    loop {
        tokio::time::sleep(pause).await;
        if let Ok(Change::Stale | Change::Missing) = store::renew(&app.db, &id, &token, app.lease()).await {
            return;
        }
    }
}

/// Receives the data of a queued image into a store. `to` is what it is meanwhile: saving, and then it is checked and becomes
/// active; or uploading, and then it stays so with the data staged for an import.
pub async fn receive<S, E>(
    app: &Arc<App>,
    image: &Image,
    to: Status,
    into: &Arc<Backend>,
    body: S,
) -> Result<()>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut upload = Upload::begin(app, image, to, into).await?;
    let result = fill(&upload, image, to, body).await;
    if result.is_err() {
        give_back(app.clone(), upload.image_id.clone(), upload.token.clone(), into.clone()).await;
    }
    upload.done = true;
    result
}

async fn fill<S, E>(upload: &Upload, image: &Image, to: Status, mut body: S) -> Result<()>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let app = &upload.app;
    let name = upload.object();
    let mut receiver = Receiver::new(&upload.into, &name, app.settings.max_image_bytes);
    loop {
        match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(Ok(chunk))) => receiver.push(chunk).await?,
            Ok(Some(Err(error))) => {
                return Err(
                    Error::bad_request("The image data ended early.").with_internal(error.to_string())
                );
            }
            Ok(None) => break,
            Err(_) => return Err(Error::bad_request("No image data arrived for too long.")),
        }
    }
    let (object, mut received) = receiver.finish().await?;
    let declared = image.declared(app.settings.max_virtual_bytes);
    let checked = to == Status::Saving;
    let found = app
        .blocking(move || {
            let stored = object.publish().map_err(storage_error)?;
            if !checked {
                return Ok(None);
            }
            inspect::inspect_at(&stored, stored.size(), &declared).map(Some).map_err(refused)
        })
        .await??;
    received.virtual_size = found.and_then(|f| f.virtual_size).map(bytes);
    let end = if checked { Status::Active } else { Status::Uploading };
    commit(upload, end, &received).await?;
    tracing::info!(image = image.id, size = received.size, "image data stored");
    Ok(())
}

fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

async fn commit(upload: &Upload, end: Status, received: &store::Received) -> Result<()> {
    let mut attempt = 1;
    loop {
        match store::finish(&upload.app.db, &upload.image_id, &upload.token, end, &upload.into.id, received)
            .await
        {
            Ok(Change::Updated) => return Ok(()),
            // A statement whose answer was lost may have been done.
            Ok(_) if attempt > 1 && is_stored(&upload.app, &upload.image_id, &received.file).await => {
                return Ok(());
            }
            Ok(_) => {
                return Err(Error::new(
                    ErrorKind::Gone,
                    format!(
                        "Image {} could not be found after upload. The image may have been deleted during the upload.",
                        upload.image_id
                    ),
                ));
            }
            Err(error) if !error.kind.retryable() || attempt >= COMMIT_ATTEMPTS => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100 << attempt)).await,
        }
        attempt += 1;
    }
}

/// 409 in Glance's words.
pub fn not_allowed(from: Status, to: Status) -> Error {
    Error::conflict(format!(
        "Image status transition from {} to {} is not allowed",
        from.as_str(),
        to.as_str()
    ))
}

/// What a refused content answers: 415, as Glance does for data that is not what it was declared to be.
pub fn refused(refusal: inspect::Refusal) -> Error {
    match refusal {
        inspect::Refusal::Unreadable(error) => storage_error(error),
        inspect::Refusal::Content(why) => {
            Error::new(ErrorKind::UnsupportedMediaType, format!("Image content is refused: {why}"))
        }
    }
}
