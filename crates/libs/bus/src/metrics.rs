//! What the bus counts. The label is the class of the address, never a host: hosts are too many.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts};
use std::sync::LazyLock;

/// Publications by what became of them: `stored`, `unroutable`, `failed`.
pub(crate) static PUBLISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register(IntCounterVec::new(
        Opts::new("ferrostack_bus_published_total", "Published messages"),
        &["to", "outcome"],
    ))
});
/// Deliveries by verdict: `ack`, `retry`, `reject`, `malformed`, `panic`.
pub(crate) static HANDLED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register(IntCounterVec::new(
        Opts::new("ferrostack_bus_handled_total", "Handled deliveries"),
        &["from", "verdict"],
    ))
});
/// Messages given up, by where they were.
pub(crate) static DEAD: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register(IntCounterVec::new(
        Opts::new("ferrostack_bus_dead_total", "Messages sent to the dead letters by this process"),
        &["from"],
    ))
});
/// Time in handlers.
pub(crate) static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register(HistogramVec::new(
        HistogramOpts::new("ferrostack_bus_handle_seconds", "Time a handler took for a delivery"),
        &["from"],
    ))
});
/// Connections to the broker that stand.
pub(crate) static CONNECTED: LazyLock<IntGauge> = LazyLock::new(|| {
    register(IntGauge::new("ferrostack_bus_connected", "Connections to the broker that stand"))
});
/// Connections that had to be made again.
pub(crate) static RECONNECTS: LazyLock<IntCounter> = LazyLock::new(|| {
    register(IntCounter::new("ferrostack_bus_reconnects_total", "Connections to the broker made again"))
});

#[allow(clippy::expect_used)] // start-up: fixed names
fn register<C: prometheus::core::Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let metric = made.expect("metric definition");
    prometheus::default_registry().register(Box::new(metric.clone())).expect("metric name is unique");
    metric
}
