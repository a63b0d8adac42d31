//! Orders, duplicates, old generations, crashes.

use crate::cloud::{Cloud, HOST, ensure, eventually, uuid};
use ferrostack_model::{
    message::{Order, Outcome},
    server::PowerState,
};

fn done(power: PowerState) -> Outcome {
    Outcome::Done { power }
}

#[tokio::test]
async fn every_order_is_carried_out_and_answered() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    let (running, off) = (done(PowerState::Running), done(PowerState::Shutdown));
    let orders = [
        (ensure(&id, 1), running.clone()),
        (Order::Stop { timeout_seconds: 1 }, off),
        (Order::Start, running.clone()),
        (Order::RebootSoft { timeout_seconds: 1 }, running.clone()),
        (Order::RebootHard, running),
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
