//! Live migrations and evacuations as jobs: through every fault, and with hosts that say what is not so.

use crate::{
    jobs::{ASKER, Bench, until},
    support::Database,
    world::count,
};
use async_trait::async_trait;
use ferrostack_bus::Bus;
use ferrostack_compute_api::{
    app::App,
    jobs::{evacuate, live_migrate},
    store::{
        guests,
        instance_actions::Asker,
        live_migration_wishes::{self as wishes, Wishes},
        migrations::{self, Filter, Migration},
        servers::change,
        services,
    },
};
use ferrostack_db::Db;
use ferrostack_jobs::{
    Job, JobKind, State,
    testing::{Scenario, every_step},
};
use ferrostack_model::{
    Timestamp,
    migration::{Kind, Status},
    server::{PowerState, VmState},
};
use std::sync::Arc;

const MOVER: Asker<'static> = Asker { request_id: "req-move", admin: true, ..ASKER };

async fn migration(bench: &Bench) -> Option<Migration> {
    migrations::list(&bench.app.db, &Filter::default(), 1).await.unwrap().pop()
}

async fn live(bench: &Bench) -> String {
    let wish = live_migrate::Wish::default();
    live_migrate::begin(&bench.app, bench.row().await, wish, MOVER).await.map_err(|e| e.for_log()).unwrap()
}

async fn down(bench: &Bench, host: &str, down: bool) {
    let change = services::Change { forced_down: Some(down), ..services::Change::default() };
    services::update(&bench.app.db, host, &change).await.unwrap();
    match down {
        true => bench.world.state.lock().mute.insert(host.to_owned()),
        false => bench.world.state.lock().mute.remove(host),
    };
}

/// Hosts where the guest is. There is never more than one (I03).
fn places(bench: &Bench) -> Vec<String> {
    let state = bench.world.state.lock();
    let holds = |host: &&String| state.guests.get(*host).is_some_and(|g| g.contains_key(&bench.server));
    bench.world.hosts.iter().filter(holds).cloned().collect()
}

/// One guest, where the row says; one claim, there; nothing prepared anywhere; ports bound there.
async fn whole(bench: &Bench) {
    let db = &bench.app.db;
    let server = bench.row().await;
    assert_eq!(server.task_state, None);
    let host = server.host.clone().unwrap();
    // A loop, not a closure: futures of scenarios must be Send.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let rows = guests::of_server(db, &server.id).await.unwrap();
        let known = rows.len() == 1 && rows[0].host == host && rows[0].doomed == 0;
        if known && places(bench) == [host.clone()] {
            break;
        }
        assert!(std::time::Instant::now() < end, "{host}: {rows:?}, guests at {:?}", places(bench));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(count(db, "SELECT COUNT(*) FROM claims").await, 1);
    assert_eq!(count(db, "SELECT COUNT(*) FROM move_claims").await, 0);
    let held = "SELECT COUNT(*) FROM hosts, claims WHERE hosts.host = claims.host AND num_instances = 1 \
                AND vcpus_used = claims.vcpus";
    assert_eq!(count(db, held).await, 1);
    assert_eq!(count(db, "SELECT CAST(SUM(num_instances) AS BIGINT) FROM hosts").await, 1);
    let state = bench.world.state.lock();
    assert!(state.live.expected.values().all(|guests| guests.is_empty()), "{:?}", state.live.expected);
    for port in state.ports.values() {
        assert_eq!(port["binding:host_id"], host.as_str());
    }
}

struct Moving {
    bench: Bench,
    kind: fn() -> Box<dyn JobKind<App>>,
}

impl Moving {
    async fn new(kind: fn() -> Box<dyn JobKind<App>>) -> Self {
        let bench = Bench::new(2).await;
        bench.build().await;
        assert_eq!(places(&bench), ["host1"]);
        Self { bench, kind }
    }

    fn evacuates(&self) -> bool {
        (self.kind)().kind() == evacuate::KIND
    }
}

#[async_trait]
impl Scenario<App> for Moving {
    fn context(&self) -> Arc<App> {
        self.bench.app.clone()
    }
    fn db(&self) -> Db {
        self.bench.app.db.clone()
    }
    fn bus(&self) -> Arc<dyn Bus> {
        self.bench.app.bus.clone()
    }
    fn kind(&self) -> Box<dyn JobKind<App>> {
        (self.kind)()
    }
    async fn enqueue(&self) -> String {
        if !self.evacuates() {
            return live(&self.bench).await;
        }
        down(&self.bench, "host1", true).await;
        // A power failure: nothing of it runs.
        self.bench.world.state.lock().guests.remove("host1");
        let wish = evacuate::Wish::default();
        evacuate::begin(&self.bench.app, self.bench.row().await, wish, MOVER)
            .await
            .map_err(|e| e.for_log())
            .unwrap()
    }

    async fn assert_done(&self, job: &Job) {
        let bench = &self.bench;
        let server = bench.row().await;
        assert_eq!(server.host.as_deref(), Some("host2"));
        assert_eq!(server.node.as_deref(), Some("host2.example"));
        assert_eq!((server.vm_state, server.power_state), (VmState::Active, PowerState::Running));
        assert_eq!(bench.event(job.request_id.as_deref().unwrap()).await.0.as_deref(), Some("Success"));
        let migration = migration(bench).await.unwrap();
        let status = if self.evacuates() { Status::Done } else { Status::Completed };
        assert_eq!(migration.status, status);
        assert_eq!(migration.dest.host.as_deref(), Some("host2"));
        if self.evacuates() {
            down(bench, "host1", false).await;
            ferrostack_compute_api::reconcile::guests::collect(&bench.app, -1).await.unwrap();
        }
        whole(bench).await;
    }

    async fn assert_undone(&self, job: &Job) {
        let bench = &self.bench;
        assert_eq!(bench.event(job.request_id.as_deref().unwrap()).await.0.as_deref(), Some("Error"));
        let server = bench.row().await;
        if self.evacuates() {
            // Nothing of the dead host's is lost by an evacuation that failed (R29).
            assert_eq!((server.host.as_deref(), server.vm_state), (Some("host1"), VmState::Error));
            assert_eq!(places(bench), [""; 0]);
            let rows = guests::of_server(&bench.app.db, &server.id).await.unwrap();
            assert!(rows.iter().any(|row| row.host == "host1" && row.doomed == 0), "{rows:?}");
            assert_eq!(count(&bench.app.db, "SELECT COUNT(*) FROM move_claims").await, 0);
            return;
        }
        assert_eq!(server.vm_state, VmState::Active, "{:?}", server.fault);
        if let Some(migration) = migration(bench).await {
            let moved = server.host.as_deref() == Some("host2");
            assert_eq!(migration.status, if moved { Status::Completed } else { Status::Error });
        }
        whole(bench).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x09_r22_r23_live_migration_survives_every_fault() {
    every_step(|| Moving::new(|| Box::new(live_migrate::LiveMigrate::new()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r29_r31_evacuation_survives_every_fault() {
    every_step(|| Moving::new(|| Box::new(evacuate::Evacuate::new()))).await;
}

async fn bench(hosts: usize) -> Bench {
    let bench = Bench::on(Database::test_postgres().await, hosts).await;
    bench.build().await;
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn r21_who_has_the_guest_has_the_server_whatever_is_said() {
    // What the source says, and where the guest is in the end.
    for (says_failed, silent, moved) in
        [(None, false, true), (Some(true), false, true), (Some(false), false, false), (None, true, true)]
    {
        let bench = bench(2).await;
        {
            let live = &mut bench.world.state.lock().live;
            (live.says_failed, live.silent_after) = (says_failed, silent);
        }
        let job = bench.finish(&live(&bench).await).await;
        let case = format!("{says_failed:?} {silent}: {:?}", job.error);
        assert_eq!(job.state, if moved { State::Done } else { State::Failed }, "{case}");
        assert_eq!(bench.row().await.host.as_deref(), Some(if moved { "host2" } else { "host1" }), "{case}");
        assert_eq!(bench.row().await.vm_state, VmState::Active, "{case}");
        if silent {
            bench.world.state.lock().mute.clear();
            ferrostack_compute_api::reconcile::guests::collect(&bench.app, -1).await.unwrap();
        }
        whole(&bench).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r21_nothing_is_done_to_a_guest_that_nobody_speaks_for() {
    let bench = bench(2).await;
    bench.world.state.lock().live.silent_after = true;
    let job = live(&bench).await;
    let runner = bench.runner();
    // The guest has left, and neither host says a word.
    until("the guest has moved", async || {
        runner.run_one(&job).await.unwrap();
        (places(&bench) == ["host2"]).then_some(())
    })
    .await;
    for host in ["host1", "host2"] {
        down(&bench, host, true).await;
    }
    let orders = async || bench.world.state.lock().orders.len();
    let before = orders().await;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(6);
    while std::time::Instant::now() < end {
        runner.run_one(&job).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let server = bench.row().await;
        assert_eq!(server.host.as_deref(), Some("host1"));
        assert!(server.task_state.is_some());
    }
    assert_eq!(orders().await, before);
    // The destination is back: it has the guest.
    down(&bench, "host2", false).await;
    assert_eq!(bench.finish(&job).await.state, State::Done);
    assert_eq!(bench.row().await.host.as_deref(), Some("host2"));
    down(&bench, "host1", false).await;
    ferrostack_compute_api::reconcile::guests::collect(&bench.app, -1).await.unwrap();
    whole(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_held_is_aborted_or_forced() {
    for force in [false, true] {
        let bench = bench(2).await;
        bench.world.state.lock().live.hold = true;
        let job = live(&bench).await;
        let runner = bench.runner();
        let row = until("progress is told", async || {
            runner.run_one(&job).await.unwrap();
            migration(&bench).await.filter(|m| m.status == Status::Running && m.memory.remaining == Some(1))
        })
        .await;
        assert_eq!((row.kind, row.memory.total, row.memory.processed), (Kind::Live, Some(3), Some(2)));
        let mut tx = bench.app.db.begin_write().await.unwrap();
        wishes::add(&mut tx, row.id, Wishes { abort: !force, force_complete: force }).await.unwrap();
        tx.commit().await.unwrap();
        ferrostack_jobs::wake_if_silent(&bench.app.db, &job, &serde_json::json!({})).await.unwrap();
        let ended = bench.finish(&job).await;
        assert_eq!(ended.state, if force { State::Done } else { State::Failed }, "{:?}", ended.error);
        let status = migration(&bench).await.unwrap().status;
        assert_eq!(status, if force { Status::Completed } else { Status::Cancelled });
        assert_eq!(bench.row().await.host.as_deref(), Some(if force { "host2" } else { "host1" }));
        assert_eq!(bench.row().await.fault, None);
        whole(&bench).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r23_a_destination_that_refuses_costs_nothing() {
    let bench = bench(3).await;
    bench.world.state.lock().live.refusing.insert("host2".into(), true);
    let before = bench.world.state.lock().ports.clone();
    let job = bench.finish(&live(&bench).await).await;
    assert_eq!(job.state, State::Done, "{:?}", job.error);
    assert_eq!(bench.row().await.host.as_deref(), Some("host3"));
    whole(&bench).await;
    drop(bench);
    // All refuse: the server stays, as it was.
    let bench = self::bench(3).await;
    for host in ["host2", "host3"] {
        bench.world.state.lock().live.refusing.insert(host.into(), true);
    }
    let ports = bench.world.state.lock().ports.clone();
    let job = bench.finish(&live(&bench).await).await;
    assert_eq!(job.state, State::Failed);
    assert_eq!(migration(&bench).await.unwrap().status, Status::Error);
    assert_eq!(bench.world.state.lock().ports, ports);
    assert_eq!(ports.len(), before.len());
    whole(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_2015_015_a_delete_during_a_migration_leaves_nothing() {
    let bench = bench(2).await;
    bench.world.state.lock().live.hold = true;
    let job = live(&bench).await;
    let runner = bench.runner();
    until("it is under way", async || {
        runner.run_one(&job).await.unwrap();
        migration(&bench).await.filter(|m| m.memory.remaining == Some(1))
    })
    .await;
    bench.delete().await;
    let delete = bench.active().await.unwrap();
    assert_eq!(bench.finish(&delete.id).await.state, State::Done);
    bench.world.assert_empty(&bench.app.db).await;
    assert_eq!(count(&bench.app.db, "SELECT COUNT(*) FROM move_claims").await, 0);
    assert_eq!(migration(&bench).await.unwrap().status, Status::Error);
}

async fn evacuate(bench: &Bench, wish: evacuate::Wish) -> Job {
    let job =
        evacuate::begin(&bench.app, bench.row().await, wish, MOVER).await.map_err(|e| e.for_log()).unwrap();
    bench.finish(&job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn i03_r30_the_returning_host_runs_no_second_copy() {
    let bench = bench(2).await;
    // The host is cut off: its guest runs on.
    down(&bench, "host1", true).await;
    let job = evacuate(&bench, evacuate::Wish::default()).await;
    assert_eq!(job.state, State::Done, "{:?}", job.error);
    assert_eq!(bench.row().await.host.as_deref(), Some("host2"));
    // It is back, with what it had. Nothing is destroyed but what an evacuation that is over has replaced.
    down(&bench, "host1", false).await;
    bench.world.report_guests("host1", Timestamp::now(), true).await;
    ferrostack_compute_api::reconcile::guests::collect(&bench.app, -1).await.unwrap();
    whole(&bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r32_evacuation_takes_over_from_whatever_was_done() {
    // A live migration whose source died on the way: what its destination was prepared for goes first.
    let bench = bench(3).await;
    bench.world.state.lock().live.hold = true;
    let job = live(&bench).await;
    let runner = bench.runner();
    until("it is under way", async || {
        runner.run_one(&job).await.unwrap();
        migration(&bench).await.filter(|m| m.memory.remaining == Some(1))
    })
    .await;
    down(&bench, "host1", true).await;
    bench.world.state.lock().guests.remove("host1");
    let job = evacuate(&bench, evacuate::Wish::default()).await;
    assert_eq!(job.state, State::Done, "{:?}", job.error);
    let server = bench.row().await;
    assert_ne!(server.host.as_deref(), Some("host1"));
    let all = migrations::list(&bench.app.db, &Filter::default(), 9).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|m| (m.kind, m.status)).collect();
    assert_eq!(kinds, [(Kind::Evacuation, Status::Done), (Kind::Live, Status::Error)]);
    assert_eq!(places(&bench).len(), 1);
    assert_eq!(count(&bench.app.db, "SELECT COUNT(*) FROM move_claims").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_evacuated_and_stays_off() {
    let bench = bench(2).await;
    let mut tx = bench.app.db.begin_write().await.unwrap();
    change::settle(&mut tx, &bench.server, VmState::Stopped, PowerState::Shutdown, Timestamp::now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    down(&bench, "host1", true).await;
    bench.world.state.lock().guests.remove("host1");
    let job = evacuate(&bench, evacuate::Wish::default()).await;
    assert_eq!(job.state, State::Done, "{:?}", job.error);
    assert_eq!(bench.row().await.vm_state, VmState::Stopped);
    let spec = bench.world.state.lock().specs[&bench.server].clone();
    assert_eq!(spec.power, ferrostack_model::guest::WantedPower::Stopped);
}
