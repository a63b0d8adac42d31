//! The dead letters: look, put back, forget.

use super::{
    broken,
    link::Link,
    publish::{Parcel, Publisher},
};
use crate::{Address, DeadLetter, Settle, topology::DEAD_LETTERS};
use ferrostack_model::{Error, Result, message::Envelope};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicGetOptions},
    types::AMQPValue,
};
use std::{future::Future, sync::Arc};
use tokio::time::{Instant, timeout};

/// Up to `limit` dead letters, oldest first. They are taken unacknowledged and go back when the channel closes.
pub(super) async fn list(link: &Link, limit: usize) -> Result<Vec<DeadLetter>> {
    let channel = open(link).await?;
    let mut found = Vec::new();
    while found.len() < limit {
        let Some(delivery) = get(link, &channel).await? else { break };
        found.push(letter(&delivery));
    }
    close(link, &channel).await;
    // The broker's own order suffers when several look at once.
    found.sort_by_key(|d| d.message.as_ref().map(|m| m.sent_at));
    Ok(found)
}

/// Settles the chosen dead letters of those that are there now; how many were. One that cannot be put back stays.
pub(super) async fn settle(
    link: &Link,
    publisher: &Arc<Publisher>,
    id: Option<&str>,
    how: Settle,
) -> Result<usize> {
    let channel = open(link).await?;
    let mut settled = 0;
    let mut failure = None;
    // Everything is taken once: what is kept stays unacknowledged on this channel until it closes.
    while let Some(delivery) = get(link, &channel).await? {
        let letter = letter(&delivery);
        let chosen = id.is_none_or(|id| letter.message.as_ref().is_some_and(|m| m.id == id));
        if !chosen {
            continue;
        }
        if how == Settle::Retry
            && let Err(e) = put_back(publisher, &letter, &delivery).await
        {
            tracing::warn!(source = %letter.source, error = %e.for_log(), "dead letter stays");
            failure = failure.or(Some(e));
            continue;
        }
        answered(link, "settling a dead letter", delivery.ack(BasicAckOptions::default())).await?;
        settled += 1;
    }
    close(link, &channel).await;
    match failure {
        Some(e) if settled == 0 => Err(e),
        _ => Ok(settled),
    }
}

async fn put_back(publisher: &Arc<Publisher>, letter: &DeadLetter, delivery: &Delivery) -> Result<()> {
    let to = Address::named(&letter.source)
        .ok_or_else(|| Error::unavailable(format!("dead letter from {:?}: no such place", letter.source)))?;
    let parcel = match &letter.message {
        Some(message) => Parcel::new(&to, message)?,
        None => Parcel::raw(&to, delivery.data.clone())?,
    };
    publisher.send(&parcel).await
}

fn letter(delivery: &Delivery) -> DeadLetter {
    let message = serde_json::from_slice::<Envelope>(&delivery.data).ok();
    let raw = message.is_none().then(|| String::from_utf8_lossy(&delivery.data).into_owned());
    DeadLetter { source: source(delivery), message, raw }
}

/// Where the message died first: its queue, or the fanout it came through.
fn source(delivery: &Delivery) -> String {
    let text = |key: &str| {
        let headers = delivery.properties.headers().as_ref()?;
        match headers.inner().get(key)? {
            AMQPValue::LongString(s) => Some(s.to_string()),
            AMQPValue::ShortString(s) => Some(s.to_string()),
            _ => None,
        }
    };
    match text("x-first-death-exchange") {
        Some(exchange) if !exchange.is_empty() => exchange,
        _ => text("x-first-death-queue").unwrap_or_default(),
    }
}

async fn open(link: &Link) -> Result<Channel> {
    let connection = link.connection(Instant::now() + link.tuning.publish).await?;
    answered(link, "opening a channel", connection.create_channel()).await
}

async fn get(link: &Link, channel: &Channel) -> Result<Option<Delivery>> {
    let asked = channel.basic_get(DEAD_LETTERS.into(), BasicGetOptions { no_ack: false });
    Ok(answered(link, "reading dead letters", asked).await?.map(|m| m.delivery))
}

/// Closing may fail freely: the broker then notices the end by itself.
async fn close(link: &Link, channel: &Channel) {
    let _ = answered(link, "closing a channel", channel.close(200, "done".into())).await;
}

async fn answered<T>(link: &Link, what: &str, call: impl Future<Output = lapin::Result<T>>) -> Result<T> {
    timeout(link.tuning.answer, call)
        .await
        .unwrap_or_else(|_| Err(super::link::timed_out()))
        .map_err(|e| broken(what, &e))
}
