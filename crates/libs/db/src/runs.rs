//! Transactions that the database gave up for the sake of others.

use crate::GAVE_UP;
use ferrostack_model::{Error, ErrorKind};
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Runs of one transaction.
const RUNS: u32 = 6;
/// The first pause at most, milliseconds; it doubles.
const PAUSE_MS: u64 = 20;

/// Whether the run `run` (from 1) of a transaction that ended in `error` is followed by another; waits before that.
pub async fn is_run_again(run: u32, error: &Error) -> bool {
    let again = run < RUNS && error.kind == ErrorKind::Unavailable && error.name == Some(GAVE_UP);
    if again {
        tracing::debug!(run, error = error.for_log(), "a transaction is run again");
        let most = PAUSE_MS << run;
        // Two that met do not meet again.
        let jitter = RandomState::new().hash_one(run) % most;
        tokio::time::sleep(Duration::from_millis(jitter)).await;
    }
    again
}

/// Runs a future that is one whole transaction, or one statement, until the database does not give it up: a deadlock,
/// a serialization failure or a lock that was not to be had. A few times at most, with random pauses. The expression is
/// evaluated for each run.
#[macro_export]
macro_rules! again {
    ($transaction:expr) => {{
        let mut run = 1;
        loop {
            match $transaction.await {
                Err(error) if $crate::is_run_again(run, &error).await => run += 1,
                done => break done,
            }
        }
    }};
}
