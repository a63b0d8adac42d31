//! Writing an object of an import: claimed first, watched while it grows, removed if it does not become whole.

use super::Data;
use crate::{
    app::App,
    receive::{Receiver, storage_error},
    store::{
        import::{self, lost},
        location::Location,
        upload::Received,
    },
    stores::{Backend, object_name},
};
use bytes::Bytes;
use ferrostack_jobs::Job;
use ferrostack_model::{Error, Result, id};
use futures_util::{Stream, StreamExt};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{runtime::Handle, time::Instant};

/// How often the task says how far it is, and is asked whether it still counts.
const REPORT: Duration = Duration::from_secs(1);

/// An object that is removed unless it became whole.
struct Growing {
    store: Arc<Backend>,
    name: String,
    /// `None` once all has arrived.
    receiver: Option<Receiver>,
    whole: bool,
}

impl Growing {
    fn receiver(&mut self) -> Result<&mut Receiver> {
        self.receiver.as_mut().ok_or_else(|| Error::internal("no receiver"))
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and the sweep will find it.
        if !self.whole
            && let Ok(runtime) = Handle::try_current()
        {
            let (store, name) = (self.store.clone(), std::mem::take(&mut self.name));
            let receiver = self.receiver.take();
            runtime.spawn(async move {
                // Nobody shall write any more when the object is removed.
                if let Some(receiver) = receiver {
                    receiver.cancel().await;
                }
                if let Err(error) = store.remove(&name).await {
                    tracing::warn!(object = name, error = error.for_log(), "left to the sweep");
                }
            });
        }
    }
}

/// Writes `source` to a new object of `store`, whole and durable but not the image's yet: that is for the
/// transaction that ends the step. Errors of the source are taken as they are.
pub(super) async fn write<S>(
    app: &App,
    job: &Job,
    data: &Data,
    store: &Arc<Backend>,
    source: S,
) -> Result<(Location, Received)>
where
    S: Stream<Item = Result<Bytes>> + Send,
{
    let name = object_name(&job.target, &id::hex());
    let location = Location::new(&job.target, &store.id, &name);
    let limits = app.quota.of(&super::image(app, job).await?).await?;
    let mut hold = import::claim(&app.db, job, &location, limits.as_ref()).await?;
    let receiver = Some(Receiver::new(store, &name, app.settings.max_image_bytes));
    let mut growing = Growing { store: store.clone(), name, receiver, whole: false };
    let (mut source, mut copied, mut report) = (pin!(source), 0, Instant::now() + REPORT);
    while let Some(chunk) = source.next().await {
        let chunk = chunk?;
        copied += chunk.len();
        if let Some(hold) = &mut hold {
            hold.cover(&app.db, copied as u64).await?;
        }
        growing.receiver()?.push(chunk).await?;
        if Instant::now() >= report {
            report = Instant::now() + REPORT;
            still_counts(app, job, data, copied).await?;
        }
    }
    let receiver = growing.receiver.take().ok_or_else(|| Error::internal("no receiver"))?;
    let (object, received) = receiver.finish().await?;
    app.blocking(move || object.publish()).await?.map_err(storage_error)?;
    growing.whole = true;
    Ok((location, received))
}

/// Tells the task how far it is; [`lost`] if that interests nobody any more.
async fn still_counts(app: &App, job: &Job, data: &Data, copied: usize) -> Result<()> {
    let message = format!("Copied {} MiB", copied >> 20);
    match import::progress(&app.db, job, &data.task_id, &message).await {
        Ok(false) => Err(lost()),
        // A database that is away for a moment does not end the import.
        Ok(true) | Err(Error { .. }) => Ok(()),
    }
}
