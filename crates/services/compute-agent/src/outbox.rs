//! Answers on their way: published until the bus takes them.

use crate::store::{Ledger, orders::OrderRow};
use ferrostack_bus::{Address, Bus};
use ferrostack_model::{
    Result,
    message::{AgentAnswer, Envelope, Outcome},
};
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Publications under way at once.
const PARALLEL: usize = 32;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

struct Outgoing {
    message: Envelope,
    /// The order whose answer it is: host, server, seq.
    order: Option<(String, String, i64)>,
}

/// Takes answers; those of the ledger's orders stay marked there until the bus has them.
#[derive(Clone)]
pub struct Outbox {
    queue: mpsc::UnboundedSender<Outgoing>,
}

impl Outbox {
    /// The outbox and the task that empties it until `stop`.
    pub fn new(
        bus: Arc<dyn Bus>,
        ledger: Ledger,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, mut received) = mpsc::unbounded_channel::<Outgoing>();
        let stream = futures_util::stream::poll_fn(move |cx| received.poll_recv(cx));
        let work = async move {
            let all = stream.for_each_concurrent(PARALLEL, |outgoing| {
                let (bus, ledger) = (bus.clone(), ledger.clone());
                async move { deliver(&*bus, &ledger, outgoing).await }
            });
            tokio::select! {
                () = all => {}
                () = stop.cancelled() => {}
            }
        };
        (Self { queue }, work)
    }

    /// Sends what became of an order of the ledger; also where no job waits: compute-api keeps its books by it.
    pub fn order(&self, row: &OrderRow, outcome: Outcome) {
        let answer = AgentAnswer {
            job_id: row.job_id.clone(),
            server_id: row.server_id.clone(),
            generation: row.generation,
            host: row.host.clone(),
            outcome,
        };
        let order = Some((row.host.clone(), row.server_id.clone(), row.seq));
        self.put(&answer, row.request_id.as_deref(), order);
    }

    /// Sends an answer that the ledger does not hold. If it is lost the job asks again.
    pub fn answer(&self, answer: &AgentAnswer, request_id: Option<&str>) {
        self.put(answer, request_id, None);
    }

    fn put(&self, answer: &AgentAnswer, request_id: Option<&str>, order: Option<(String, String, i64)>) {
        match Envelope::new(answer, request_id) {
            // The receiver is gone only when the agent ends; the next start sends again.
            Ok(message) => {
                let _ =
                    self.queue.send(Outgoing { message: message.at_generation(answer.generation), order });
            }
            Err(error) => tracing::error!(error = error.for_log(), "answer not encoded"),
        }
    }
}

async fn deliver(bus: &dyn Bus, ledger: &Ledger, outgoing: Outgoing) {
    until_done(FIRST_PAUSE, LONGEST_PAUSE, "answer not taken by the bus", || {
        bus.publish(&Address::Compute, &outgoing.message)
    })
    .await;
    if let Some((host, server_id, seq)) = outgoing.order
        && let Err(error) = ledger.sent(&host, &server_id, seq).await
    {
        // It is sent again at the next start.
        tracing::warn!(error = error.for_log(), "answer not marked as sent");
    }
}

/// Calls `attempt` until it succeeds, with growing pauses.
pub async fn until_done<T, F: Future<Output = Result<T>>>(
    first: Duration,
    longest: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let mut pause = first;
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => tracing::debug!(error = error.for_log(), "{what}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
