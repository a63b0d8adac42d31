//! A few threads of low priority with a short queue, for work that is slow on purpose.

use ferrostack_model::{Error, Result};
use parking_lot::Mutex;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Longest time that work waits; by then the client has given up.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// The threads' niceness: a storm of logins leaves three quarters of a contended CPU to everybody else, and a busy
/// host leaves a quarter to the logins.
const NICE: i32 = 5;
/// When to come back after a refusal, seconds.
const RETRY_AFTER: u32 = 2;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end when the pool is dropped.
pub struct Pool {
    sender: SyncSender<Job>,
    pending: Arc<AtomicUsize>,
    room: usize,
}

/// Counts pending work down however it ends.
struct Pending(Arc<AtomicUsize>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// `threads` workers; `room` pieces of work may wait.
    pub fn new(threads: usize, room: usize) -> Result<Self> {
        let (sender, receiver) = sync_channel::<Job>(room);
        let receiver = Arc::new(Mutex::new(receiver));
        for n in 0..threads {
            let receiver = receiver.clone();
            std::thread::Builder::new()
                .name(format!("hash-{n}"))
                .spawn(move || work(&receiver))
                .map_err(|e| Error::internal(format!("password threads: {e}")))?;
        }
        Ok(Self { sender, pending: Arc::default(), room })
    }

    /// Pieces of work that wait or run.
    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// How many may wait.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Runs `job` when its turn comes. 503 if the queue is full or the wait too long. What nobody waits for any
    /// more (the client went away) is not run.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, result) = oneshot::channel();
        self.pending.fetch_add(1, Ordering::Relaxed);
        let pending = Pending(self.pending.clone());
        let queued = Instant::now();
        let piece: Job = Box::new(move || {
            let pending = pending;
            if answer.is_closed() {
                return;
            }
            let done = if queued.elapsed() > MAX_WAIT { Err(too_many()) } else { job() };
            drop(pending);
            let _ = answer.send(done);
        });
        self.sender.try_send(piece).map_err(|error| match error {
            TrySendError::Full(_) => too_many(),
            TrySendError::Disconnected(_) => Error::internal("no password threads"),
        })?;
        result.await.map_err(|_| Error::internal("a password thread failed"))?
    }
}

fn too_many() -> Error {
    Error::unavailable("too many password checks are waiting").retry_after(RETRY_AFTER)
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    // On Linux a thread has a niceness of its own.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "password threads keep their priority");
    }
    loop {
        let next = receiver.lock().recv();
        let Ok(job) = next else { return };
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a password check panicked");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn a_full_queue_refuses_and_the_rest_is_done() {
        let pool = Arc::new(Pool::new(1, 2).unwrap());
        let (started, starts) = channel();
        let (release, hold) = channel::<()>();
        let one = pool.clone();
        let running = tokio::spawn(async move {
            one.run(move || {
                started.send(()).unwrap();
                hold.recv().unwrap();
                Ok(1)
            })
            .await
        });
        tokio::task::spawn_blocking(move || starts.recv().unwrap()).await.unwrap();
        let waiting: Vec<_> = (2..4)
            .map(|n| {
                let pool = pool.clone();
                tokio::spawn(async move { pool.run(move || Ok(n)).await })
            })
            .collect();
        while pool.pending() < 3 {
            tokio::task::yield_now().await;
        }
        let refused = pool.run(|| Ok(9)).await.unwrap_err();
        assert_eq!((refused.kind.http(), refused.retry_after), (503, Some(RETRY_AFTER)));
        release.send(()).unwrap();
        assert_eq!(running.await.unwrap().unwrap(), 1);
        for (task, n) in waiting.into_iter().zip(2..) {
            assert_eq!(task.await.unwrap().unwrap(), n);
        }
        assert_eq!(pool.pending(), 0);
    }

    #[tokio::test]
    async fn a_panic_costs_one_answer_and_a_client_gone_costs_nothing() {
        let pool = Pool::new(1, 4).unwrap();
        let failed = pool.run(|| -> Result<()> { panic!("for the test") }).await.unwrap_err();
        assert_eq!(failed.kind.http(), 500);
        assert_eq!(pool.run(|| Ok(5)).await.unwrap(), 5);
        let (seen, sees) = channel();
        let (release, hold) = channel::<()>();
        let busy = pool.run(move || {
            hold.recv().unwrap();
            Ok(())
        });
        let gone = async {
            let later = pool.run(move || {
                seen.send(()).unwrap();
                Ok(())
            });
            let _ = tokio::time::timeout(Duration::from_millis(20), later).await;
            release.send(()).unwrap();
        };
        let (done, ()) = tokio::join!(busy, gone);
        done.unwrap();
        pool.run(|| Ok(())).await.unwrap();
        assert!(sees.try_recv().is_err());
    }
}
