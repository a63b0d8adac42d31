//! Requests that answer only when their job has ended, or that come while a short job is still at work.

use crate::{
    app::App,
    jobs::interface,
    store::servers::{self, Server},
};
use ferrostack_jobs::Job;
use ferrostack_model::{Error, ErrorKind, Result};
use std::{future::Future, time::Duration};
use tokio::time::Instant;

/// Longest wait: the time that Nova gives a call to a host.
const LONGEST: Duration = Duration::from_secs(60);
/// How often the job's row is looked at, first and later.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

async fn look<T, F: Future<Output = Result<Option<T>>>>(mut at: impl FnMut() -> F) -> Result<Option<T>> {
    let end = Instant::now() + LONGEST;
    let mut pause = LOOK.0;
    loop {
        if let Some(found) = at().await? {
            return Ok(Some(found));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
    }
}

/// The job when nothing is left to do for it.
pub async fn ended(app: &App, job_id: &str) -> Result<Job> {
    let found = look(|| async {
        let job = ferrostack_jobs::find(&app.db, job_id).await?;
        let job = job.ok_or_else(|| Error::internal("a job vanished while it was waited for"))?;
        Ok(job.state.is_final().then_some(job))
    })
    .await?;
    found.ok_or_else(|| Error::internal(format!("job {job_id} is still at work")))
}

/// Begins a job on a server; while another one works on its interfaces, which no task shows, that is waited for.
pub async fn begun<F: Future<Output = Result<String>>>(
    app: &App,
    server: &Server,
    begin: impl Fn(Server) -> F,
) -> Result<String> {
    let mut server = server.clone();
    loop {
        let id = server.id.clone();
        let refused = match begin(server).await {
            Err(error) if error.kind == ErrorKind::Conflict => error,
            other => return other,
        };
        let active = ferrostack_jobs::find_active(&app.db, &id).await?;
        match active.filter(|job| job.kind == interface::ATTACH || job.kind == interface::DETACH) {
            Some(job) => ended(app, &job.id).await?,
            None => return Err(refused),
        };
        server = servers::get(&app.db, &id).await?;
    }
}
