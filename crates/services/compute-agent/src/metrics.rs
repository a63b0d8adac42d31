//! What `/metrics` says of the agent.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, core::Collector};
use std::sync::LazyLock;

/// Orders that came to their end, by kind and outcome.
pub static ORDERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register(IntCounterVec::new(
        Opts::new("ferrostack_agent_orders_total", "Orders that came to their end"),
        &["order", "outcome"],
    ))
});
/// Time spent on an order.
pub static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let buckets = vec![0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];
    register(HistogramVec::new(
        HistogramOpts::new("ferrostack_agent_order_seconds", "Time spent on an order").buckets(buckets),
        &["order"],
    ))
});
/// Guests that are being worked on.
pub static BUSY: LazyLock<IntGauge> =
    LazyLock::new(|| register(IntGauge::new("ferrostack_agent_busy_guests", "Guests that are worked on")));
/// Bytes of images downloaded.
pub static DOWNLOADED: LazyLock<IntCounter> = LazyLock::new(|| {
    register(IntCounter::new("ferrostack_agent_image_bytes_total", "Bytes of images downloaded"))
});

#[allow(clippy::expect_used)] // start-up: fixed names
fn register<C: Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let metric = made.expect("metric definition");
    prometheus::default_registry().register(Box::new(metric.clone())).expect("metric name is unique");
    metric
}
