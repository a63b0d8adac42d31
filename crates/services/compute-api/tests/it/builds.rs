//! Builds that meet failing, mute and crowded hosts.

use crate::{
    jobs::{ASKER, Bench, until},
    support::Database,
    world::count,
};
use ferrostack_compute_api::{
    jobs, reconcile,
    store::{claims, guests, instance_actions as actions, servers},
};
use ferrostack_db::sqlx;
use ferrostack_jobs::State;
use ferrostack_model::server::VmState;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_on_one_host_goes_to_the_next() {
    let bench = Bench::new(2).await;
    bench.world.state.lock().failing.insert("host1".into(), true);
    bench.build().await;
    let server = bench.row().await;
    assert_eq!(server.host.as_deref(), Some("host2"));
    until("the failed host is cleaned", async || {
        (bench.world.guest_count() == 1
            && guests::of_server(&bench.app.db, &server.id).await.unwrap().len() == 1)
            .then_some(())
    })
    .await;
    assert_eq!(count(&bench.app.db, "SELECT num_instances FROM hosts WHERE host = 'host1'").await, 0);
    let host_id = bench.world.state.lock().ports.values().next().unwrap()["binding:host_id"].clone();
    assert_eq!(host_id, "host2");
    let events = actions::events(&bench.app.db, &server.id, "req-1").await.unwrap();
    let results: Vec<_> =
        events.iter().map(|e| (e.host.clone().unwrap(), e.result.clone().unwrap())).collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(results, [pair("host2", "Success"), pair("host1", "Error")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_everywhere_explains_itself() {
    let bench = Bench::new(3).await;
    for host in &bench.world.hosts {
        bench.world.state.lock().failing.insert(host.clone(), true);
    }
    let id = bench.enqueue_build(&bench.server).await;
    assert_eq!(bench.finish(&id).await.state, State::Failed);
    let server = bench.row().await;
    assert_eq!(server.vm_state, VmState::Error);
    let fault = server.fault.unwrap();
    assert!(fault.message.starts_with("Exceeded maximum number of retries."), "{fault:?}");
    assert!(fault.private.contains("host1: The disk is full. ENOSPC"), "{fault:?}");
    assert!(!fault.details.contains("host1"), "{fault:?}");
    until("every host is cleaned", async || (bench.world.guest_count() == 0).then_some(())).await;
    bench.world.assert_unclaimed(&bench.app.db).await;
    assert!(bench.world.state.lock().ports.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_valid_host_is_explained_to_users_and_admins() {
    let bench = Bench::new(2).await;
    bench.world.state.lock().no_host = true;
    let id = bench.enqueue_build(&bench.server).await;
    assert_eq!(bench.finish(&id).await.state, State::Failed);
    let fault = bench.row().await.fault.unwrap();
    assert_eq!(fault.message, "No valid host was found. There are not enough hosts available.");
    assert_eq!(fault.details, "2 hosts were considered. RamFilter refused 2 hosts: too little memory.");
    assert!(fault.private.contains("RamFilter refused host1, host2"), "{}", fault.private);
    let (result, details) = bench.event("req-1").await;
    assert_eq!(result.as_deref(), Some("Error"));
    assert!(details.unwrap().contains("RamFilter refused 2 hosts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_order_is_asked_for_and_repeated() {
    let bench = Bench::new(1).await;
    bench.world.state.lock().lose.insert("ensure", 1);
    bench.build().await;
    assert_eq!(bench.world.state.lock().orders, ["host1 ensure"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_host_is_given_up_and_owes_a_destroy() {
    let bench = Bench::new(2).await;
    bench.world.state.lock().mute.insert("host1".into());
    bench.build().await;
    assert_eq!(bench.row().await.host.as_deref(), Some("host2"));
    // Deleting does not wait for it for ever either; the row of what it owes stays.
    bench.delete().await;
    let job = bench.active().await.unwrap();
    assert_eq!(bench.finish(&job.id).await.state, State::Done);
    assert!(bench.row().await.deleted_at.is_some());
    bench.world.assert_unclaimed(&bench.app.db).await;
    let owed = guests::of_server(&bench.app.db, &bench.server).await.unwrap();
    assert_eq!(owed.iter().map(|g| (g.host.as_str(), g.doomed)).collect::<Vec<_>>(), [("host1", 1)]);
    // It comes back.
    bench.world.state.lock().mute.clear();
    reconcile::guests::collect(&bench.app, 0).await.unwrap();
    until("the debt is paid", async || {
        guests::of_server(&bench.app.db, &bench.server).await.unwrap().is_empty().then_some(())
    })
    .await;
    bench.world.assert_empty(&bench.app.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_never_exceed_capacity() {
    let mut databases = vec![None];
    databases.extend(Database::test_postgres().await.map(Some));
    for database in databases {
        let bench = Bench::on(database, 1).await;
        let db = bench.app.db.clone();
        // 16 CPUs at a ratio of 4 hold 64; each server takes 3.
        let mut ids = Vec::new();
        for n in 0..64 {
            ids.push(bench.insert(&format!("vm{n}"), 3).await);
        }
        let mut tasks = Vec::new();
        for server in ids {
            let (db, settings) = (db.clone(), bench.app.settings.compute.clone());
            tasks.push(tokio::spawn(async move {
                let want = claims::Want { vcpus: 3, memory_mb: 512, local_gb: 1 };
                let mut tx = db.begin_write().await.unwrap();
                let got = claims::claim(&mut tx, &server, "host1", want, &settings, false).await.unwrap();
                tx.commit().await.unwrap();
                (server, got.is_some())
            }));
        }
        let mut won = Vec::new();
        for task in tasks {
            let (server, got) = task.await.unwrap();
            won.extend(got.then_some(server));
        }
        assert_eq!(won.len(), 21);
        let used = "SELECT vcpus_used FROM hosts WHERE host = 'host1'";
        assert_eq!(count(&db, used).await, 63);
        for server in &won {
            let mut tx = db.begin_write().await.unwrap();
            assert_eq!(claims::release(&mut tx, server).await.unwrap().as_deref(), Some("host1"));
            assert_eq!(claims::release(&mut tx, server).await.unwrap(), None, "released once");
            tx.commit().await.unwrap();
        }
        bench.world.assert_unclaimed(&db).await;
        sqlx::query("UPDATE hosts SET disabled = 1").execute(db.writer()).await.unwrap();
        let want = claims::Want { vcpus: 1, memory_mb: 1, local_gb: 1 };
        let mut tx = db.begin_write().await.unwrap();
        let settings = &bench.app.settings.compute;
        assert_eq!(claims::claim(&mut tx, &won[0], "host1", want, settings, false).await.unwrap(), None);
        assert!(claims::claim(&mut tx, &won[0], "host1", want, settings, true).await.unwrap().is_some());
        drop(tx);
        finish(bench).await;
    }
}

async fn finish(mut bench: Bench) {
    bench.app.stop.cancel();
    bench.app.db.close().await;
    if let Some(database) = bench.database.take() {
        database.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_builds_and_deletes_at_once_on_both_databases() {
    let mut databases = vec![None];
    databases.extend(Database::test_postgres().await.map(Some));
    for database in databases {
        let bench = Bench::on(database, 4).await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(bench.runner().start(stop.clone()));
        let mut ids = vec![bench.server.clone()];
        for n in 0..39 {
            ids.push(bench.insert(&format!("vm{n}"), 1).await);
        }
        for id in &ids {
            bench.enqueue_build(id).await;
        }
        // Half of them go while they are built.
        for id in ids.iter().step_by(2) {
            let server = servers::find(&bench.app.db, id).await.unwrap().unwrap();
            jobs::delete::begin(&bench.app, &server, ASKER).await.map_err(|e| e.for_log()).unwrap();
        }
        let busy = "SELECT COUNT(*) FROM jobs WHERE state IN ('active', 'undoing')";
        until("every job ends", async || (count(&bench.app.db, busy).await == 0).then_some(())).await;
        assert_eq!(count(&bench.app.db, "SELECT COUNT(*) FROM servers WHERE vm_state = 'active'").await, 20);
        assert_eq!(count(&bench.app.db, "SELECT COUNT(*) FROM servers WHERE vm_state = 'deleted'").await, 20);
        assert_eq!(bench.world.guest_count(), 20);
        assert_eq!(count(&bench.app.db, "SELECT CAST(SUM(num_instances) AS BIGINT) FROM hosts").await, 20);
        for id in ids.iter().skip(1).step_by(2) {
            let server = servers::find(&bench.app.db, id).await.unwrap().unwrap();
            jobs::delete::begin(&bench.app, &server, ASKER).await.map_err(|e| e.for_log()).unwrap();
        }
        until("every server is gone", async || (count(&bench.app.db, busy).await == 0).then_some(())).await;
        // A fenced build may have been inside a call for a port.
        reconcile::ports::sweep(&bench.app, -1).await.unwrap();
        bench.world.assert_empty(&bench.app.db).await;
        stop.cancel();
        running.await.unwrap();
        finish(bench).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_was_away_is_asked_again() {
    let bench = Bench::new(1).await;
    bench.world.state.lock().no_scheduler = true;
    let id = bench.enqueue_build(&bench.server).await;
    let runner = bench.runner();
    runner.run_one(&id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.world.state.lock().no_scheduler = false;
    assert_eq!(bench.finish(&id).await.state, State::Done);
}
