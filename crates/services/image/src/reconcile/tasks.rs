//! What ended imports leave: objects to be removed, tasks and jobs that are old.

use super::objects;
use crate::{
    app::App,
    store::{import, task},
};
use ferrostack_model::{Result, Timestamp};
use std::fs;

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
        sweep_work(app).await?;
    }
    Ok(())
}

/// Removes the work directories of runs of jobs that are over: `<job id>.<generation>`.
async fn sweep_work(app: &App) -> Result<()> {
    let directory = app.work_directory();
    let Ok(entries) = fs::read_dir(&directory) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((job_id, generation)) = name.rsplit_once('.') else { continue };
        let job = ferrostack_jobs::find(&app.db, job_id).await?;
        let runs = job.is_some_and(|j| !j.state.is_final() && j.generation.to_string() == generation);
        if !runs && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(directory = name, %error, "the work directory stays until the next round");
        }
    }
    Ok(())
}
