//! Running a handler, the same way for every bus.

use crate::{
    Handler, Verdict,
    metrics::{HANDLED, SECONDS},
};
use ferrostack_model::message::Envelope;
use futures_util::FutureExt as _;
use std::{panic::AssertUnwindSafe, time::Instant};

/// Lets `handler` handle `message` that came from an address of class `from`. A panic is a `Retry`: the next
/// delivery may find what was missing, and the delivery limit ends it.
pub(crate) async fn run(handler: &dyn Handler, from: &'static str, message: Envelope) -> Verdict {
    let (id, kind) = (message.id.clone(), message.kind.clone());
    let started = Instant::now();
    let outcome = AssertUnwindSafe(handler.handle(message)).catch_unwind().await;
    SECONDS.with_label_values(&[from]).observe(started.elapsed().as_secs_f64());
    let (verdict, label) = match outcome {
        Ok(Verdict::Ack) => (Verdict::Ack, "ack"),
        Ok(Verdict::Retry) => (Verdict::Retry, "retry"),
        Ok(Verdict::Reject) => (Verdict::Reject, "reject"),
        Err(_) => {
            tracing::error!(message_id = %id, %kind, from, "handler panicked");
            (Verdict::Retry, "panic")
        }
    };
    HANDLED.with_label_values(&[from, label]).inc();
    verdict
}
