//! The contract on RabbitMQ, where `FERROSTACK_TEST_AMQP` names a vhost.

use ferrostack_bus::{Address, AmqpBus, Bus, DEAD_LETTERS, Settle, Source, Topic, Verdict, contract};
use ferrostack_model::{ErrorKind, id};
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicPublishOptions, QueueDeleteOptions},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio_util::sync::CancellationToken;

/// The vhost for tests, or none: then the test passes without having tested anything, and says so.
pub fn url() -> Option<String> {
    let url = std::env::var("FERROSTACK_TEST_AMQP").ok();
    if url.is_none() {
        eprintln!("skipped: FERROSTACK_TEST_AMQP is not set");
    }
    url
}

pub async fn connect(url: &str) -> Arc<dyn Bus> {
    Arc::new(AmqpBus::connect_with(url, "contract", contract::tuning()).await.unwrap())
}

async fn raw(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.unwrap()
}

/// Deletes the durable queue of a test.
async fn forget(url: &str, host: &str) {
    let channel = raw(url).await.create_channel().await.unwrap();
    channel.queue_delete(format!("agent.{host}").into(), QueueDeleteOptions::default()).await.unwrap();
}

macro_rules! contract {
    ($($name:ident),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let Some(url) = url() else { return };
            let host = format!("contract-{}", id::uuid());
            contract::$name(connect(&url).await, &host).await;
            forget(&url, &host).await;
        }
    )*};
}

contract!(
    delivers,
    retries_then_dies,
    retry_does_not_block,
    rejects,
    survives_a_panic,
    fans_out,
    bounds_handlers,
    unknown_queue,
    hands_over,
    shares_and_repeats,
    ten_thousand
);

/// Bytes that are no envelope are a dead letter with their text, and the consumer goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_envelope() {
    let Some(url) = url() else { return };
    let (bus, host) = (connect(&url).await, format!("contract-{}", id::uuid()));
    let handler = contract::Recorder::always(Verdict::Ack);
    let from = Source::Agent(host.clone());
    bus.consume(from, 1, handler.clone(), CancellationToken::new()).await.unwrap();
    let garbage = format!("{{\"not\": \"an envelope\", \"mark\": \"{host}\"");
    let channel = raw(&url).await.create_channel().await.unwrap();
    for body in [garbage.as_bytes(), b"\xff\xfe\x00", b""] {
        let (queue, options) = (format!("agent.{host}"), BasicPublishOptions::default());
        channel
            .basic_publish("".into(), queue.into(), options, body, BasicProperties::default())
            .await
            .unwrap();
    }
    let mine = contract::eventually("dead letters", || async {
        let mut dead = bus.dead_letters(10_000).await.unwrap();
        dead.retain(|d| d.source == format!("agent.{host}"));
        (dead.len() == 3).then_some(dead)
    })
    .await;
    assert!(mine.iter().all(|d| d.message.is_none()));
    assert_eq!(mine[0].raw.as_deref(), Some(garbage.as_str()));
    let after = contract::message(1);
    bus.publish(&Address::Agent(host.clone()), &after).await.unwrap();
    handler.sees_all(&BTreeSet::from([after.id])).await;
    // They have no id, so take them out where they lie.
    let mut kept = Vec::new();
    while let Some(found) = channel.basic_get(DEAD_LETTERS.into(), Default::default()).await.unwrap() {
        if found.properties.headers().as_ref().is_some_and(|h| format!("{h:?}").contains(&host)) {
            found.ack(Default::default()).await.unwrap();
        } else {
            kept.push(found);
        }
    }
    channel.close(200, "".into()).await.unwrap();
    forget(&url, &host).await;
}

/// What is wrong is said at once, and never with the password.
#[tokio::test]
async fn refusals_keep_the_password() {
    let Some(url) = url() else { return };
    let mut parsed = url::Url::parse(&url).unwrap();
    parsed.set_password(Some("hunter2-wrong")).unwrap();
    let started = std::time::Instant::now();
    let wrong_password = AmqpBus::connect(parsed.as_str(), "test").await.err().unwrap();
    parsed.set_path("/no-such-vhost");
    let _ = parsed.set_password(url::Url::parse(&url).unwrap().password());
    let wrong_vhost = AmqpBus::connect(parsed.as_str(), "test").await.err().unwrap();
    assert!(started.elapsed().as_secs() < 5, "no use in trying again");
    let mut tuning = contract::tuning();
    tuning.connect = std::time::Duration::from_millis(200);
    let nobody = "amqp://user:hunter2-wrong@127.0.0.1:1/vhost";
    let refused = AmqpBus::connect_with(nobody, "test", tuning).await.err().unwrap();
    assert!(refused.for_log().contains("127.0.0.1:1/vhost"), "{}", refused.for_log());
    let malformed = AmqpBus::connect("amqp://user:hunter2-wrong@[::", "test").await.err().unwrap();
    let secret = url::Url::parse(&url).unwrap().password().unwrap_or("none").to_owned();
    for error in [wrong_password, wrong_vhost, refused] {
        assert_eq!(error.kind, ErrorKind::Unavailable);
        let text = error.for_log();
        assert!(!text.contains("hunter2") && !text.contains(&secret), "{text}");
    }
    assert!(!malformed.for_log().contains("hunter2"));
}

/// `settle` of everything, in a vhost where nobody else has dead letters at the moment of asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_fanout_letters_back() {
    let Some(url) = url() else { return };
    let (bus, stop) = (connect(&url).await, CancellationToken::new());
    let message = contract::message(0);
    let wanted = message.id.clone();
    let handler = contract::Recorder::new(move |m, times| {
        let first = m.id == wanted && times == 1;
        async move { if first { Verdict::Reject } else { Verdict::Ack } }
    });
    bus.consume(Source::Hosts, 1, handler.clone(), stop.clone()).await.unwrap();
    bus.publish(&Address::Hosts, &message).await.unwrap();
    contract::eventually("the letter is put back", || async {
        (bus.settle(Some(&message.id), Settle::Retry).await.unwrap() == 1).then_some(())
    })
    .await;
    contract::eventually("it comes again", || async { (handler.times(&message.id) == 2).then_some(()) })
        .await;
    stop.cancel();
}

/// A listener that declares exchange and queue as oslo.messaging does finds ours, with what came before it.
#[tokio::test]
async fn notifies_listeners_that_come_later() {
    use lapin::options::{BasicAckOptions, BasicGetOptions, ExchangeDeleteOptions, QueueDeclareOptions};
    let Some(url) = url() else { return };
    let bus = connect(&url).await;
    for durable in [false, true] {
        let name = id::uuid();
        let topic = Topic { exchange: format!("nova-{name}"), key: format!("{name}.info"), durable };
        let bodies: Vec<Vec<u8>> = (0..50).map(|n| format!("{{\"n\": {n}}}").into_bytes()).collect();
        bus.notify(&topic, &bodies[..20]).await.unwrap();
        bus.notify(&topic, &bodies[20..]).await.unwrap();
        let channel = raw(&url).await.create_channel().await.unwrap();
        let options = QueueDeclareOptions { durable, ..Default::default() };
        let queue = channel.queue_declare(topic.key.as_str().into(), options, Default::default()).await;
        assert_eq!(queue.unwrap().message_count(), 50);
        for body in &bodies {
            let key = topic.key.as_str().into();
            let got = channel.basic_get(key, BasicGetOptions::default()).await.unwrap().unwrap();
            assert_eq!(&got.data, body);
            assert_eq!(got.properties.content_type().as_ref().unwrap().as_str(), "application/json");
            assert_eq!(got.properties.content_encoding().as_ref().unwrap().as_str(), "utf-8");
            got.ack(BasicAckOptions::default()).await.unwrap();
        }
        channel.queue_delete(topic.key.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        channel
            .exchange_delete(topic.exchange.as_str().into(), ExchangeDeleteOptions::default())
            .await
            .unwrap();
    }
}
