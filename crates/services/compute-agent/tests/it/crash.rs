//! The agent's death at any point, and what its next start makes of it.

use crate::{
    cloud::{Cloud, HOST, ensure, eventually, uuid},
    orders::{done, rescue, running},
};
use ferrostack_bus::{Address, Bus};
use ferrostack_hypervisor::{
    Hypervisor,
    fake::{Fault, Operation},
};
use ferrostack_model::{
    guest_change::GuestChange,
    message::{Envelope, HostsWanted, Order, Outcome},
    server::PowerState,
};
use rand::Rng;
use std::time::Duration;

fn change(change: GuestChange) -> Order {
    Order::Change { change }
}

/// Every order kind with the operation it ends in and its outcome.
fn kinds(id: &str, generation: i64) -> Vec<(Order, Operation, Outcome)> {
    vec![
        (ensure(id, generation), Operation::Ensure, running()),
        (Order::Stop { timeout_seconds: 1 }, Operation::Stop, done(PowerState::Shutdown)),
        (Order::Start, Operation::Start, running()),
        (Order::RebootSoft { timeout_seconds: 1 }, Operation::Reboot, running()),
        (Order::RebootHard, Operation::Reboot, running()),
        (change(GuestChange::Pause), Operation::State, done(PowerState::Paused)),
        (change(GuestChange::Unpause), Operation::State, running()),
        (change(GuestChange::Suspend), Operation::State, done(PowerState::Shutdown)),
        (change(GuestChange::Resume), Operation::State, running()),
        (change(rescue(id)), Operation::State, running()),
        (change(GuestChange::Unrescue), Operation::State, running()),
        (Order::Destroy, Operation::Destroy, done(PowerState::NoState)),
    ]
}

#[tokio::test]
async fn every_order_is_resumed_after_a_crash_before_and_after_its_effect() {
    let mut cloud = Cloud::new(1).await;
    let id = uuid();
    let mut generation = 0;
    for fault in [Fault::Hang, Fault::HangAfter] {
        for n in 0..kinds(&id, 0).len() {
            generation += 1;
            let (order, operation, expected) = kinds(&id, generation).swap_remove(n);
            let job = format!("{operation:?} {fault:?} {n}");
            cloud.fake().inject(operation, fault);
            cloud.order(&job, &id, generation, order).await;
            cloud.known(&id, generation).await;
            // It is in the ledger; now it is in the hypervisor or about to be.
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert_eq!(cloud.answers(&job), [], "{job}");
            cloud.kill().await;
            cloud.start().await;
            assert_eq!(cloud.answer(&job).await, expected, "{job}");
            assert_eq!(cloud.answers(&job).len(), 1, "{job}");
        }
        assert_eq!(cloud.fake().guest_count(), 0);
    }
}

#[tokio::test]
async fn answers_that_nobody_took_are_sent_by_the_next_start() {
    let mut cloud = Cloud::without_agent(1);
    cloud.start().await;
    let id = uuid();
    // compute-api has no queue yet: every publication fails.
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    let fake = cloud.fake();
    eventually("the guest", || (fake.guest_count() == 1).then_some(())).await;
    cloud.closed(&id).await;
    cloud.kill().await;
    cloud.start().await;
    cloud.listen().await;
    assert_eq!(cloud.answer("build").await, running());
    assert_eq!(cloud.fake().counts().ensures, 0, "the second start had nothing to do");
    eventually("a heartbeat", || cloud.host_reports().pop()).await;
    let report = eventually("a full report", || cloud.guests_reports().pop()).await;
    assert!(report.full);
    assert_eq!(report.guests.len(), 1);
}

#[tokio::test]
async fn answers_wait_for_compute_api_to_come_up() {
    let mut cloud = Cloud::without_agent(1);
    cloud.start().await;
    let id = uuid();
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    let fake = cloud.fake();
    eventually("the guest", || (fake.guest_count() == 1).then_some(())).await;
    let probe = Envelope::new(&HostsWanted { scheduler: "s".into() }, None).unwrap();
    assert!(cloud.bus.publish(&Address::Compute, &probe).await.is_err());
    cloud.listen().await;
    assert_eq!(cloud.answer("build").await, running());
    assert_eq!(cloud.answers("build").len(), 1);
}

#[tokio::test]
async fn orders_that_came_while_the_agent_was_down_are_carried_out() {
    let mut cloud = Cloud::new(1).await;
    let id = uuid();
    cloud.kill().await;
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.start().await;
    assert_eq!(cloud.answer("build").await, running());
}

#[tokio::test]
async fn guests_run_on_when_the_agent_ends_in_good_order() {
    let mut cloud = Cloud::new(1).await;
    let id = uuid();
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.answer("build").await;
    cloud.stop().await;
    cloud.start().await;
    assert_eq!(cloud.fake().list().await.unwrap()[0].power, PowerState::Running);
    cloud.order("delete", &id, 2, Order::Destroy).await;
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
}

#[tokio::test]
async fn only_one_agent_has_the_state_directory() {
    let cloud = Cloud::new(1).await;
    let second = cloud.try_start().await;
    let error = second.err().expect("the directory is taken");
    assert!(error.internal.unwrap_or_default().contains("another agent runs"));
}

#[tokio::test]
async fn one_damaged_record_does_not_stop_the_agent() {
    let mut cloud = Cloud::new(1).await;
    let (good, bad) = (uuid(), uuid());
    for id in [&good, &bad] {
        cloud.order(id, id, 1, ensure(id, 1)).await;
        assert_eq!(cloud.answer(id).await, running());
    }
    cloud.fake().inject(Operation::Stop, Fault::Hang);
    cloud.order("half", &bad, 2, Order::Stop { timeout_seconds: 0 }).await;
    cloud.known(&bad, 2).await;
    cloud.kill().await;
    cloud.sql("UPDATE guests SET spec = '{' WHERE server_id = $1", &bad).await;
    cloud.sql("UPDATE orders SET body = '{' WHERE server_id = $1", &bad).await;
    cloud.start().await;
    assert!(matches!(cloud.answer("half").await, Outcome::Failed { .. }));
    cloud.order("stop", &good, 2, Order::Stop { timeout_seconds: 0 }).await;
    assert_eq!(cloud.answer("stop").await, done(PowerState::Shutdown));
    // The damaged one can still be removed.
    cloud.order("delete", &bad, 3, Order::Destroy).await;
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
}

/// Builds and deletes while the agent dies again and again: every job gets its answer in the end and no guest is
/// left over or missing.
#[tokio::test]
async fn nothing_is_lost_while_the_agent_dies_again_and_again() {
    const SERVERS: usize = 30;
    let mut cloud = Cloud::without_agent(1);
    cloud.settings.agent.fake.delay_ms = 3;
    cloud.listen().await;
    cloud.start().await;
    let ids: Vec<String> = (0..SERVERS).map(|_| uuid()).collect();
    for (n, id) in ids.iter().enumerate() {
        cloud.order(&format!("build-{n}"), id, 1, ensure(id, 1)).await;
        if n % 3 == 0 {
            cloud.order(&format!("delete-{n}"), id, 2, Order::Destroy).await;
        }
        if n % 5 == 4 {
            let pause = rand::rng().random_range(0..15);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            cloud.kill().await;
            cloud.start().await;
        }
    }
    for n in 0..SERVERS {
        let built = cloud.end(&format!("build-{n}")).await;
        if n % 3 == 0 {
            assert!(built == running() || built == Outcome::Superseded, "{built:?}");
            assert_eq!(cloud.end(&format!("delete-{n}")).await, done(PowerState::NoState));
        } else {
            assert_eq!(built, running());
        }
    }
    let mut left: Vec<String> = cloud.fake().list().await.unwrap().into_iter().map(|g| g.server_id).collect();
    let mut expected: Vec<String> =
        ids.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, id)| id.clone()).collect();
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(HOST, "fake-0001");
}
