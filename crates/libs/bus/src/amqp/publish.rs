//! Publishing: mandatory, persistent, confirmed.

use super::{broken, link::Link, link::timed_out, notify::short};
use crate::{Address, Topic, metrics::PUBLISHED};
use ferrostack_model::{Error, ErrorKind, Result, message::Envelope};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

/// Publications under way at once.
const CHANNELS: usize = 16;
/// After a failed publication, until the supervisor has seen what happened.
const BREATHER: Duration = Duration::from_millis(50);
/// AMQP's delivery mode "persistent".
const PERSISTENT: u8 = 2;

/// What is published, and where.
pub(super) struct Parcel {
    exchange: ShortString,
    key: ShortString,
    mandatory: bool,
    class: &'static str,
    properties: BasicProperties,
    body: Vec<u8>,
}

impl Parcel {
    /// An envelope.
    pub(super) fn new(to: &Address, message: &Envelope) -> Result<Self> {
        let body = serde_json::to_vec(message)
            .map_err(|e| Error::internal(format!("encoding message {}: {e}", message.kind)))?;
        let mut parcel = Self::raw(to, body)?;
        let mut properties = parcel.properties.with_content_type("application/json".into());
        // For people who look into the broker; nothing of ours reads them.
        if let Ok(id) = ShortString::try_new(message.id.clone()) {
            properties = properties.with_message_id(id);
        }
        if let Ok(kind) = ShortString::try_new(message.kind.clone()) {
            properties = properties.with_type(kind);
        }
        parcel.properties = properties;
        Ok(parcel)
    }

    /// A notification, with the properties that kombu reads.
    pub(super) fn to_topic(to: &Topic, body: Vec<u8>) -> Result<Self> {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into());
        let (exchange, key) = (short(&to.exchange)?, short(&to.key)?);
        Ok(Self { exchange, key, mandatory: true, class: "notifications", properties, body })
    }

    /// Any bytes.
    pub(super) fn raw(to: &Address, body: Vec<u8>) -> Result<Self> {
        let name = |name: String| {
            ShortString::try_new(name)
                .map_err(|_| Error::unavailable("a queue of such a long name does not exist"))
        };
        let (exchange, key) = match (to.queue(), to.fanout()) {
            (Some(queue), _) => (ShortString::default(), name(queue)?),
            (None, Some(fanout)) => (name(fanout.into())?, ShortString::default()),
            (None, None) => return Err(Error::internal("an address is a queue or a fanout")),
        };
        // Nobody listening to a fanout is no failure.
        let mandatory = to.queue().is_some();
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        Ok(Self { exchange, key, mandatory, class: to.class(), properties, body })
    }
}

/// Publishes over a pool of channels, each with one publication at a time: lapin numbers confirms and sends frames in
/// two steps, and gives a returned message to whichever confirm comes next, so that several under way on one channel
/// could be taken for each other.
pub(super) struct Publisher {
    link: Arc<Link>,
    permits: Semaphore,
    idle: Mutex<Vec<Channel>>,
}

impl Publisher {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, permits: Semaphore::new(CHANNELS), idle: Mutex::default() }
    }

    /// Publishes and waits until the broker has the parcel safely.
    pub(super) async fn send(&self, parcel: &Parcel) -> Result<()> {
        let result = self.send_until(parcel, Instant::now() + self.link.tuning.publish).await;
        let outcome = match &result {
            Ok(true) => "stored",
            Ok(false) => "unroutable",
            Err(_) => "failed",
        };
        PUBLISHED.with_label_values(&[parcel.class, outcome]).inc();
        match result {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::unavailable(format!("queue {} does not exist", parcel.key))),
            Err(e) => Err(e),
        }
    }

    /// Whether it could be routed. A publication whose connection broke is sent again: it may then arrive twice.
    async fn send_until(&self, parcel: &Parcel, deadline: Instant) -> Result<bool> {
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| Error::new(ErrorKind::Internal, "the message bus is closed"))?;
        loop {
            let connection = self.link.connection(deadline).await?;
            let attempt = timeout(self.link.tuning.answer, self.try_send(&connection, parcel));
            match attempt.await.unwrap_or_else(|_| Err(timed_out())) {
                Ok(Confirmation::Ack(returned)) => return Ok(returned.is_none()),
                Ok(_) => return Err(Error::unavailable("message broker: it refused a message")),
                Err(e) if Instant::now() >= deadline => return Err(broken("publishing", &e)),
                Err(e) => {
                    tracing::debug!(to = parcel.class, error = %e, "publishing again");
                    sleep(BREATHER).await;
                }
            }
        }
    }

    async fn try_send(&self, connection: &Connection, parcel: &Parcel) -> lapin::Result<Confirmation> {
        let channel = self.channel(connection).await?;
        let options = BasicPublishOptions { mandatory: parcel.mandatory, immediate: false };
        let confirmation = channel
            .basic_publish(
                parcel.exchange.clone(),
                parcel.key.clone(),
                options,
                &parcel.body,
                parcel.properties.clone(),
            )
            .await?
            .await?;
        // Only a channel with nothing under way comes back; if this future was dropped, its channel is closed.
        self.idle.lock().push(channel);
        Ok(confirmation)
    }

    async fn channel(&self, connection: &Connection) -> lapin::Result<Channel> {
        {
            let mut idle = self.idle.lock();
            while let Some(channel) = idle.pop() {
                if channel.status().connected() {
                    return Ok(channel);
                }
            }
        }
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }
}
