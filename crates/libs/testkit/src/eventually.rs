//! Waiting on levels: until something is true, not for a time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Asks `probe` until it answers `Some`, for 60 s; panics naming `what` if it never does.
pub async fn eventually<T, F, Fut>(what: &str, probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    eventually_for(Duration::from_secs(60), what, probe).await
}

/// [`eventually`] with a limit of its own.
pub async fn eventually_for<T, F, Fut>(limit: Duration, what: &str, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    }
}
