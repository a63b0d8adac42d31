//! The host's queue: orders into the ledger, inquiries out of it.

use crate::{
    host::Host,
    store::orders::{OrderRow, Recorded, verb},
};
use async_trait::async_trait;
use ferrostack_bus::{Handler, Verdict};
use ferrostack_model::{
    Result, Timestamp,
    message::{AgentAnswer, AgentInquiry, AgentOrder, CacheImages, Envelope, Message, Order, Outcome},
    returning::ReturnAnswer,
};
use std::sync::Arc;

/// Handles the messages of one host's queue.
pub struct OrderHandler(pub Arc<Host>);

#[async_trait]
impl Handler for OrderHandler {
    async fn handle(&self, message: Envelope) -> Verdict {
        let handled = async {
            match message.kind.as_str() {
                AgentOrder::KIND => match message.open() {
                    Ok(order) => Some(self.order(&message, order).await),
                    Err(error) => refuse(&error),
                },
                AgentInquiry::KIND => match message.open() {
                    Ok(inquiry) => Some(self.inquiry(&message, inquiry).await),
                    Err(error) => refuse(&error),
                },
                CacheImages::KIND => match message.open() {
                    Ok(wanted) => {
                        self.cache(wanted, message.request_id);
                        Some(Ok(()))
                    }
                    Err(error) => refuse(&error),
                },
                ReturnAnswer::KIND => match message.open() {
                    Ok(answer) => Some(self.0.returned(&answer).await),
                    Err(error) => refuse(&error),
                },
                other => {
                    tracing::warn!(kind = other, "unknown kind of message");
                    None
                }
            }
        };
        tokio::select! {
            () = self.0.shared.kill.cancelled() => Verdict::Retry,
            result = handled => match result {
                Some(Ok(())) => Verdict::Ack,
                Some(Err(error)) => {
                    tracing::warn!(host = self.0.name, error = error.for_log(), "message comes again");
                    Verdict::Retry
                }
                None => Verdict::Reject,
            },
        }
    }
}

fn refuse(error: &ferrostack_model::Error) -> Option<Result<()>> {
    tracing::warn!(error = error.for_log(), "message refused");
    None
}

impl OrderHandler {
    async fn order(&self, message: &Envelope, mut order: AgentOrder) -> Result<()> {
        let host = &self.0;
        let request_id = message.request_id.as_deref();
        if let Order::Ensure { spec } | Order::Rebuild { spec, .. } = &mut order.order {
            // One server, one generation, whatever the sender filled in twice.
            spec.server_id.clone_from(&order.server_id);
            spec.generation = order.generation;
        }
        if let Order::Migrate { part } = &mut order.order
            && let Some(spec) = part.spec_mut()
        {
            spec.server_id.clone_from(&order.server_id);
            spec.generation = order.generation;
        }
        if let Order::Move { step } = &mut order.order
            && let Some(spec) = step.spec_mut()
        {
            spec.server_id.clone_from(&order.server_id);
            spec.generation = order.generation;
        }
        let answer = |outcome| AgentAnswer {
            job_id: order.job_id.clone(),
            server_id: order.server_id.clone(),
            generation: order.generation,
            host: host.name.clone(),
            outcome,
        };
        if message.deadline.is_some_and(|d| d < Timestamp::now()) && order.order != Order::Destroy {
            // Nobody waits any more; a job that still wants it orders again.
            let known =
                host.shared.ledger.outcome(&host.name, &order.server_id, order.generation, &order.job_id);
            host.shared.outbox.answer(&answer(known.await?), request_id);
            return Ok(());
        }
        let recorded = host.shared.ledger.record(&host.name, &order, request_id).await?;
        tracing::info!(
            host = host.name,
            server = order.server_id,
            generation = order.generation,
            request_id,
            order = verb(&order.order),
            ?recorded,
            "order received"
        );
        match recorded {
            Recorded::New => host.poke(&order.server_id),
            Recorded::Working => {
                let detail = verb(&order.order).to_owned();
                host.shared.outbox.answer(&answer(Outcome::Working { detail }), request_id);
            }
            Recorded::Closed { seq, outcome } => {
                let row = OrderRow {
                    host: host.name.clone(),
                    server_id: order.server_id.clone(),
                    seq,
                    generation: order.generation,
                    job_id: order.job_id.clone(),
                    request_id: message.request_id.clone(),
                    order: None,
                    outcome: None,
                };
                host.shared.outbox.order(&row, outcome);
            }
            Recorded::Old => host.shared.outbox.answer(&answer(Outcome::Superseded), request_id),
        }
        Ok(())
    }

    /// Fetches images in the background, one after the other. A server that wants one sooner shares the download.
    fn cache(&self, wanted: CacheImages, request_id: Option<String>) {
        let host = self.0.clone();
        if !host.hypervisor.needs_files() {
            return;
        }
        self.0.shared.spawn(async move {
            for image in wanted.images {
                let fetched = tokio::select! {
                    fetched = host.shared.files.cache(&image, request_id.as_deref()) => fetched,
                    () = host.shared.stop.cancelled() => return,
                };
                match fetched {
                    Ok(()) => {
                        tracing::info!(host = host.name, image = image.id, request_id, "image is cached")
                    }
                    Err(error) => {
                        let error = error.for_log();
                        tracing::warn!(
                            host = host.name,
                            image = image.id,
                            request_id,
                            error,
                            "image not cached"
                        );
                    }
                }
            }
        });
    }

    async fn inquiry(&self, message: &Envelope, inquiry: AgentInquiry) -> Result<()> {
        let host = &self.0;
        let AgentInquiry { job_id, server_id, generation } = inquiry;
        let outcome = host.shared.ledger.outcome(&host.name, &server_id, generation, &job_id).await?;
        let answer = AgentAnswer { job_id, server_id, generation, host: host.name.clone(), outcome };
        host.shared.outbox.answer(&answer, message.request_id.as_deref());
        Ok(())
    }
}
