//! What ended imports leave: objects to be removed, tasks and jobs that are old.

use super::objects;
use crate::{
    app::App,
    store::{import, task},
};
use ferrostack_model::{Result, Timestamp};

/// One round; old tasks and jobs only if `all`.
pub async fn reconcile(app: &App, all: bool) -> Result<()> {
    objects::remove_condemned(app, None).await?;
    if all {
        let unknown = import::abort_unknown(&app.db).await?;
        if unknown > 0 {
            tracing::warn!(images = unknown, "imports without a job taken back");
        }
        let now = Timestamp::now();
        let old = now.plus_seconds(-app.settings.import.task_time_to_live_hours.clamp(1, 87_600) * 3600);
        task::expire(&app.db, now, old).await?;
        ferrostack_jobs::prune(&app.db, old).await?;
        app.callers.sweep(now);
    }
    Ok(())
}
