//! The step machine with a toy job: a room is claimed, a key is asked for by message, the room is opened.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use ferrostack_bus::{Address, Bus, Handler, LocalBus, Source, Verdict};
use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_jobs::{
    Enqueue, Job, JobKind, Outcome, Runner, RunnerOptions, State, Step, enqueue, find, prune, supersede,
    testing::{self, Fault, Scenario, every_step},
    wake, wake_if_silent,
};
use ferrostack_model::{
    Error, Result, Timestamp,
    message::{Envelope, HostsWanted},
};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio_util::sync::CancellationToken;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./tests/migrations");

struct World {
    db: Db,
    bus: Arc<dyn Bus>,
    asked: AtomicUsize,
    _directory: tempfile::TempDir,
}

async fn set(world: &World, id: &str, state: &str, keys: i64) -> Result<Tx> {
    let mut tx = world.db.begin_write().await?;
    sqlx::query("UPDATE rooms SET state = $2, keys = $3 WHERE id = $1")
        .bind(id)
        .bind(state)
        .bind(keys)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
    Ok(tx)
}

struct Claim;
#[async_trait]
impl Step<World> for Claim {
    fn name(&self) -> &'static str {
        "claim"
    }
    async fn run(&self, world: &World, job: &Job) -> Result<Outcome> {
        Ok(Outcome::next().in_tx(set(world, &job.target, "claimed", 0).await?))
    }
    async fn undo(&self, world: &World, job: &Job) -> Result<Outcome> {
        Ok(Outcome::next().in_tx(set(world, &job.target, "free", 0).await?))
    }
}

struct Ask;
#[async_trait]
impl Step<World> for Ask {
    fn name(&self) -> &'static str {
        "ask"
    }
    async fn run(&self, world: &World, job: &Job) -> Result<Outcome> {
        if let Some(answer) = &job.inbox {
            return Outcome::next().in_tx(set(world, &job.target, "keyed", 1).await?).data(answer);
        }
        world.asked.fetch_add(1, Ordering::SeqCst);
        let question = Envelope::new(&HostsWanted { scheduler: job.id.clone() }, None)?;
        Ok(Outcome::wait(Timestamp::now().plus_millis(200)).send(Address::Scheduler, question))
    }
    async fn undo(&self, world: &World, job: &Job) -> Result<Outcome> {
        Ok(Outcome::next().in_tx(set(world, &job.target, "claimed", 0).await?))
    }
}

struct Open;
#[async_trait]
impl Step<World> for Open {
    fn name(&self) -> &'static str {
        "open"
    }
    async fn run(&self, world: &World, job: &Job) -> Result<Outcome> {
        Ok(Outcome::next().in_tx(set(world, &job.target, "open", 1).await?))
    }
}

struct OpenRoom(Vec<Box<dyn Step<World>>>);
impl OpenRoom {
    fn boxed() -> Box<dyn JobKind<World>> {
        Box::new(Self(vec![Box::new(Claim), Box::new(Ask), Box::new(Open)]))
    }
}
#[async_trait]
impl JobKind<World> for OpenRoom {
    fn kind(&self) -> &'static str {
        "open-room"
    }
    fn steps(&self) -> &[Box<dyn Step<World>>] {
        &self.0
    }
    async fn failed(&self, _: &World, job: &Job, tx: &mut Tx) -> Result<()> {
        sqlx::query("UPDATE rooms SET state = 'failed' WHERE id = $1 AND state = 'free'")
            .bind(&job.target)
            .execute(&mut **tx)
            .await
            .map(|_| ())
            .map_err(db_error)
    }
}

/// Plays the one who is asked.
struct Answering(Db);
#[async_trait]
impl Handler for Answering {
    async fn handle(&self, message: Envelope) -> Verdict {
        let question: HostsWanted = message.open().unwrap();
        wake(&self.0, &question.scheduler, &json!({"key": 42})).await.unwrap();
        Verdict::Ack
    }
}

impl World {
    async fn new(answers: bool) -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().display());
        let db = Db::open(&url, "rooms", 4, &MIGRATIONS).await.map_err(|e| e.for_log()).unwrap();
        sqlx::query("INSERT INTO rooms (id, state, keys) VALUES ('r1', 'free', 0)")
            .execute(db.writer())
            .await
            .unwrap();
        let bus = Arc::new(LocalBus::new());
        if answers {
            let stop = CancellationToken::new();
            bus.consume(Source::Scheduler, 4, Arc::new(Answering(db.clone())), stop).await.unwrap();
        }
        Arc::new(Self { db, bus, asked: AtomicUsize::new(0), _directory: directory })
    }

    async fn room(&self) -> (String, i64) {
        sqlx::query_as("SELECT state, keys FROM rooms WHERE id = 'r1'")
            .fetch_one(self.db.reader())
            .await
            .unwrap()
    }

    async fn make_job(&self) -> String {
        let mut tx = self.db.begin_write().await.unwrap();
        let job = Enqueue {
            kind: "open-room",
            first_step: "claim",
            target: "r1",
            data: json!({}),
            request_id: None,
        };
        let id = enqueue(&mut tx, job).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    fn runner(self: &Arc<Self>) -> Arc<Runner<World>> {
        let options = RunnerOptions { retry_ms: 1, poll_ms: 5, ..RunnerOptions::default() };
        Runner::new(self.clone(), self.db.clone(), self.bus.clone(), vec![OpenRoom::boxed()], options)
    }
}

struct Rooms(Arc<World>);
#[async_trait]
impl Scenario<World> for Rooms {
    fn context(&self) -> Arc<World> {
        self.0.clone()
    }
    fn db(&self) -> Db {
        self.0.db.clone()
    }
    fn bus(&self) -> Arc<dyn Bus> {
        self.0.bus.clone()
    }
    fn kind(&self) -> Box<dyn JobKind<World>> {
        OpenRoom::boxed()
    }
    async fn enqueue(&self) -> String {
        self.0.make_job().await
    }
    async fn assert_done(&self, job: &Job) {
        assert_eq!(self.0.room().await, ("open".into(), 1));
        assert_eq!(job.data, json!({"key": 42}));
    }
    async fn assert_undone(&self, job: &Job) {
        assert_eq!(self.0.room().await, ("failed".into(), 0));
        assert!(job.error.as_deref().unwrap().contains("injected"), "{:?}", job.error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_every_fault_in_every_step() {
    every_step(|| async { Rooms(World::new(true).await) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again() {
    let world = World::new(false).await;
    let id = world.make_job().await;
    let runner = world.runner();
    let stop = CancellationToken::new();
    let running = tokio::spawn(runner.clone().start(stop.clone()));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while world.asked.load(Ordering::SeqCst) < 3 {
        assert!(std::time::Instant::now() < deadline, "the question is not repeated");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(wake(&world.db, &id, &json!({"key": 42})).await.unwrap());
    runner.poke();
    while find(&world.db, &id).await.unwrap().unwrap().state != State::Done {
        assert!(std::time::Instant::now() < deadline, "the answer is not seen");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(!wake(&world.db, &id, &json!({})).await.unwrap(), "an ended job is not woken");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn one_active_job_per_target() {
    let world = World::new(true).await;
    let first = world.make_job().await;
    let mut tx = world.db.begin_write().await.unwrap();
    let job =
        Enqueue { kind: "open-room", first_step: "claim", target: "r1", data: json!({}), request_id: None };
    assert!(matches!(
        enqueue(&mut tx, job).await,
        Err(Error { kind: ferrostack_model::ErrorKind::Conflict, .. })
    ));
    drop(tx);
    let mut tx = world.db.begin_write().await.unwrap();
    assert_eq!(supersede(&mut tx, "r1").await.unwrap().unwrap().id, first);
    tx.commit().await.unwrap();
    world.make_job().await;
    assert_eq!(find(&world.db, &first).await.unwrap().unwrap().state, State::Superseded);
}

#[tokio::test]
async fn a_superseded_runner_writes_nothing() {
    let world = World::new(false).await;
    let id = world.make_job().await;
    let runner = world.runner();
    // Up to the question; then another job takes the room over while this one waits.
    runner.run_one(&id).await.unwrap();
    assert_eq!(world.room().await.0, "claimed");
    let mut tx = world.db.begin_write().await.unwrap();
    supersede(&mut tx, "r1").await.unwrap();
    tx.commit().await.unwrap();
    assert!(!wake(&world.db, &id, &json!({"key": 1})).await.unwrap());
    assert_eq!(runner.run_one(&id).await.unwrap(), None);
    assert_eq!(world.room().await, ("claimed".into(), 0));
}

#[tokio::test]
async fn two_runners_never_hold_one_job() {
    let world = World::new(false).await;
    let id = world.make_job().await;
    let (a, b) = (world.runner(), world.runner());
    let (a, b) = tokio::join!(a.run_one(&id), b.run_one(&id));
    let ran = [a.unwrap(), b.unwrap()].iter().flatten().count();
    assert_eq!(ran, 1);
    assert_eq!(world.asked.load(Ordering::SeqCst), 1);
    let crashed = testing::drive(&Rooms(World::new(true).await), &[("open", false, Fault::CrashAfter)]).await;
    assert_eq!(crashed.state, State::Done);
}

#[tokio::test]
async fn a_word_that_is_not_final_never_hides_an_answer() {
    let world = World::new(false).await;
    let id = world.make_job().await;
    assert!(wake(&world.db, &id, &json!({"key": 7})).await.unwrap());
    assert!(!wake_if_silent(&world.db, &id, &json!({"working": true})).await.unwrap());
    assert_eq!(find(&world.db, &id).await.unwrap().unwrap().inbox, Some(json!({"key": 7})));
}

#[tokio::test]
async fn only_ended_jobs_are_forgotten() {
    let world = World::new(false).await;
    let first = world.make_job().await;
    let later = Timestamp::now().plus_seconds(60);
    assert_eq!(prune(&world.db, later).await.unwrap(), 0);
    let mut tx = world.db.begin_write().await.unwrap();
    supersede(&mut tx, "r1").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(prune(&world.db, Timestamp::now().plus_seconds(-60)).await.unwrap(), 0);
    assert_eq!(prune(&world.db, later).await.unwrap(), 1);
    assert!(find(&world.db, &first).await.unwrap().is_none());
}

#[tokio::test]
async fn a_failure_keeps_its_public_text() {
    let world = World::new(true).await;
    let id = world.make_job().await;
    let runner = world.runner();
    runner.faults().arm("claim", false, Fault::Fail);
    runner.run_one(&id).await.unwrap();
    let job = find(&world.db, &id).await.unwrap().unwrap();
    assert_eq!(job.state, State::Failed);
    let failure = job.failure.unwrap();
    assert_eq!(failure.internal.as_deref(), Some("injected failure"));
    assert!(!failure.public.contains("injected"), "{}", failure.public);
    assert!(job.error.unwrap().contains("injected failure"));
}
