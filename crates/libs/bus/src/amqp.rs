//! The bus over RabbitMQ.
//!
//! One connection a process, kept up by a supervisor of our own ([`link`]): lapin's automatic recovery replays the
//! topology from memory, which hides from us what was lost. A channel for each consumer ([`consume`]) and a pool of
//! channels for publications ([`publish`]), so that neither waits for the other.

mod consume;
mod dead;
mod link;
mod notify;
mod publish;

use crate::{Address, Bus, DeadLetter, Handler, Settle, Source, Topic, tuning::Tuning};
use async_trait::async_trait;
use consume::Subscription;
use ferrostack_model::{Error, Result, message::Envelope};
use link::Link;
use publish::{Parcel, Publisher};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A [`Bus`] over AMQP 0-9-1.
pub struct AmqpBus {
    link: Arc<Link>,
    publisher: Arc<Publisher>,
}

impl AmqpBus {
    /// Connects to `url` (`amqp://user:password@host:port/vhost`); `name` shows in the broker's connection list.
    ///
    /// A broker that does not answer is tried again for [`Tuning::connect`], wrong credentials are an error at once.
    /// No error ever holds the password.
    pub async fn connect(url: &str, name: &str) -> Result<Self> {
        Self::connect_with(url, name, Tuning::default()).await
    }

    /// As [`AmqpBus::connect`] with other times.
    pub async fn connect_with(url: &str, name: &str, tuning: Tuning) -> Result<Self> {
        let link = Link::start(url, name, tuning).await?;
        let publisher = Arc::new(Publisher::new(link.clone()));
        Ok(Self { link, publisher })
    }
}

impl Drop for AmqpBus {
    fn drop(&mut self) {
        self.link.closing.cancel();
    }
}

#[async_trait]
impl Bus for AmqpBus {
    async fn publish(&self, to: &Address, message: &Envelope) -> Result<()> {
        self.publisher.send(&Parcel::new(to, message)?).await
    }

    async fn notify(&self, topic: &Topic, bodies: &[Vec<u8>]) -> Result<()> {
        notify::send(&self.link, &self.publisher, topic, bodies).await
    }

    async fn consume(
        &self,
        from: Source,
        prefetch: u16,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> Result<()> {
        Subscription::start(self.link.clone(), from, prefetch, handler, stop).await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>> {
        dead::list(&self.link, limit).await
    }

    async fn settle(&self, id: Option<&str>, how: Settle) -> Result<usize> {
        dead::settle(&self.link, &self.publisher, id, how).await
    }

    async fn ping(&self) -> Result<()> {
        self.link.ping().await
    }
}

/// A failure of the broker for whoever wanted `what`.
fn broken(what: &str, error: &lapin::Error) -> Error {
    Error::unavailable(format!("message broker: {what}: {error}"))
}
