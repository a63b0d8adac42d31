//! Times that a bus waits for, in one place.

use rand::Rng as _;
use std::time::Duration;

/// How long a bus waits for what. The defaults are for production; tests shorten them.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Before the second delivery of a message that was answered `Retry`; doubles with each further one.
    pub retry_first: Duration,
    /// The longest such wait. With the defaults a message has about a minute before it is a dead letter.
    pub retry_most: Duration,
    /// How long `connect` tries to reach a broker that does not answer.
    pub connect: Duration,
    /// How long a publication waits for a connection before it is `Unavailable`.
    pub publish: Duration,
    /// How long the broker may take to confirm a publication or to answer any other call.
    pub answer: Duration,
    /// After a broker was away, how long its queues are left alone once it answers again. A quorum queue of a single
    /// node that is asked before it has elected itself may stay without a leader (rabbitmq-server issue 10070).
    pub settle: Duration,
    /// The longest pause between two attempts to reconnect.
    pub reconnect_most: Duration,
    /// Heartbeat of the connection in seconds; a peer that is silent for two of them is gone.
    pub heartbeat_seconds: u16,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_millis(20),
            retry_most: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            publish: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            settle: Duration::from_secs(1),
            reconnect_most: Duration::from_secs(5),
            heartbeat_seconds: 10,
        }
    }
}

impl Tuning {
    /// The wait after the delivery number `attempt` (from 0) that was answered `Retry`.
    pub(crate) fn retry_after(&self, attempt: u32) -> Duration {
        backoff(self.retry_first, self.retry_most, attempt)
    }
}

/// `first` doubled `attempt` times, at most `most`, less up to a quarter so that many waiters do not come at once.
pub(crate) fn backoff(first: Duration, most: Duration, attempt: u32) -> Duration {
    let full = first.saturating_mul(1 << attempt.min(16)).min(most);
    full.mul_f64(rand::rng().random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_limit() {
        let (first, most) = (Duration::from_millis(20), Duration::from_secs(5));
        for attempt in 0..100 {
            let wait = backoff(first, most, attempt);
            let full = first.saturating_mul(1 << attempt.min(16)).min(most);
            assert!(wait <= full && wait >= full.mul_f64(0.74), "{attempt}: {wait:?}");
        }
        assert!(backoff(first, most, u32::MAX) <= most);
    }
}
