//! The connection, its supervisor and the topology that every connection makes sure of.

use super::broken;
use crate::{
    metrics::{CONNECTED, RECONNECTS},
    topology::{DEAD_KEPT, DEAD_LETTERS, FANOUTS},
    tuning::{Tuning, backoff},
};
use ferrostack_model::{Error, Result};
use futures_util::StreamExt as _;
use lapin::{
    Connection, ConnectionProperties, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    types::{AMQPValue, FieldTable, ShortString},
    uri::AMQPUri,
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// First pause before reconnecting; doubles to [`Tuning::reconnect_most`].
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// How often the supervisor looks at the connection's state even if it has heard nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A connection that comes back.
pub(super) struct Link {
    uri: AMQPUri,
    name: String,
    /// Host, port and vhost, for logs and errors. Never the credentials.
    place: String,
    pub(super) tuning: Tuning,
    live: watch::Sender<Option<Arc<Connection>>>,
    /// The bus is gone: supervisor and consumers end.
    pub(super) closing: CancellationToken,
}

impl Link {
    /// Connects, declares what every process needs and starts the supervisor.
    pub(super) async fn start(url: &str, name: &str, tuning: Tuning) -> Result<Arc<Self>> {
        // The parser's message could quote the URL, and with it the password.
        let mut uri: AMQPUri = url
            .parse()
            .map_err(|_| Error::internal("bus url: not of the form amqp://user:password@host:port/vhost"))?;
        uri.query.heartbeat = uri.query.heartbeat.or(Some(tuning.heartbeat_seconds));
        let place = format!("{}:{}/{}", uri.authority.host, uri.authority.port, uri.vhost);
        let link = Arc::new(Self {
            uri,
            name: name.into(),
            place,
            tuning,
            live: watch::Sender::new(None),
            closing: CancellationToken::new(),
        });
        let first = link.first_connection().await?;
        tokio::spawn(link.clone().supervise(first));
        Ok(link)
    }

    async fn first_connection(&self) -> Result<Arc<Connection>> {
        let deadline = Instant::now() + self.tuning.connect;
        for attempt in 0_u32.. {
            match self.open(attempt > 0).await {
                Ok(connection) => return Ok(self.publish_live(connection)),
                Err(e) if hopeless(&e) || Instant::now() >= deadline => {
                    return Err(broken(&format!("connecting to {}", self.place), &e));
                }
                Err(e) => {
                    tracing::info!(broker = %self.place, error = %e, "message broker does not answer yet");
                    sleep(backoff(RECONNECT_FIRST, self.tuning.reconnect_most, attempt)).await;
                }
            }
        }
        Err(Error::internal("message broker: no attempt was made"))
    }

    fn publish_live(&self, connection: Connection) -> Arc<Connection> {
        let connection = Arc::new(connection);
        self.live.send_replace(Some(connection.clone()));
        connection
    }

    /// Connects and declares; `was_away` leaves a broker that has just come back the time to elect.
    async fn open(&self, was_away: bool) -> lapin::Result<Connection> {
        let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let limit = self.tuning.answer;
        let connecting = timeout(limit, Connection::connect_uri(self.uri.clone(), properties));
        let connection = connecting.await.unwrap_or_else(|_| Err(timed_out()))?;
        if was_away {
            sleep(self.tuning.settle).await;
        }
        timeout(limit, declare_common(&connection)).await.unwrap_or_else(|_| Err(timed_out()))?;
        Ok(connection)
    }

    /// Watches the connection and makes a new one when it is gone, until the bus is dropped.
    async fn supervise(self: Arc<Self>, first: Arc<Connection>) {
        let mut connection = first;
        loop {
            CONNECTED.inc();
            let alive = self.closing.run_until_cancelled(gone(&connection)).await;
            CONNECTED.dec();
            self.live.send_replace(None);
            if alive.is_none() {
                // Dropped channels requeue what is unacknowledged; the close itself may fail freely.
                let _ = timeout(self.tuning.answer, connection.close(200, "bye".into())).await;
                return;
            }
            tracing::warn!(broker = %self.place, "connection to the message broker lost");
            let Some(again) = self.closing.run_until_cancelled(self.reconnect()).await else { return };
            RECONNECTS.inc();
            tracing::info!(broker = %self.place, "connection to the message broker is back");
            connection = self.publish_live(again);
        }
    }

    async fn reconnect(&self) -> Connection {
        let mut attempt = 0;
        loop {
            sleep(backoff(RECONNECT_FIRST, self.tuning.reconnect_most, attempt)).await;
            match self.open(true).await {
                Ok(connection) => return connection,
                Err(e) => {
                    tracing::warn!(broker = %self.place, attempt, error = %e, "message broker does not answer");
                }
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// The connection, waiting for one until `deadline`.
    pub(super) async fn connection(&self, deadline: Instant) -> Result<Arc<Connection>> {
        let wait = async { self.next_connection().await };
        match tokio::time::timeout_at(deadline, wait).await {
            Ok(Some(connection)) => Ok(connection),
            Ok(None) => Err(Error::unavailable("message broker: the bus is closed")),
            Err(_) => Err(Error::unavailable(format!("message broker: no connection to {}", self.place))),
        }
    }

    /// The connection, waiting as long as it takes; `None` if the bus is closed.
    pub(super) async fn next_connection(&self) -> Option<Arc<Connection>> {
        let mut live = self.live.subscribe();
        let wait = live.wait_for(|c| c.as_ref().is_some_and(|c| c.status().connected()));
        let found = self.closing.run_until_cancelled(wait).await?;
        found.ok().and_then(|c| c.clone())
    }

    /// One round trip to the broker.
    pub(super) async fn ping(&self) -> Result<()> {
        let asking = async {
            let connection = self.connection(Instant::now() + self.tuning.publish).await?;
            let channel = connection.create_channel().await.map_err(|e| broken("ping", &e))?;
            channel.close(200, "bye".into()).await.map_err(|e| broken("ping", &e))
        };
        timeout(self.tuning.answer, asking)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable(format!("message broker: {} is silent", self.place))))
    }
}

/// Returns when the connection does not stand any more.
async fn gone(connection: &Connection) {
    let mut events = pin!(connection.events_listener());
    while connection.status().connected() {
        // The time-out is for an end that came between the look and the listener.
        let _ = timeout(LOOK_AGAIN, events.next()).await;
    }
}

/// Whether trying again cannot help: credentials, permissions, a topology of another make.
pub(super) fn hopeless(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(e) = error.kind() else { return false };
    matches!(
        e.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED)
            | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
    )
}

/// The error of a broker that is too slow.
pub(super) fn timed_out() -> lapin::Error {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// Fanout exchanges and the dead letters: a publication may come before the first consumer.
async fn declare_common(connection: &Connection) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    for exchange in FANOUTS.into_iter().chain([DEAD_LETTERS]) {
        channel
            .exchange_declare(exchange.into(), ExchangeKind::Fanout, durable, FieldTable::default())
            .await?;
    }
    let mut arguments = FieldTable::default();
    argument(&mut arguments, "x-queue-type", "quorum");
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(DEAD_KEPT));
    // Looking at the dead letters counts as a delivery, and a limit there would lose them.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(i32::MAX));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(DEAD_LETTERS.into(), durable, arguments).await?;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind(
            DEAD_LETTERS.into(),
            DEAD_LETTERS.into(),
            ShortString::default(),
            bind,
            FieldTable::default(),
        )
        .await?;
    channel.close(200, "declared".into()).await
}

/// Sets a text argument.
pub(super) fn argument(table: &mut FieldTable, key: &'static str, value: &str) {
    table.insert(key.into(), AMQPValue::LongString(value.into()));
}
