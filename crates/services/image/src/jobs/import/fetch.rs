//! The first step: the data gets into the default store as staged data, if it is not there yet.

use super::{Data, Method, image, refused, remote, writing};
use crate::{
    app::App,
    fetch::{Ask, Body, Failure},
    store::{import, location, quota},
};
use async_trait::async_trait;
use ferrostack_jobs::{Job, Outcome, Step};
use ferrostack_model::{Error, Result, Timestamp};
use futures_util::StreamExt;

/// How long an import looks for the process that knows its caller, milliseconds.
const CALLER_MS: i64 = 30_000;
/// Before it is looked for again.
const CALLER_PAUSE_MS: i64 = 300;

pub(super) struct Fetch;

#[async_trait]
impl Step<App> for Fetch {
    fn name(&self) -> &'static str {
        super::FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let ask = Ask { limit: app.settings.max_image_bytes, ..Default::default() };
        let mut described = None;
        let body: Body = match &data.method {
            Method::GlanceDirect | Method::CopyImage => return Ok(Outcome::next()),
            Method::WebDownload { uri } => {
                let url =
                    app.fetcher.read(uri).map_err(|why| Failure::Unreachable(format!("refused: {why}")))?;
                app.fetcher.get(&url, &ask).await?.body
            }
            Method::GlanceDownload { image_id, region, interface } => {
                let Some(caller) = app.callers.get(&data.task_id) else {
                    // The caller's token is nowhere but in the memory of the process that was asked.
                    if job.created_at.plus_millis(CALLER_MS) < Timestamp::now() {
                        return Err(refused("The import was interrupted. Its request must be sent again."));
                    }
                    return Ok(Outcome::wait(Timestamp::now().plus_millis(CALLER_PAUSE_MS)));
                };
                let there = remote::Remote::find(app, &caller, region, interface, image_id).await?;
                described = Some(there.describe(app).await?);
                there.data(app, &ask).await?
            }
        };
        let store = app.stores.default();
        let chunks = body.map(|chunk| chunk.map_err(Error::from));
        let (location, received) = writing::write(app, job, &data, store, chunks).await?;
        if described.as_ref().is_some_and(|d| d.size != received.size) {
            return Err(refused("The downloaded data is not as long as the image it is of."));
        }
        let hash = described.as_ref().and_then(|d| d.sha512.as_ref());
        if hash.is_some_and(|hash| *hash != received.sha512) {
            return Err(refused("The downloaded data is not what the other image's hash says."));
        }
        let before = image(app, job).await?;
        let limits = app.quota.of(&before).await?;
        let mut tx = app.db.begin_write().await?;
        if let Some(limits) = &limits {
            quota::lock(&mut tx, &limits.project).await?;
        }
        if let Some(described) = described {
            data.original = Some(described.take_over(&mut tx, &before).await?);
        }
        import::staged(&mut tx, &location, &received, limits.as_ref()).await?;
        app.callers.forget(&data.task_id);
        Outcome::next().in_tx(tx).data(&data)
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let mut tx = app.db.begin_write().await?;
        import::condemn(&mut tx, &job.target, &data.made).await?;
        if data.method != Method::CopyImage {
            location::condemn_staged(&mut tx, &job.target, &app.stores.default().id).await?;
        }
        if let Some(original) = &data.original {
            // Gone with its image, if that is deleted.
            let restored = original.restore(&mut tx, &job.target).await;
            if let Err(error) = restored
                && error.kind != ferrostack_model::ErrorKind::Gone
            {
                return Err(error);
            }
        }
        Ok(Outcome::next().in_tx(tx))
    }
}
