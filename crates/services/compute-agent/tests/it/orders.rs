//! Orders, duplicates, old generations, answers that get lost.

use crate::cloud::{Cloud, HOST, ensure, eventually, spec, uuid};
use ferrostack_bus::{Address, Bus};
use ferrostack_hypervisor::{
    Hypervisor,
    fake::{Fault, Operation},
};
use ferrostack_model::{
    ErrorKind, Timestamp,
    auth::Secret,
    guest::WantedPower,
    guest_change::{GuestChange, RescueSpec},
    message::{AgentOrder, Envelope, Order, Outcome},
    server::PowerState,
};

pub fn done(power: PowerState) -> Outcome {
    Outcome::Done { power }
}

pub fn running() -> Outcome {
    done(PowerState::Running)
}

/// The order to rescue a guest with its own image.
pub fn rescue(id: &str) -> GuestChange {
    let image = spec(id, 1).image;
    let rescue = RescueSpec { image, kernel: None, ramdisk: None, admin_pass: None, timeout_seconds: 0 };
    GuestChange::Rescue { rescue: Box::new(rescue) }
}

fn is_failed(outcome: &Outcome, elsewhere: bool) -> bool {
    matches!(outcome, Outcome::Failed { retry_elsewhere, .. } if *retry_elsewhere == elsewhere)
}

#[tokio::test]
async fn every_order_is_carried_out_and_answered() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    let orders = [
        (ensure(&id, 1), running()),
        (Order::Stop { timeout_seconds: 1 }, done(PowerState::Shutdown)),
        (Order::Start, running()),
        (Order::RebootSoft { timeout_seconds: 1 }, running()),
        (Order::RebootHard, running()),
        (Order::Change { change: GuestChange::Pause }, done(PowerState::Paused)),
        (Order::Change { change: GuestChange::Unpause }, running()),
        (Order::Change { change: GuestChange::Suspend }, done(PowerState::Shutdown)),
        (Order::Change { change: GuestChange::Resume }, running()),
        (Order::Change { change: rescue(&id) }, running()),
        (Order::Change { change: GuestChange::Unrescue }, running()),
        (
            Order::Change {
                change: GuestChange::SetPassword { user: "root".into(), password: Secret("x".into()) },
            },
            running(),
        ),
        (Order::Destroy, done(PowerState::NoState)),
    ];
    for (i, (order, expected)) in orders.into_iter().enumerate() {
        let (job, generation) = (format!("job-{i}"), i as i64 + 1);
        cloud.order(&job, &id, generation, order).await;
        assert_eq!(cloud.answer(&job).await, expected, "{job}");
    }
    assert_eq!(cloud.fake().guest_count(), 0);
    let report = eventually("a heartbeat", || cloud.host_reports().pop()).await;
    assert_eq!((report.host.as_str(), report.hypervisor_type.as_str()), (HOST, "fake"));
    assert!(report.agent_url.starts_with("http://127.0.0.1:"), "{}", report.agent_url);
}

#[tokio::test]
async fn a_repeated_order_is_done_once_and_answered_again() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    for n in 0..3 {
        cloud.order("build", &id, 1, ensure(&id, 1)).await;
        assert_eq!(cloud.nth_answer("build", n).await, running());
    }
    assert_eq!(cloud.fake().counts().ensures, 1);
}

#[tokio::test]
async fn a_repeated_order_is_answered_working_while_it_is_worked_on() {
    let cloud = Cloud::new(1).await;
    let (id, fake) = (uuid(), cloud.fake());
    fake.inject(Operation::Ensure, Fault::Hang);
    for _ in 0..2 {
        cloud.order("build", &id, 1, ensure(&id, 1)).await;
    }
    assert_eq!(cloud.answer("build").await, Outcome::Working { detail: "ensure".into() });
    cloud.inquire("build", &id, 1).await;
    assert_eq!(cloud.nth_answer("build", 1).await, Outcome::Working { detail: "ensure".into() });
    // The call hangs somewhere between the injection and its wait.
    let end = eventually("the end of the build", || {
        fake.release();
        cloud.answers("build").into_iter().nth(2)
    });
    assert_eq!(end.await, running());
    assert_eq!(fake.counts().ensures, 1);
}

#[tokio::test]
async fn an_older_generation_is_superseded_and_changes_nothing() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    cloud.order("build", &id, 5, ensure(&id, 5)).await;
    assert_eq!(cloud.answer("build").await, running());
    cloud.order("late", &id, 4, Order::Destroy).await;
    assert_eq!(cloud.answer("late").await, Outcome::Superseded);
    assert_eq!(cloud.fake().guest_count(), 1);
}

#[tokio::test]
async fn a_late_ensure_cannot_bring_a_destroyed_guest_back() {
    let mut cloud = Cloud::new(1).await;
    let id = uuid();
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.answer("build").await;
    cloud.order("delete", &id, 2, Order::Destroy).await;
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
    cloud.kill().await;
    cloud.start().await;
    for (n, generation) in [1, 2].into_iter().enumerate() {
        let job = format!("late-{n}");
        cloud.order(&job, &id, generation, ensure(&id, generation)).await;
        assert_eq!(cloud.answer(&job).await, Outcome::Superseded);
    }
    // The very same order again is answered as it was.
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    assert_eq!(cloud.nth_answer("build", 1).await, running());
    assert_eq!(cloud.fake().guest_count(), 0);
    // A newer generation may come back: the server was moved away and here again.
    cloud.order("again", &id, 3, ensure(&id, 3)).await;
    assert_eq!(cloud.answer("again").await, running());
    assert_eq!(cloud.fake().guest_count(), 1);
}

#[tokio::test]
async fn a_destroy_that_overtakes_its_ensure_wins() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    cloud.order("delete", &id, 2, Order::Destroy).await;
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    assert_eq!(cloud.answer("build").await, Outcome::Superseded);
    assert_eq!(cloud.fake().counts().ensures, 0);
}

#[tokio::test]
async fn waiting_orders_are_superseded_by_the_newest() {
    let cloud = Cloud::new(1).await;
    let (id, fake) = (uuid(), cloud.fake());
    fake.inject(Operation::Ensure, Fault::Hang);
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.answer("build").await;
    cloud.order("stop", &id, 2, Order::Stop { timeout_seconds: 1 }).await;
    cloud.order("delete", &id, 3, Order::Destroy).await;
    cloud.known(&id, 3).await;
    let stopped = eventually("the answer to stop", || {
        fake.release();
        cloud.answers("stop").pop()
    });
    assert_eq!(stopped.await, Outcome::Superseded);
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
    assert_eq!(fake.guest_count(), 0);
}

#[tokio::test]
async fn an_inquiry_tells_what_the_ledger_knows() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    cloud.inquire("nothing", &id, 1).await;
    assert_eq!(cloud.answer("nothing").await, Outcome::Unknown);
    cloud.order("build", &id, 3, ensure(&id, 3)).await;
    cloud.answer("build").await;
    for (job, generation, expected) in
        [("old", 2, Outcome::Superseded), ("this", 3, running()), ("next", 4, Outcome::Unknown)]
    {
        cloud.inquire(job, &id, generation).await;
        assert_eq!(cloud.answer(job).await, expected, "{job}");
    }
}

#[tokio::test]
async fn a_failed_build_leaves_nothing_and_may_be_tried_elsewhere() {
    let cloud = Cloud::new(1).await;
    let (id, fake) = (uuid(), cloud.fake());
    fake.inject(Operation::Ensure, Fault::FailAfter(ErrorKind::Internal));
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    assert!(is_failed(&cloud.answer("build").await, true));
    assert_eq!(fake.guest_count(), 0);
    cloud.inquire("build", &id, 1).await;
    assert!(is_failed(&cloud.nth_answer("build", 1).await, true));
    // What is wrong with the wish itself is wrong everywhere.
    let id = uuid();
    fake.inject(Operation::Ensure, Fault::Fail(ErrorKind::BadRequest));
    cloud.order("wrong", &id, 1, ensure(&id, 1)).await;
    assert!(is_failed(&cloud.answer("wrong").await, false));
}

#[tokio::test]
async fn a_failed_update_keeps_the_guest() {
    let cloud = Cloud::new(1).await;
    let (id, fake) = (uuid(), cloud.fake());
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.answer("build").await;
    fake.inject(Operation::Ensure, Fault::Fail(ErrorKind::Internal));
    cloud.order("update", &id, 2, ensure(&id, 2)).await;
    assert!(is_failed(&cloud.answer("update").await, true));
    assert_eq!(fake.guest_count(), 1);
    assert_eq!(fake.counts().destroys, 0);
}

#[tokio::test]
async fn what_does_not_answer_is_tried_again() {
    let cloud = Cloud::new(1).await;
    let (id, fake) = (uuid(), cloud.fake());
    fake.inject(Operation::Ensure, Fault::FailAfter(ErrorKind::Unavailable));
    fake.inject(Operation::Ensure, Fault::Fail(ErrorKind::Unavailable));
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    assert_eq!(cloud.answer("build").await, running());
    assert_eq!((fake.counts().ensures, fake.counts().created), (2, 1));
}

#[tokio::test]
async fn a_destroy_ends_the_retries_of_a_build() {
    let cloud = Cloud::new(1).await;
    let (id, fake) = (uuid(), cloud.fake());
    for _ in 0..50 {
        fake.inject(Operation::Ensure, Fault::Fail(ErrorKind::Unavailable));
    }
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.order("delete", &id, 2, Order::Destroy).await;
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
    assert_eq!(cloud.answer("build").await, Outcome::Superseded);
}

#[tokio::test]
async fn power_orders_for_no_guest_fail() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    for (n, order) in
        [Order::Start, Order::RebootHard, Order::Stop { timeout_seconds: 0 }].into_iter().enumerate()
    {
        let job = format!("job-{n}");
        cloud.order(&job, &id, n as i64 + 1, order).await;
        assert!(is_failed(&cloud.answer(&job).await, false), "{job}");
    }
    cloud.order("delete", &id, 9, Order::Destroy).await;
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
}

#[tokio::test]
async fn a_destroy_that_failed_is_tried_again_when_it_is_repeated() {
    let cloud = Cloud::new(1).await;
    let (id, fake) = (uuid(), cloud.fake());
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.answer("build").await;
    fake.inject(Operation::Destroy, Fault::Fail(ErrorKind::Internal));
    // As compute-api sends what it owes: no job waits, but the answer counts.
    cloud.order("", &id, 2, Order::Destroy).await;
    assert!(is_failed(&cloud.answer("").await, false));
    cloud.order("", &id, 2, Order::Destroy).await;
    assert_eq!(cloud.nth_answer("", 1).await, done(PowerState::NoState));
    assert_eq!(fake.guest_count(), 0);
    cloud.order("", &id, 2, Order::Destroy).await;
    assert_eq!(cloud.nth_answer("", 2).await, done(PowerState::NoState));
    assert_eq!(fake.counts().destroys, 1);
}

#[tokio::test]
async fn an_order_that_nobody_waits_for_is_not_carried_out() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    let send = async |order: AgentOrder| {
        let late = Envelope::new(&order, None).unwrap().until(Timestamp::now().plus_seconds(-1));
        cloud.bus.publish(&Address::Agent(HOST.into()), &late).await.unwrap();
    };
    let order =
        |job: &str, order| AgentOrder { job_id: job.into(), server_id: id.clone(), generation: 1, order };
    send(order("build", ensure(&id, 1))).await;
    assert_eq!(cloud.answer("build").await, Outcome::Unknown);
    // What shall go goes, however late.
    send(order("delete", Order::Destroy)).await;
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
    assert_eq!(cloud.fake().counts().ensures, 0);
}

#[tokio::test]
async fn the_wanted_power_is_remembered() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    let mut off = spec(&id, 1);
    off.power = WantedPower::Stopped;
    cloud.order("build", &id, 1, Order::Ensure { spec: Box::new(off) }).await;
    assert_eq!(cloud.answer("build").await, done(PowerState::Shutdown));
    cloud.order("hard", &id, 2, Order::RebootHard).await;
    assert_eq!(cloud.answer("hard").await, running());
    let listed = cloud.fake().list().await.unwrap();
    assert_eq!(listed[0].generation, 1, "a reboot is no new generation of the guest");
}

#[tokio::test]
async fn what_is_no_order_goes_to_the_dead_letters() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    let good = Envelope::new(
        &AgentOrder { job_id: "x".into(), server_id: id.clone(), generation: 1, order: Order::Start },
        None,
    )
    .unwrap();
    let mut newer = good.clone();
    newer.v = 99;
    let mut unknown = good.clone();
    unknown.kind = "agent.dance".into();
    let mut malformed = good.clone();
    malformed.body = serde_json::json!({"job_id": 1});
    for message in [&newer, &unknown, &malformed] {
        cloud.bus.publish(&Address::Agent(HOST.into()), message).await.unwrap();
    }
    for _ in 0..300 {
        if cloud.bus.dead_letters(10).await.unwrap().len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(cloud.bus.dead_letters(10).await.unwrap().len(), 3);
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    assert_eq!(cloud.answer("build").await, running());
}
