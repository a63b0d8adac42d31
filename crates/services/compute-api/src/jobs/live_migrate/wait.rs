//! Below microversion 2.34 the answer waits for the checks.

use crate::app::App;
use ferrostack_jobs::State;
use ferrostack_model::{Error, Result};
use std::time::{Duration, Instant};

/// How long a caller waits, as Nova's `rpc_response_timeout`.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the job is looked at: it may run in another process.
const LOOK: Duration = Duration::from_millis(50);
/// The steps that are checks.
const CHECKS: [&str; 6] = [super::FIRST, "begin", "check", "schedule", "claim", "prepare"];

/// Waits until the job has its checks behind it, or as long as a caller may wait.
///
/// # Errors
/// `BadRequest` with the reason if they failed.
pub async fn until_checked(app: &App, job_id: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let Some(job) = ferrostack_jobs::find(&app.db, job_id).await? else { return Ok(()) };
        match job.state {
            State::Active if CHECKS.contains(&job.step.as_str()) => {}
            State::Active | State::Done | State::Superseded => return Ok(()),
            // It is answered when nothing is left of the attempt.
            State::Undoing => {}
            State::Failed => {
                let why = job.failure.map_or_else(|| "The migration failed.".to_owned(), |e| e.public);
                return Err(Error::bad_request(why));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
