//! From the bytes of a request to the data of an image.
//!
//! The upload owns the image by a token and a lease that it renews while it lives. If it ends in any way but
//! success (refusal, disconnect, panic, dropped future) the image goes back to queued and its object goes; if the
//! process dies the reconciler does the same when the lease has run out. When all bytes are there the rest is done
//! whether or not the client still waits.

use crate::{
    app::App,
    image::{Image, Status},
    inspect,
    quota::{Charge, Hold, Kind},
    receive::{Receiver, storage_error},
    store::upload as store,
    stores::{Backend, object_name},
};
use bytes::Bytes;
use ferrostack_db::Change;
use ferrostack_model::{Error, ErrorKind, Result, id};
use futures_util::{Stream, StreamExt};
use std::{cmp::Ordering, future::Future, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// Longest time until an upload notices that its image is gone.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes that wait for so long are handed on although they are few.
const IDLE: Duration = Duration::from_secs(1);
/// Attempts to write down a finished upload while the database is away.
const COMMIT_ATTEMPTS: u32 = 6;

/// The right to write an image's data, given back on drop.
struct Upload {
    app: Arc<App>,
    image_id: String,
    token: String,
    into: Arc<Backend>,
    /// The room for it in the project's quota, if there is one.
    hold: Option<Hold>,
    /// What has arrived; `None` when it is whole.
    receiver: Option<Receiver>,
    /// Of the image, since the upload began.
    formats: store::Formats,
    heartbeat: AbortHandle,
    /// The image is not ours any more.
    gone: CancellationToken,
    _place: OwnedSemaphorePermit,
    done: bool,
}

impl Upload {
    async fn begin(
        app: &Arc<App>,
        image: &Image,
        to: Status,
        into: &Arc<Backend>,
        announced: Option<u64>,
    ) -> Result<Self> {
        let limits = app.quota.of(image).await?;
        let place = app
            .uploads
            .clone()
            .try_acquire_owned()
            .map_err(|_| Error::unavailable("too many uploads at once").retry_after(5))?;
        let token = id::hex();
        let name = object_name(&image.id, &token);
        let kind = if to == Status::Saving { Kind::Size } else { Kind::Stage };
        let charge = limits.map(|limits| Charge { limits, object: name.clone(), kind, bytes: announced });
        let begun = store::begin(&app.db, &image.id, to, &token, app.lease(), charge.as_ref()).await?;
        let Some(formats) = begun else {
            // Somebody was here first, or the image has gone.
            let now = crate::store::image::get(&app.db, &image.id).await?;
            return Err(now.map_or_else(|| deleted(&image.id), |now| not_allowed(now.status, to)));
        };
        let gone = CancellationToken::new();
        let heartbeat = tokio::spawn(beat(app.clone(), image.id.clone(), token.clone(), gone.clone()));
        Ok(Self {
            app: app.clone(),
            image_id: image.id.clone(),
            token,
            into: into.clone(),
            hold: charge.map(Charge::hold),
            receiver: Some(Receiver::new(into, &name, app.settings.max_image_bytes)),
            formats,
            heartbeat: heartbeat.abort_handle(),
            gone,
            _place: place,
            done: false,
        })
    }

    /// The record says that the data is there: nothing is to be undone.
    fn succeed(mut self) {
        self.done = true;
    }

    /// What brings the image back to queued and removes what was written.
    fn undo(&mut self) -> impl Future<Output = ()> + Send + 'static {
        self.done = true;
        let (app, into, receiver) = (self.app.clone(), self.into.clone(), self.receiver.take());
        let (image_id, token) = (self.image_id.clone(), self.token.clone());
        async move {
            // Nobody shall write any more when the object is removed.
            if let Some(receiver) = receiver {
                receiver.cancel().await;
            }
            give_back(app, image_id, token, into).await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.heartbeat.abort();
        // Without a runtime the process is ending, and the lease will run out.
        if !self.done
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(self.undo());
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
    // Its bytes count until it is gone.
    let removed = async {
        store.remove(&object).await?;
        crate::store::quota::release(&app.db, &object).await
    };
    if let Err(error) = removed.await {
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

/// Renews the lease, and looks whether the image is still ours: if not, says so and ends.
async fn beat(app: Arc<App>, id: String, token: String, gone: CancellationToken) {
    let renewal = Duration::from_millis((app.settings.upload_lease_seconds.max(1).unsigned_abs() * 1000) / 4);
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(LOOK.min(renewal)).await;
        let seen = if renewed.elapsed() >= renewal {
            let seen = store::renew(&app.db, &id, &token, app.lease()).await;
            // One that failed is tried again at the next look.
            if seen.is_ok() {
                renewed = Instant::now();
            }
            seen
        } else {
            store::is_owner(&app.db, &id, &token).await
        };
        if let Ok(Change::Stale | Change::Missing) = seen {
            gone.cancel();
            return;
        }
    }
}

/// How large data is that has not arrived yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Bytes it shall be (400 if it is not), if the client has said so.
    pub expected: Option<u64>,
    /// Bytes that come, as far as is known.
    pub announced: Option<u64>,
}

/// Receives the data of a queued image into a store. `to` is what it is meanwhile: saving, and then it is checked and
/// becomes active; or uploading, and then it stays so with the data staged for an import.
pub async fn receive<S, E>(
    app: &Arc<App>,
    image: &Image,
    to: Status,
    into: &Arc<Backend>,
    sizes: Sizes,
    body: S,
) -> Result<()>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut upload = Upload::begin(app, image, to, into, sizes.announced).await?;
    if let Err(error) = upload.fill(sizes.expected, body).await {
        upload.undo().await;
        return Err(error);
    }
    // What was declared may have changed until the upload began; since then it cannot.
    let mut image = image.clone();
    image.disk_format = upload.formats.disk.take();
    image.container_format = upload.formats.container.take();
    let rest = async move {
        let result = upload.complete(&image, to).await;
        match result {
            Ok(()) => upload.succeed(),
            Err(_) => upload.undo().await,
        }
        result
    };
    tokio::spawn(rest).await.map_err(|e| Error::internal(format!("the end of an upload: {e}")))?
}

impl Upload {
    /// Takes in the whole body.
    async fn fill<S, E>(&mut self, expected: Option<u64>, mut body: S) -> Result<()>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::fmt::Display,
    {
        let silence = Duration::from_secs(self.app.settings.transfers.silence_seconds);
        let gone = self.gone.clone();
        let taken = async {
            let receiver = self.receiver.as_mut().ok_or_else(|| Error::internal("no receiver"))?;
            while let Some(chunk) = next(&mut body, receiver, silence).await? {
                if let Some(hold) = &mut self.hold {
                    hold.cover(&self.app.db, receiver.size() + chunk.len() as u64).await?;
                }
                receiver.push(chunk).await?;
                if let Some(expected) = expected.filter(|expected| receiver.size() > *expected) {
                    check_size(expected, receiver.size())?;
                }
            }
            expected.map_or(Ok(()), |expected| check_size(expected, receiver.size()))
        };
        tokio::select! {
            taken = taken => taken,
            () = gone.cancelled() => Err(deleted(&self.image_id)),
        }
    }

    /// All bytes are there: makes them the image's data.
    async fn complete(&mut self, image: &Image, to: Status) -> Result<()> {
        let receiver = self.receiver.take().ok_or_else(|| Error::internal("no receiver"))?;
        let (object, mut received) = receiver.finish().await?;
        let declared = image.declared(&self.app.settings);
        let checked = to == Status::Saving;
        let found = self
            .app
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
        commit(self, end, &received).await?;
        tracing::info!(image = image.id, size = received.size, "image data stored");
        Ok(())
    }
}

/// The next bytes; `None` at the end. What waits in `receiver` is handed on when nothing comes.
async fn next<S, E>(body: &mut S, receiver: &mut Receiver, silence: Duration) -> Result<Option<Bytes>>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let chunk = match tokio::time::timeout(IDLE.min(silence), body.next()).await {
        Ok(chunk) => chunk,
        Err(_) => {
            receiver.flush().await?;
            tokio::time::timeout(silence.saturating_sub(IDLE), body.next())
                .await
                .map_err(|_| Error::bad_request("No image data arrived for too long."))?
        }
    };
    chunk
        .transpose()
        .map_err(|e| Error::bad_request("The image data ended early.").with_internal(e.to_string()))
}

/// 400 if what came is not what was to come, in the words of Glance's file store.
pub fn check_size(expected: u64, actual: u64) -> Result<()> {
    let what = match actual.cmp(&expected) {
        Ordering::Equal => return Ok(()),
        Ordering::Less => "mismatch",
        Ordering::Greater => "exceeds",
    };
    Err(Error::bad_request(format!("Size {what}: expected {expected} bytes, got {actual} bytes")))
}

/// 410: somebody deleted the image under the upload.
fn deleted(id: &str) -> Error {
    Error::new(
        ErrorKind::Gone,
        format!(
            "Image {id} could not be found after upload. The image may have been deleted during the upload, cleaning up the chunks uploaded."
        ),
    )
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
                return Err(deleted(&upload.image_id));
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
