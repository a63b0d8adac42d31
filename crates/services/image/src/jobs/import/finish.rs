//! The last step: the image is active, nothing is staged any more, the task has ended.

use super::{Data, Method, refused};
use crate::{app::App, store::import};
use async_trait::async_trait;
use ferrostack_jobs::{Job, Outcome, Step};
use ferrostack_model::Result;

pub(super) struct Finish;

#[async_trait]
impl Step<App> for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let copied = data.method == Method::CopyImage;
        if data.made.is_empty() && !copied {
            return Err(refused("None of the uploads finished!"));
        }
        let mut inject = Vec::new();
        if data.inject && !copied {
            inject.extend(app.settings.import.inject.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        let mut tx = app.db.begin_write().await?;
        if !copied {
            import::activate(&mut tx, &job.target, data.virtual_size).await?;
        }
        let staged_in = &app.stores.default().id;
        import::finish(&mut tx, &job.target, &data.task_id, staged_in, &inject, app.task_expiry()).await?;
        tracing::info!(image = job.target, task = data.task_id, "imported");
        Ok(Outcome::next().in_tx(tx))
    }
}
