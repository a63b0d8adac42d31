//! What `/metrics` says of the scheduler.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, core::Collector};
use std::sync::LazyLock;

/// Answered requests by result: `host` or `no_valid_host`.
pub static DECISIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register(IntCounterVec::new(
        Opts::new("ferrostack_scheduler_decisions_total", "Answered requests"),
        &["result"],
    ))
});
/// Time of one decision.
pub static SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    let buckets = vec![0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1];
    register(Histogram::with_opts(
        HistogramOpts::new("ferrostack_scheduler_decide_seconds", "Time of one decision").buckets(buckets),
    ))
});
/// Hosts in the view.
pub static HOSTS: LazyLock<IntGauge> =
    LazyLock::new(|| register(IntGauge::new("ferrostack_scheduler_hosts", "Hosts known")));

#[allow(clippy::expect_used)] // start-up: fixed names
fn register<C: Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let metric = made.expect("metric definition");
    prometheus::default_registry().register(Box::new(metric.clone())).expect("metric name is unique");
    metric
}
