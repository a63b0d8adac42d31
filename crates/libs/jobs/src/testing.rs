//! Fault injection and the `every_step` helper: a job kind is tested by failing, repeating and crashing each step.

use crate::{Job, JobKind, Runner, RunnerOptions, State, find};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_db::{Db, db_error, sqlx};
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};

/// What happens to a run of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the step does anything.
    CrashBefore,
    /// The process dies after the step's work, before its result is written.
    CrashAfter,
    /// The process dies after the result is written, before the next step.
    CrashAfterCommit,
    /// The step's work is done twice.
    Twice,
    /// The step fails for good.
    Fail,
}

/// The faults that are armed, each once and in order: the second waits for the first.
#[derive(Default)]
pub struct Faults(Mutex<VecDeque<(String, bool, Fault)>>);

impl Faults {
    /// Arms `fault` for the next run (or undo) of `step` after those that are armed already have happened.
    pub fn arm(&self, step: &str, undoing: bool, fault: Fault) {
        self.0.lock().push_back((step.to_owned(), undoing, fault));
    }
    pub(crate) fn take(&self, step: &str, undoing: bool) -> Option<Fault> {
        let mut armed = self.0.lock();
        let fits = armed.front().is_some_and(|(name, back, _)| name == step && *back == undoing);
        if fits { armed.pop_front().map(|(_, _, fault)| fault) } else { None }
    }
    /// How many have not happened yet.
    pub fn left(&self) -> usize {
        self.0.lock().len()
    }
    fn hand_over(&self, to: &Self) {
        let left = std::mem::take(&mut *self.0.lock());
        *to.0.lock() = left;
    }
}

/// A world in which one job can be made, driven and inspected.
#[async_trait]
pub trait Scenario<C: std::marker::Send + Sync + ?Sized + 'static>: std::marker::Send + Sync {
    /// What the steps reach.
    fn context(&self) -> Arc<C>;
    /// The service's database.
    fn db(&self) -> Db;
    /// The bus; the scenario has subscribed what plays the scheduler and the agents.
    fn bus(&self) -> Arc<dyn Bus>;
    /// The kind under test.
    fn kind(&self) -> Box<dyn JobKind<C>>;
    /// Makes the job as the API would; its id.
    async fn enqueue(&self) -> String;
    /// Asserts that the world is as after success.
    async fn assert_done(&self, job: &Job);
    /// Asserts that the world is as after a failure that was undone: nothing left over.
    async fn assert_undone(&self, job: &Job);
}

/// Runs the job once without faults, then once for each step and fault: crash before, after and after the commit
/// (another runner resumes), run twice, fail, and fail with a crash or repetition in every undo.
///
/// `make` builds a fresh scenario each time.
pub async fn every_step<C, S, F, Fut>(make: F)
where
    C: std::marker::Send + Sync + ?Sized + 'static,
    S: Scenario<C>,
    F: Fn() -> Fut,
    Fut: Future<Output = S>,
{
    let names: Vec<&'static str> = {
        let scenario = make().await;
        let names = scenario.kind().steps().iter().map(|s| s.name()).collect();
        let job = drive(&scenario, &[]).await;
        assert_eq!(job.state, State::Done, "without faults: {:?}", job.error);
        scenario.assert_done(&job).await;
        names
    };
    for step in &names {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::CrashAfterCommit, Fault::Twice] {
            let scenario = make().await;
            let job = drive(&scenario, &[(step, false, fault)]).await;
            assert_eq!(job.state, State::Done, "{fault:?} in {step}: {:?}", job.error);
            scenario.assert_done(&job).await;
        }
        let scenario = make().await;
        let job = drive(&scenario, &[(step, false, Fault::Fail)]).await;
        assert_eq!(job.state, State::Failed, "failure of {step}");
        scenario.assert_undone(&job).await;
    }
    let last = names.last().copied().unwrap_or_default();
    for step in &names {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::CrashAfterCommit, Fault::Twice] {
            let scenario = make().await;
            let job = drive(&scenario, &[(last, false, Fault::Fail), (step, true, fault)]).await;
            assert_eq!(job.state, State::Failed, "{fault:?} in undo of {step}");
            scenario.assert_undone(&job).await;
        }
    }
}

/// Runs a scenario's job to its end with `faults` in order; a crashed runner is followed by another.
pub async fn drive<C, S>(scenario: &S, faults: &[(&str, bool, Fault)]) -> Job
where
    C: std::marker::Send + Sync + ?Sized + 'static,
    S: Scenario<C>,
{
    let options = RunnerOptions { retry_ms: 1, poll_ms: 5, ..RunnerOptions::default() };
    let fresh = || {
        Runner::new(scenario.context(), scenario.db(), scenario.bus(), vec![scenario.kind()], options.clone())
    };
    let id = scenario.enqueue().await;
    let mut runner = fresh();
    for (step, undoing, fault) in faults {
        runner.faults.arm(step, *undoing, *fault);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let before = runner.faults.left();
        if let Err(error) = runner.run_one(&id).await {
            panic!("runner: {}", error.for_log());
        }
        let job = match find(&scenario.db(), &id).await {
            Ok(Some(job)) => job,
            other => panic!("job {id} cannot be read: {other:?}"),
        };
        if job.state.is_final() {
            assert_eq!(runner.faults.left(), 0, "a fault never happened");
            return job;
        }
        if runner.faults.left() < before {
            // What a crashed process held runs out; another process goes on.
            expire_leases(&scenario.db()).await;
            let next = fresh();
            runner.faults.hand_over(&next.faults);
            runner = next;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "job hangs in {} ({:?}): {:?}",
            job.step,
            job.state,
            job.error
        );
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// Lets every lease run out now.
pub async fn expire_leases(db: &Db) {
    let done = sqlx::query("UPDATE jobs SET lease_until = 0").execute(db.writer()).await.map_err(db_error);
    assert!(done.is_ok(), "leases cannot be expired");
}
