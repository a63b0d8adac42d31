//! Guests that leave and hosts that come back.

use crate::{
    cloud::{Cloud, HOST, ensure, eventually, uuid},
    orders::{done, running},
};
use ferrostack_hypervisor::{
    Hypervisor,
    fake::{Fault, Operation},
};
use ferrostack_model::{
    ErrorKind,
    guest::GuestSpec,
    live_migration::{Offer, Part, Progress},
    message::{Order, Outcome},
    returning::AgentReturn,
    server::PowerState,
};
use std::sync::atomic::Ordering;

const OTHER: &str = "fake-0002";

fn spec(id: &str, generation: i64) -> Box<GuestSpec> {
    match ensure(id, generation) {
        Order::Ensure { spec } => spec,
        _ => unreachable!(),
    }
}

async fn part(cloud: &mut Cloud, host: &str, id: &str, generation: i64, part: Part) -> Outcome {
    cloud.host = host.into();
    let job = format!("job-{generation}");
    cloud.order(&job, id, generation, Order::Migrate { part }).await;
    cloud.end(&job).await
}

async fn prepared(cloud: &mut Cloud, id: &str, generation: i64) -> Offer {
    let receive = Part::Receive { spec: spec(id, 0), marker: uuid(), block: None };
    match part(cloud, OTHER, id, generation, receive).await {
        Outcome::Prepared { offer } => offer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_guest_moves_between_hosts_through_the_ledger() {
    let mut cloud = Cloud::new(2).await;
    let id = uuid();
    cloud.order("job", &id, 1, ensure(&id, 1)).await;
    assert_eq!(cloud.answer("job").await, running());
    assert_eq!(part(&mut cloud, HOST, &id, 2, Part::Check { marker: uuid() }).await, running());
    // Without a word to the source nothing has happened.
    let offer = prepared(&mut cloud, &id, 3).await;
    assert_eq!(
        part(&mut cloud, OTHER, &id, 4, Part::Settle { spec: spec(&id, 0) }).await,
        done(PowerState::NoState)
    );
    let offer = match offer.shared {
        false => prepared(&mut cloud, &id, 5).await,
        true => panic!("nothing is shared"),
    };
    cloud.fake().inject(Operation::MigrateSend, Fault::Fail(ErrorKind::Internal));
    let send = |force| Part::Send { offer: offer.clone(), force };
    assert!(matches!(part(&mut cloud, HOST, &id, 6, send(false)).await, Outcome::Failed { .. }));
    assert_eq!(part(&mut cloud, HOST, &id, 7, Part::Abort { resume: true }).await, running());
    // Held on its way it says how far it is, survives the agent's end, and comes when it is forced.
    cloud.fake().inject(Operation::MigrateSend, Fault::Hang);
    cloud.host = HOST.into();
    cloud.order("held", &id, 8, Order::Migrate { part: send(false) }).await;
    let detail = eventually("progress", || {
        cloud.answers("held").into_iter().find_map(|word| match word {
            Outcome::Working { detail } => serde_json::from_str::<Progress>(&detail).ok(),
            _ => None,
        })
    })
    .await;
    assert_eq!(detail.memory_total, detail.memory_processed + detail.memory_remaining);
    assert_eq!(part(&mut cloud, HOST, &id, 9, send(true)).await, done(PowerState::NoState));
    assert_eq!(part(&mut cloud, OTHER, &id, 10, Part::Settle { spec: spec(&id, 0) }).await, running());
    cloud.host = HOST.into();
    cloud.order("gone", &id, 11, Order::Destroy).await;
    assert_eq!(cloud.answer("gone").await, done(PowerState::NoState));
    let there = cloud.agent().fake(OTHER).unwrap();
    assert_eq!(there.boots(&id), Some(1));
    assert_eq!(cloud.fake().guest_count(), 0);
    // The new host knows it as its own.
    cloud.host = OTHER.into();
    cloud.order("hard", &id, 12, Order::RebootHard).await;
    assert_eq!(cloud.answer("hard").await, running());
}

/// What a dead host was told before it died must not be done when it is back: the server may run elsewhere.
#[tokio::test]
async fn i03_r30_a_returning_host_asks_before_it_starts_a_guest() {
    let mut cloud = Cloud::new(1).await;
    let (lost, kept) = (uuid(), uuid());
    for id in [&lost, &kept] {
        cloud.order(&format!("make {id}"), id, 1, ensure(id, 1)).await;
        assert_eq!(cloud.answer(&format!("make {id}")).await, running());
        cloud.order(&format!("stop {id}"), id, 2, Order::Stop { timeout_seconds: 0 }).await;
        assert_eq!(cloud.answer(&format!("stop {id}")).await, done(PowerState::Shutdown));
        cloud.fake().inject(Operation::Start, Fault::Hang);
        cloud.order(&format!("start {id}"), id, 3, Order::Start).await;
        cloud.known(id, 3).await;
    }
    cloud.kill().await;
    cloud.inbox.silent.store(true, Ordering::SeqCst);
    cloud.inbox.gone.lock().push(lost.clone());
    cloud.start().await;
    // It asks again and again, and starts nothing.
    eventually("three questions", || {
        let all = cloud.inbox.messages.lock();
        (all.iter().filter(|message| message.open::<AgentReturn>().is_ok()).count() >= 3).then_some(())
    })
    .await;
    for guest in cloud.fake().list().await.unwrap() {
        assert_eq!(guest.power, PowerState::Shutdown);
    }
    cloud.inbox.silent.store(false, Ordering::SeqCst);
    assert_eq!(cloud.answer(&format!("start {lost}")).await, Outcome::Superseded);
    assert_eq!(cloud.answer(&format!("start {kept}")).await, running());
    for guest in cloud.fake().list().await.unwrap() {
        let running = guest.server_id == kept;
        assert_eq!(guest.power == PowerState::Running, running, "{guest:?}");
    }
}
