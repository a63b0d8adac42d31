//! Consuming: a channel for each consumer, subscribed again after every loss.

use super::{
    broken,
    link::{Link, argument, hopeless, timed_out},
};
use crate::{
    Handler, Source, Verdict, deliver,
    metrics::{DEAD, HANDLED},
    topology::{DEAD_LETTERS, DELIVERY_LIMIT},
    tuning::backoff,
};
use ferrostack_model::{Error, Result, message::Envelope};
use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// First pause before subscribing again.
const AGAIN_FIRST: Duration = Duration::from_millis(50);

/// After so many failures in a row it is not the connection: the operator is told where to look.
const STUCK: u32 = 5;

/// A consumer for as long as it is wanted.
pub(super) struct Subscription {
    link: Arc<Link>,
    from: Source,
    prefetch: u16,
    handler: Arc<dyn Handler>,
    stop: CancellationToken,
    /// Bounds the handlers at work, over reconnections too.
    slots: Arc<Semaphore>,
}

impl Subscription {
    /// Starts consuming; returns when the first subscription stands.
    pub(super) async fn start(
        link: Arc<Link>,
        from: Source,
        prefetch: u16,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<()> {
        from.address().check()?;
        let prefetch = prefetch.max(1);
        let slots = Arc::new(Semaphore::new(usize::from(prefetch)));
        let (ready, standing) = oneshot::channel();
        let subscription = Arc::new(Self { link, from, prefetch, handler, stop, slots });
        tokio::spawn(subscription.run(ready));
        standing.await.unwrap_or_else(|_| Err(Error::unavailable("message broker: consumer was stopped")))
    }

    async fn run(self: Arc<Self>, ready: oneshot::Sender<Result<()>>) {
        let mut ready = Some(ready);
        let mut failures = 0;
        loop {
            let next = self.stop.run_until_cancelled(self.link.next_connection());
            let Some(Some(connection)) = next.await else { return };
            let subscribing = timeout(self.link.tuning.answer, self.subscribe(&connection));
            match subscribing.await.unwrap_or_else(|_| Err(timed_out())) {
                Ok((channel, consumer)) => {
                    failures = 0;
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(Ok(()));
                    }
                    self.pump(channel, consumer).await;
                }
                Err(e) => {
                    let what = format!("subscribing to {}", self.from.address().class());
                    if hopeless(&e)
                        && let Some(ready) = ready.take()
                    {
                        let _ = ready.send(Err(broken(&what, &e)));
                        return;
                    }
                    failures += 1;
                    tracing::warn!(from = ?self.from, error = %e, failures, "cannot subscribe");
                    if failures == STUCK {
                        tracing::error!(
                            from = ?self.from,
                            "the queue does not answer: look at `rabbitmq-queues quorum_status`, it may have no leader"
                        );
                    }
                }
            }
            let pause = sleep(backoff(AGAIN_FIRST, self.link.tuning.reconnect_most, failures));
            if self.stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn subscribe(&self, connection: &Connection) -> lapin::Result<(Channel, Consumer)> {
        let channel = connection.create_channel().await?;
        // As many again as are handled may be held back for a later delivery.
        channel.basic_qos(self.prefetch.saturating_mul(2), BasicQosOptions::default()).await?;
        let queue = self.declare(&channel).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue, ShortString::default(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }

    async fn declare(&self, channel: &Channel) -> lapin::Result<ShortString> {
        let address = self.from.address();
        let mut arguments = FieldTable::default();
        argument(&mut arguments, "x-dead-letter-exchange", DEAD_LETTERS);
        if let Some(queue) = address.queue() {
            let queue =
                ShortString::try_new(queue).map_err(|_| std::io::Error::other("queue name is too long"))?;
            argument(&mut arguments, "x-queue-type", "quorum");
            // The broker counts redeliveries, we count deliveries.
            let limit = AMQPValue::LongInt(i32::try_from(DELIVERY_LIMIT - 1).unwrap_or(i32::MAX));
            arguments.insert("x-delivery-limit".into(), limit);
            // A dead letter leaves its queue only when the dead-letter queue has it safely.
            argument(&mut arguments, "x-dead-letter-strategy", "at-least-once");
            argument(&mut arguments, "x-overflow", "reject-publish");
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(queue.clone(), options, arguments).await?;
            return Ok(queue);
        }
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let queue = channel.queue_declare(ShortString::default(), options, arguments).await?.name().clone();
        if let Some(fanout) = address.fanout() {
            let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(queue.clone(), fanout.into(), ShortString::default(), bind, none).await?;
        }
        Ok(queue)
    }

    /// Hands deliveries to handlers until the stream ends or `stop`.
    async fn pump(self: &Arc<Self>, channel: Channel, mut consumer: Consumer) {
        let ended = self.stop.child_token();
        let _guard = ended.clone().drop_guard();
        loop {
            let next = async {
                let slot = self.slots.clone().acquire_owned().await.ok()?;
                Some((slot, consumer.next().await?))
            };
            let both = self.link.closing.run_until_cancelled(self.stop.run_until_cancelled(next));
            match both.await.flatten().flatten() {
                Some((slot, Ok(delivery))) => {
                    let (this, channel, ended) = (self.clone(), channel.clone(), ended.clone());
                    // The clone keeps the channel open until the answer is out.
                    tokio::spawn(async move {
                        this.deliver(delivery, slot, &ended).await;
                        drop(channel);
                    });
                }
                Some((_, Err(e))) => {
                    tracing::warn!(from = ?self.from, error = %e, "consumer lost");
                    return;
                }
                None => break,
            }
        }
        if self.stop.is_cancelled() {
            give_back(&channel, consumer).await;
        }
    }

    async fn deliver(&self, delivery: Delivery, slot: OwnedSemaphorePermit, ended: &CancellationToken) {
        let class = self.from.address().class();
        let Ok(message) = serde_json::from_slice::<Envelope>(&delivery.data) else {
            HANDLED.with_label_values(&[class, "malformed"]).inc();
            tracing::error!(from = ?self.from, bytes = delivery.data.len(), "a message that is no envelope");
            return bury(&delivery, class).await;
        };
        let durable = self.from.address().queue().is_some();
        let mut slot = Some(slot);
        let mut attempt = delivery_count(&delivery);
        loop {
            match deliver::run(&*self.handler, class, message.clone()).await {
                Verdict::Ack => return settled(delivery.ack(BasicAckOptions::default()).await),
                Verdict::Reject => return bury(&delivery, class).await,
                Verdict::Retry => {}
            }
            let last = attempt + 1 >= DELIVERY_LIMIT;
            if last && !durable {
                return bury(&delivery, class).await;
            }
            if last {
                DEAD.with_label_values(&[class]).inc();
                return requeue(&delivery).await;
            }
            // Others are handled while this one waits.
            drop(slot.take());
            let _ = ended.run_until_cancelled(sleep(self.link.tuning.retry_after(attempt))).await;
            if durable || ended.is_cancelled() {
                return requeue(&delivery).await;
            }
            // The broker does not count for a queue of our own that goes with us, so we do.
            attempt += 1;
            slot = self.slots.clone().acquire_owned().await.ok();
        }
    }
}

/// Ends a subscription in good order: what no handler has begun goes back to the queue.
async fn give_back(channel: &Channel, mut consumer: Consumer) {
    let tag = consumer.tag();
    if channel.basic_cancel(tag, BasicCancelOptions::default()).await.is_err() {
        return;
    }
    while let Some(Ok(delivery)) = consumer.next().await {
        requeue(&delivery).await;
    }
}

async fn requeue(delivery: &Delivery) {
    settled(delivery.nack(BasicNackOptions { requeue: true, multiple: false }).await);
}

async fn bury(delivery: &Delivery, class: &'static str) {
    DEAD.with_label_values(&[class]).inc();
    settled(delivery.nack(BasicNackOptions { requeue: false, multiple: false }).await);
}

/// An answer that does not reach the broker is no harm: the message comes again.
fn settled(answer: lapin::Result<bool>) {
    if !matches!(answer, Ok(true)) {
        tracing::debug!(?answer, "the broker will deliver a message again");
    }
}

/// How often the message was delivered before, as quorum queues count it.
fn delivery_count(delivery: &Delivery) -> u32 {
    let headers = delivery.properties.headers().as_ref();
    let count = match headers.and_then(|h| h.inner().get("x-delivery-count")) {
        Some(AMQPValue::LongLongInt(n)) => *n,
        Some(AMQPValue::LongInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortInt(n)) => i64::from(*n),
        Some(AMQPValue::ShortShortInt(n)) => i64::from(*n),
        Some(AMQPValue::LongUInt(n)) => i64::from(*n),
        _ => 0,
    };
    u32::try_from(count).unwrap_or(0)
}
