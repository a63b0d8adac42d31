//! The third step, once for each store: the data gets there.

use super::{ATTEMPTS, Data, Method, image, read, refused, writing};
use crate::{
    app::App,
    image::Image,
    inspect,
    receive::storage_error,
    store::import,
    stores::Backend,
    upload,
    verify::{self, Check},
};
use async_trait::async_trait;
use bytes::Bytes;
use ferrostack_db::Tx;
use ferrostack_jobs::{Job, Outcome, Step};
use ferrostack_model::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream::BoxStream};
use std::{io, sync::Arc};

/// The step's name, to which it goes back for the next store.
const NAME: &str = "store";

pub(super) struct Store;

#[async_trait]
impl Step<App> for Store {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let Some(store) = data.left.first().cloned() else { return Ok(Outcome::next()) };
        let image = image(app, job).await?;
        let mut tx = match place(app, job, &mut data, &image, &store).await {
            Ok(tx) => tx,
            Err(error) if give_up(job, &data, &error) => {
                tracing::warn!(
                    image = image.id,
                    store,
                    error = error.for_log(),
                    "not imported to this store"
                );
                let mut tx = app.db.begin_write().await?;
                import::store_done(&mut tx, &image.id, &store, true).await?;
                tx
            }
            Err(error) => return Err(error),
        };
        import::store_done(&mut tx, &image.id, &store, false).await?;
        data.left.remove(0);
        if !data.all_must_succeed && !data.made.is_empty() && data.method != Method::CopyImage {
            import::activate(&mut tx, &image.id, data.virtual_size).await?;
        }
        let outcome = if data.left.is_empty() { Outcome::next() } else { Outcome::back(NAME) };
        outcome.in_tx(tx).data(&data)
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let mut tx = app.db.begin_write().await?;
        import::condemn(&mut tx, &job.target, &data.made).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}

/// Whether this store is left out, and the others go on.
fn give_up(job: &Job, data: &Data, error: &Error) -> bool {
    let passing = error.kind.retryable() && job.attempt + 1 < ATTEMPTS;
    !data.all_must_succeed && !passing && error.kind != ErrorKind::Gone
}

/// Gets the data to `store`; the transaction that makes it count.
async fn place(app: &App, job: &Job, data: &mut Data, image: &Image, store: &str) -> Result<Tx> {
    let backend = app.stores.get(store).ok_or_else(|| refused(format!("There is no store {store}.")))?;
    let default = app.stores.default();
    if let Some(name) = &image.file
        && backend.id == default.id
    {
        // It lies there already: only the record changes. Checked a moment ago, and looked at once more.
        let staged = default.open(name).await?.ok_or_else(|| refused("The staged data is missing."))?;
        if image.size != i64::try_from(staged.size()).ok() {
            return Err(refused("The staged data is not what was uploaded."));
        }
        let mut tx = app.db.begin_write().await?;
        data.made.push(import::placed_staged(&mut tx, &image.id, &default.id).await?);
        return Ok(tx);
    }
    let (location, received) = match &image.file {
        Some(name) => {
            let source = default.open(name).await?.ok_or_else(|| refused("The staged data is missing."))?;
            let blocks = read::all(Arc::new(source)).map(|block| block.map_err(storage_error));
            writing::write(app, job, data, backend, blocks).await?
        }
        None => {
            let blocks = copied(app, image).await?.map(|block| block.map_err(storage_error));
            let written = writing::write(app, job, data, backend, blocks).await?;
            look_at(app, image, backend, &written.0.name).await?;
            written
        }
    };
    let ours = image.os_hash_algo.as_deref() == Some("sha512");
    if image.size != Some(received.size) || (ours && image.os_hash_value.as_ref() != Some(&received.sha512)) {
        return Err(refused("The data to be copied is not what was uploaded."));
    }
    let mut tx = app.db.begin_write().await?;
    import::placed(&mut tx, &location).await?;
    data.made.push(location.id);
    Ok(tx)
}

/// The copy is what the image is declared to be. A location that somebody added was never looked at, and data may be
/// older than a check of ours.
async fn look_at(app: &App, image: &Image, backend: &Backend, name: &str) -> Result<()> {
    let copy = backend.open(name).await?.ok_or_else(|| refused("The copied data is missing."))?;
    let declared = image.declared(&app.settings);
    app.blocking(move || inspect::inspect_at(&copy, copy.size(), &declared))
        .await?
        .map(|_| ())
        .map_err(upload::refused)
}

/// The image's bytes from the first location that can be read, compared with the image's hash as they come. One that
/// turns out to be damaged is read last when the step runs again.
async fn copied(app: &App, image: &Image) -> Result<BoxStream<'static, io::Result<Bytes>>> {
    let mut failed = refused("The data to be copied is missing.");
    for (location, store) in app.stores.order(&image.locations) {
        match store.open(&location.name).await {
            Ok(Some(opened)) => {
                let blocks = read::all(Arc::new(opened)).boxed();
                return Ok(match Check::new(&app.db, image, location) {
                    Some(check) => verify::checked(blocks, check),
                    None => blocks,
                });
            }
            Ok(None) => {}
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
