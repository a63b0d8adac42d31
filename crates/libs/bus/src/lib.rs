//! Publish and consume, over RabbitMQ or in process. No RPC: answers are messages of their own.
//!
//! Delivery is at least once and in no promised order. Handlers are idempotent and key on (target, generation).

mod amqp;
#[cfg(feature = "testing")]
pub mod contract;
mod deliver;
mod local;
mod metrics;
mod topology;
mod tuning;

pub use amqp::AmqpBus;
pub use local::LocalBus;
pub use topology::{Address, DEAD_LETTERS, DELIVERY_LIMIT, Source, Topic};
pub use tuning::Tuning;

use async_trait::async_trait;
use ferrostack_model::{Result, message::Envelope};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a handler makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The effect is durable.
    Ack,
    /// Not now (a part is down): deliver again, to the dead letters after the delivery limit.
    Retry,
    /// Never (unknown kind, newer version, malformed): to the dead letters at once.
    Reject,
}

/// Receives messages, several at a time up to the consumer's prefetch.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Makes the effect durable, then says what to do with the message.
    async fn handle(&self, message: Envelope) -> Verdict;
}

/// A message that could not be handled.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Where it was.
    pub source: String,
    /// The message; `None` if it was not even an envelope.
    pub message: Option<Envelope>,
    /// The bytes, if it was not an envelope.
    pub raw: Option<String>,
}

/// What to do with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Back to where it was.
    Retry,
    /// Forget it.
    Drop,
}

/// A message bus.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Returns when the broker has the message safely. To a queue that nobody has declared: `Unavailable`.
    async fn publish(&self, to: &Address, message: &Envelope) -> Result<()>;

    /// Tells whoever listens from outside: each body in order to the topic's queue, which is made if there is none.
    /// Returns when the broker has all of them; after an error some may have arrived.
    async fn notify(&self, topic: &Topic, bodies: &[Vec<u8>]) -> Result<()>;

    /// Consumes until `stop`; survives the broker's restarts. `prefetch` messages are handled at once at most.
    /// Returns when the queue exists and the first subscription stands.
    async fn consume(
        &self,
        from: Source,
        prefetch: u16,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<()>;

    /// Up to `limit` dead letters, oldest first, left where they are.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>>;

    /// Settles the dead letter whose envelope id is `id` (all if `None`); how many were.
    async fn settle(&self, id: Option<&str>, how: Settle) -> Result<usize>;

    /// Fails if the broker does not answer; for `/healthcheck`.
    async fn ping(&self) -> Result<()>;
}

/// Opens the bus that `url` names: `local:` or `amqp://…`.
pub async fn connect(url: &str, name: &str) -> Result<Arc<dyn Bus>> {
    if url == "local:" {
        return Ok(Arc::new(LocalBus::new()));
    }
    Ok(Arc::new(AmqpBus::connect(url, name).await?))
}
