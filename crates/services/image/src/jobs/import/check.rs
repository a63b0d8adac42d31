//! The second step: the staged data is still what arrived, and is what it was declared to be.

use super::{Data, Method, image, read, refused};
use crate::{app::App, inspect, upload};
use async_trait::async_trait;
use ferrostack_jobs::{Job, Outcome, Step};
use ferrostack_model::{Error, Result};
use std::sync::Arc;

pub(super) struct Check;

#[async_trait]
impl Step<App> for Check {
    fn name(&self) -> &'static str {
        "check"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if data.method == Method::CopyImage {
            // Each copy is looked at, and its hash compared.
            return Ok(Outcome::next());
        }
        let image = image(app, job).await?;
        let name = image.file.clone().ok_or_else(|| Error::internal("nothing is staged"))?;
        let staged = app.stores.default().open(&name).await?;
        let staged = Arc::new(staged.ok_or_else(|| refused("The staged data is missing."))?);
        let whole = u64::try_from(image.size.unwrap_or(-1)).is_ok_and(|size| size == staged.size());
        if !whole || Some(read::sha512(&staged).await?) != image.os_hash_value {
            return Err(refused("The staged data is not what was uploaded."));
        }
        let declared = image.declared(&app.settings);
        let found = app
            .blocking(move || inspect::inspect_at(&*staged, staged.size(), &declared))
            .await?
            .map_err(upload::refused)?;
        data.virtual_size = found.virtual_size.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        Outcome::next().data(&data)
    }
}
