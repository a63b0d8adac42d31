//! What every bus must do, as tests that any implementation can be put through.
//!
//! Each takes a bus and a name of its own for a host; queues that it makes are `agent.<host>`. Written against levels
//! ("eventually"), because a broker may deliver late and twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::{Address, Bus, DELIVERY_LIMIT, Handler, Settle, Source, Tuning, Verdict};
use async_trait::async_trait;
use ferrostack_model::{ErrorKind, Timestamp, id, message::Envelope};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// How long anything may take before the contract is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// Times under which the contract ends soon.
pub fn tuning() -> Tuning {
    Tuning {
        retry_first: Duration::from_millis(1),
        retry_most: Duration::from_millis(10),
        reconnect_most: Duration::from_millis(500),
        ..Tuning::default()
    }
}

/// An envelope with a body of its own.
pub fn message(n: usize) -> Envelope {
    Envelope {
        id: id::uuid(),
        kind: "contract.test".into(),
        v: 1,
        request_id: Some("req-contract".into()),
        traceparent: None,
        sent_at: Timestamp::now(),
        deadline: None,
        generation: 7,
        body: serde_json::json!({ "n": n, "text": "Zürich \u{1F980}" }),
    }
}

/// Waits until `found` finds something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut found: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

type Answer = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// A handler that remembers what it was given.
pub struct Recorder {
    seen: Mutex<HashMap<String, u32>>,
    answer: Box<dyn Fn(Envelope, u32) -> Answer + Send + Sync>,
}

impl Recorder {
    /// Answers with `answer(message, deliveries so far)`.
    pub fn new<F: Future<Output = Verdict> + Send + 'static>(
        answer: impl Fn(Envelope, u32) -> F + Send + Sync + 'static,
    ) -> Arc<Self> {
        let answer = Box::new(move |message, times| -> Answer { Box::pin(answer(message, times)) });
        Arc::new(Self { seen: Mutex::default(), answer })
    }
    /// Always `verdict`.
    pub fn always(verdict: Verdict) -> Arc<Self> {
        Self::new(move |_, _| async move { verdict })
    }
    /// Deliveries of the message `id`.
    pub fn times(&self, id: &str) -> u32 {
        self.seen.lock().get(id).copied().unwrap_or(0)
    }
    /// The ids seen.
    pub fn ids(&self) -> BTreeSet<String> {
        self.seen.lock().keys().cloned().collect()
    }
    /// Waits until every id of `ids` was seen.
    pub async fn sees_all(&self, ids: &BTreeSet<String>) {
        eventually("every message is seen", || async {
            let seen = self.seen.lock();
            ids.iter().all(|id| seen.contains_key(id)).then_some(())
        })
        .await;
    }
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, message: Envelope) -> Verdict {
        let times = {
            let mut seen = self.seen.lock();
            let times = seen.entry(message.id.clone()).or_default();
            *times += 1;
            *times
        };
        (self.answer)(message, times).await
    }
}

fn queue(host: &str) -> (Source, Address) {
    (Source::Agent(host.into()), Address::Agent(host.into()))
}

async fn publish_all(bus: &Arc<dyn Bus>, to: &Address, count: usize) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for n in 0..count {
        let message = message(n);
        bus.publish(to, &message).await.unwrap();
        ids.insert(message.id);
    }
    ids
}

async fn dead_ids(bus: &Arc<dyn Bus>, of: &BTreeSet<String>) -> Vec<String> {
    let dead = bus.dead_letters(10_000).await.unwrap();
    dead.into_iter().filter_map(|d| d.message).map(|m| m.id).filter(|id| of.contains(id)).collect()
}

async fn dies(bus: &Arc<dyn Bus>, id: &str, source: &str) {
    let dead = eventually("a dead letter", || async {
        let dead = bus.dead_letters(10_000).await.unwrap();
        dead.into_iter().find(|d| d.message.as_ref().is_some_and(|m| m.id == id))
    })
    .await;
    assert_eq!(dead.source, source);
}

async fn settles(bus: &Arc<dyn Bus>, id: &str, how: Settle) {
    // Somebody else may be looking at the dead letters, and has them meanwhile.
    eventually("a dead letter is settled", || async {
        (bus.settle(Some(id), how).await.unwrap() == 1).then_some(())
    })
    .await;
}

/// A message arrives as it was sent, also one that was published while nobody consumed.
pub async fn delivers(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let got = Arc::new(Mutex::new(None));
    let (keep, stop) = (got.clone(), CancellationToken::new());
    let handler = Recorder::new(move |message, _| {
        *keep.lock() = Some(message);
        async { Verdict::Ack }
    });
    bus.consume(from.clone(), 1, handler.clone(), stop.clone()).await.unwrap();
    let first = message(1);
    bus.publish(&to, &first).await.unwrap();
    eventually("the message", || async { got.lock().clone().filter(|m| *m == first) }).await;
    stop.cancel();

    // The end of the first consumer may still be under way; then it takes these, too, or gives them back.
    let later = publish_all(&bus, &to, 5).await;
    let second = Recorder::always(Verdict::Ack);
    bus.consume(from, 4, second.clone(), CancellationToken::new()).await.unwrap();
    eventually("messages for a later consumer", || async {
        let seen: BTreeSet<_> = handler.ids().union(&second.ids()).cloned().collect();
        later.is_subset(&seen).then_some(())
    })
    .await;
}

/// `Retry` delivers again, and ends at the limit with a dead letter; putting it back delivers anew.
pub async fn retries_then_dies(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let healed = Arc::new(AtomicUsize::new(0));
    let well = healed.clone();
    let handler = Recorder::new(move |_, _| {
        let well = well.load(Ordering::SeqCst) > 0;
        async move { if well { Verdict::Ack } else { Verdict::Retry } }
    });
    bus.consume(from, 2, handler.clone(), CancellationToken::new()).await.unwrap();
    let message = message(0);
    bus.publish(&to, &message).await.unwrap();
    dies(&bus, &message.id, &format!("agent.{host}")).await;
    assert_eq!(handler.times(&message.id), DELIVERY_LIMIT);

    healed.store(1, Ordering::SeqCst);
    settles(&bus, &message.id, Settle::Retry).await;
    eventually("delivery after it was put back", || async {
        (handler.times(&message.id) == DELIVERY_LIMIT + 1).then_some(())
    })
    .await;
    assert!(dead_ids(&bus, &BTreeSet::from([message.id])).await.is_empty());
}

/// A message that is retried does not hold up the others, even with a prefetch of one.
pub async fn retry_does_not_block(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let handler = Recorder::new(|message, times| async move {
        if message.body["n"] == 0 && times < 5 { Verdict::Retry } else { Verdict::Ack }
    });
    bus.consume(from, 1, handler.clone(), CancellationToken::new()).await.unwrap();
    let ids = publish_all(&bus, &to, 10).await;
    handler.sees_all(&ids).await;
    eventually("the retried message is done", || async {
        ids.iter().any(|id| handler.times(id) == 5).then_some(())
    })
    .await;
}

/// `Reject` is a dead letter at once, oldest first; dropping forgets it.
pub async fn rejects(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let handler = Recorder::always(Verdict::Reject);
    bus.consume(from, 1, handler.clone(), CancellationToken::new()).await.unwrap();
    let mut order = Vec::new();
    for n in 0..3 {
        let message = message(n);
        bus.publish(&to, &message).await.unwrap();
        dies(&bus, &message.id, &format!("agent.{host}")).await;
        order.push(message.id);
    }
    let all = order.iter().cloned().collect();
    let listed = eventually("all are listed", || async {
        Some(dead_ids(&bus, &all).await).filter(|found| found.len() == order.len())
    })
    .await;
    assert_eq!(listed, order, "oldest first");
    for id in &order {
        assert_eq!(handler.times(id), 1);
        settles(&bus, id, Settle::Drop).await;
    }
    assert!(dead_ids(&bus, &all).await.is_empty());
    assert_eq!(bus.settle(Some("no such letter"), Settle::Drop).await.unwrap(), 0);
}

/// A handler that panics loses nothing.
pub async fn survives_a_panic(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let handler = Recorder::new(|_, times| async move {
        assert!(times > 1, "the contract's handler panics on purpose");
        Verdict::Ack
    });
    bus.consume(from, 1, handler.clone(), CancellationToken::new()).await.unwrap();
    let ids = publish_all(&bus, &to, 2).await;
    eventually("delivery after a panic", || async {
        ids.iter().all(|id| handler.times(id) == 2).then_some(())
    })
    .await;
}

/// Every consumer of a fanout gets every message, retries are its own, and nobody listening is no failure.
pub async fn fans_out(bus: Arc<dyn Bus>, _host: &str) {
    bus.publish(&Address::Revocations, &message(0)).await.unwrap();
    let steady = Recorder::always(Verdict::Ack);
    let slow = Recorder::new(|_, times| async move { if times < 3 { Verdict::Retry } else { Verdict::Ack } });
    let other = Recorder::always(Verdict::Ack);
    let stop = CancellationToken::new();
    bus.consume(Source::Revocations, 4, steady.clone(), stop.clone()).await.unwrap();
    bus.consume(Source::Revocations, 4, slow.clone(), stop.clone()).await.unwrap();
    bus.consume(Source::Hosts, 4, other.clone(), stop.clone()).await.unwrap();
    let ids = publish_all(&bus, &Address::Revocations, 5).await;
    steady.sees_all(&ids).await;
    eventually("its own retries", || async { ids.iter().all(|id| slow.times(id) == 3).then_some(()) }).await;
    assert!(ids.iter().all(|id| steady.times(id) == 1));
    assert!(ids.is_disjoint(&other.ids()), "another fanout's consumer got them");
    stop.cancel();
}

/// As many handlers at once as the prefetch says, and no more.
pub async fn bounds_handlers(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let (working, peak, door) = (now.clone(), most.clone(), gate.clone());
    let handler = Recorder::new(move |_, _| {
        let (working, peak, door) = (working.clone(), peak.clone(), door.clone());
        async move {
            peak.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            door.acquire().await.unwrap().forget();
            working.fetch_sub(1, Ordering::SeqCst);
            Verdict::Ack
        }
    });
    bus.consume(from, 4, handler.clone(), CancellationToken::new()).await.unwrap();
    let ids = publish_all(&bus, &to, 30).await;
    eventually("four at once", || async { (now.load(Ordering::SeqCst) == 4).then_some(()) }).await;
    gate.add_permits(100);
    handler.sees_all(&ids).await;
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

/// A queue that nobody declared, and names no broker would take.
pub async fn unknown_queue(bus: Arc<dyn Bus>, host: &str) {
    for host in [format!("{host}-nobody"), "x".repeat(300)] {
        let error = bus.publish(&Address::Agent(host), &message(0)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
    }
    let (from, stop) = (Source::Agent("x".repeat(300)), CancellationToken::new());
    let error = bus.consume(from, 1, Recorder::always(Verdict::Ack), stop).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::BadRequest);
    bus.ping().await.unwrap();
}

/// A consumer that is stopped mid-way hands over to the next; none is lost, none is a dead letter.
pub async fn hands_over(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let stop = CancellationToken::new();
    let first = Recorder::new(|message, times| async move {
        sleep(Duration::from_millis(2)).await;
        let later = message.body["n"].as_u64().unwrap() % 3 == 0 && times < 4;
        if later { Verdict::Retry } else { Verdict::Ack }
    });
    bus.consume(from.clone(), 8, first.clone(), stop.clone()).await.unwrap();
    let ids = publish_all(&bus, &to, 200).await;
    eventually("some are handled", || async { (first.ids().len() >= 20).then_some(()) }).await;
    stop.cancel();
    let second = Recorder::always(Verdict::Ack);
    bus.consume(from, 8, second.clone(), CancellationToken::new()).await.unwrap();
    eventually("all are seen", || async {
        let seen: BTreeSet<_> = first.ids().union(&second.ids()).cloned().collect();
        ids.is_subset(&seen).then_some(())
    })
    .await;
    assert!(dead_ids(&bus, &ids).await.is_empty());
}

/// Two consumers share a queue: each message goes to one of them. The same envelope twice is two deliveries.
pub async fn shares_and_repeats(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let (one, two) = (Recorder::always(Verdict::Ack), Recorder::always(Verdict::Ack));
    bus.consume(from.clone(), 2, one.clone(), CancellationToken::new()).await.unwrap();
    bus.consume(from, 2, two.clone(), CancellationToken::new()).await.unwrap();
    let ids = publish_all(&bus, &to, 50).await;
    eventually("all are seen once", || async {
        ids.iter().all(|id| one.times(id) + two.times(id) == 1).then_some(())
    })
    .await;
    let twice = message(0);
    bus.publish(&to, &twice).await.unwrap();
    bus.publish(&to, &twice).await.unwrap();
    eventually("both deliveries", || async {
        (one.times(&twice.id) + two.times(&twice.id) == 2).then_some(())
    })
    .await;
}

/// Ten thousand messages from many publishers.
pub async fn ten_thousand(bus: Arc<dyn Bus>, host: &str) {
    let (from, to) = queue(host);
    let handler = Recorder::always(Verdict::Ack);
    bus.consume(from, 100, handler.clone(), CancellationToken::new()).await.unwrap();
    let publishers: Vec<_> = (0..50)
        .map(|_| {
            let (bus, to) = (bus.clone(), to.clone());
            tokio::spawn(async move { publish_all(&bus, &to, 200).await })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for publisher in publishers {
        ids.extend(publisher.await.unwrap());
    }
    assert_eq!(ids.len(), 10_000);
    handler.sees_all(&ids).await;
}
