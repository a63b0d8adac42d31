//! What an agent tells unasked.

use crate::{
    cloud::{Cloud, HOST, ensure, eventually, uuid},
    orders::{done, running},
};
use ferrostack_hypervisor::{
    Hypervisor,
    fake::{Fault, Operation, sample_guest},
};
use ferrostack_model::{
    host::GuestState,
    message::{GuestsReport, Order},
    server::PowerState,
};

impl Cloud {
    /// The single change that shows `server` in `power`.
    async fn change(&self, server: &str, power: PowerState) -> GuestsReport {
        eventually(&format!("a report of {power:?}"), || {
            self.guests_reports()
                .into_iter()
                .find(|r| !r.full && r.guests.iter().any(|g| g.server_id == server && g.power == power))
        })
        .await
    }
}

#[tokio::test]
async fn the_start_reports_the_host_and_all_guests() {
    let mut cloud = Cloud::new(1).await;
    let id = uuid();
    cloud.order("build", &id, 4, ensure(&id, 4)).await;
    cloud.answer("build").await;
    let first = eventually("a heartbeat", || cloud.host_reports().pop()).await;
    cloud.kill().await;
    cloud.inbox.messages.lock().clear();
    cloud.start().await;
    let host = eventually("a heartbeat", || cloud.host_reports().into_iter().next()).await;
    assert!(host.agent_start > first.agent_start);
    let limits = &cloud.settings.agent.fake;
    assert_eq!(
        (host.vcpus, host.memory_mb, host.local_gb),
        (limits.vcpus, limits.memory_mb, limits.local_gb)
    );
    let guests = eventually("a full report", || cloud.guests_reports().into_iter().find(|r| r.full)).await;
    assert_eq!(guests.agent_start, host.agent_start);
    assert_eq!(guests.host, HOST);
    assert_eq!(guests.guests, [GuestState { server_id: id, generation: 4, power: PowerState::Running }]);
    eventually("further heartbeats", || (cloud.host_reports().len() > 2).then_some(())).await;
}

#[tokio::test]
async fn a_change_that_nobody_ordered_is_reported() {
    let cloud = Cloud::new(1).await;
    let id = uuid();
    cloud.order("build", &id, 2, ensure(&id, 2)).await;
    cloud.answer("build").await;
    for (act, power) in [(true, PowerState::Crashed), (false, PowerState::Shutdown)] {
        // The task of the build may just be ending; then the change is reported at its end.
        assert!(if act { cloud.fake().crash(&id) } else { cloud.fake().shut_down(&id) });
        let report = cloud.change(&id, power).await;
        assert_eq!(report.guests, [GuestState { server_id: id.clone(), generation: 2, power }]);
    }
}

#[tokio::test]
async fn a_change_during_an_order_is_reported_after_it() {
    let cloud = Cloud::new(1).await;
    let (id, fake) = (uuid(), cloud.fake());
    cloud.order("build", &id, 1, ensure(&id, 1)).await;
    cloud.answer("build").await;
    fake.inject(Operation::Start, Fault::HangAfter);
    cloud.order("start", &id, 2, Order::Start).await;
    cloud.known(&id, 2).await;
    fake.crash(&id);
    let end = eventually("the answer", || {
        fake.release();
        cloud.answers("start").pop()
    });
    assert_eq!(end.await, running());
    cloud.change(&id, PowerState::Crashed).await;
}

#[tokio::test]
async fn a_destroyed_guest_that_is_there_again_is_removed() {
    let mut cloud = Cloud::without_agent(1);
    cloud.settings.agent.guests_report_seconds = 1;
    cloud.listen().await;
    cloud.start().await;
    let (gone, strange) = (uuid(), uuid());
    cloud.order("build", &gone, 1, ensure(&gone, 1)).await;
    cloud.answer("build").await;
    cloud.order("delete", &gone, 2, Order::Destroy).await;
    assert_eq!(cloud.answer("delete").await, done(PowerState::NoState));
    let fake = cloud.fake();
    for id in [&gone, &strange] {
        fake.ensure(&sample_guest(id, 1)).await.unwrap();
    }
    eventually("the removal", || (fake.guest_count() == 1).then_some(())).await;
    // Of a guest that the ledger never heard of only the control plane can decide.
    assert_eq!(fake.list().await.unwrap()[0].server_id, strange);
}

#[tokio::test]
async fn reports_go_on_after_the_hypervisor_was_away() {
    let cloud = Cloud::new(1).await;
    eventually("a heartbeat", || cloud.host_reports().pop()).await;
    cloud.fake().set_reachable(false);
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    cloud.inbox.messages.lock().clear();
    cloud.fake().set_reachable(true);
    eventually("a heartbeat", || cloud.host_reports().pop()).await;
}
