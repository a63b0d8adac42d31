//! Notifications for others, on the exchange and queue that oslo.messaging's listeners expect.

use super::{
    broken,
    link::{Link, timed_out},
    publish::{Parcel, Publisher},
};
use crate::Topic;
use ferrostack_model::{Error, Result};
use lapin::{
    Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use tokio::time::{Instant, timeout};

/// Makes the queue, so that what comes before its listener is kept, and sends one body after the other.
pub(super) async fn send(
    link: &Link,
    publisher: &Publisher,
    topic: &Topic,
    bodies: &[Vec<u8>],
) -> Result<()> {
    let connection = link.connection(Instant::now() + link.tuning.publish).await?;
    let declared = timeout(link.tuning.answer, declare(&connection, topic)).await;
    declared.unwrap_or_else(|_| Err(timed_out())).map_err(|e| broken("declaring a topic", &e))?;
    for body in bodies {
        publisher.send(&Parcel::to_topic(topic, body.clone())?).await?;
    }
    Ok(())
}

pub(super) fn short(name: &str) -> Result<ShortString> {
    ShortString::try_new(name.to_owned())
        .map_err(|_| Error::bad_request("an exchange's or queue's name has at most 255 bytes"))
}

async fn declare(connection: &Connection, topic: &Topic) -> lapin::Result<()> {
    let name = |name: &str| short(name).map_err(|e| lapin::Error::from(std::io::Error::other(e.public)));
    let (exchange, key) = (name(&topic.exchange)?, name(&topic.key)?);
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions { durable: topic.durable, ..Default::default() };
    channel.exchange_declare(exchange.clone(), ExchangeKind::Topic, options, FieldTable::default()).await?;
    let options = QueueDeclareOptions { durable: topic.durable, ..Default::default() };
    channel.queue_declare(key.clone(), options, FieldTable::default()).await?;
    let options = QueueBindOptions::default();
    channel.queue_bind(key.clone(), exchange, key, options, FieldTable::default()).await?;
    channel.close(200, "bye".into()).await
}
