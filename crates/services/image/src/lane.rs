//! Work in order on blocking threads: one thread while there is work, none while there is not.
//!
//! What arrives is gathered to [`Batch`]es. Lanes of one upload take the same batches at their own pace; the room that
//! all batches of a process take together is bounded.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::{collections::VecDeque, io, mem, sync::Arc};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Bytes of a batch, about.
pub const BATCH: usize = 256 << 10;
/// Batches that wait for a lane.
const DEPTH: usize = 6;
/// KiB that a batch counts for at most: one larger than all the room would wait for ever.
const MOST: u32 = 1 << 10;
/// Chunks that are shorter are copied together: each costs memory beside its bytes.
const SHORT: usize = 4 << 10;

/// Some bytes in order. Its room is free again when the last lane has done with it.
pub struct Batch {
    chunks: Vec<Bytes>,
    _room: OwnedSemaphorePermit,
}

impl Batch {
    /// The bytes.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }
}

/// Makes batches of what arrives.
pub struct Gatherer {
    room: Arc<Semaphore>,
    chunks: Vec<Bytes>,
    short: BytesMut,
    bytes: usize,
}

impl Gatherer {
    /// `room` counts KiB, at least 1,024.
    pub fn new(room: Arc<Semaphore>) -> Self {
        Self { room, chunks: Vec::new(), short: BytesMut::new(), bytes: 0 }
    }

    /// Whether there is enough for a batch.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes the next bytes.
    pub fn push(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        if chunk.len() < SHORT {
            self.short.extend_from_slice(&chunk);
        } else {
            self.end_short();
            self.chunks.push(chunk);
        }
    }

    fn end_short(&mut self) {
        if !self.short.is_empty() {
            self.chunks.push(mem::take(&mut self.short).freeze());
        }
    }

    /// What was gathered; waits until there is room for it.
    pub async fn take(&mut self) -> Arc<Batch> {
        self.end_short();
        let kib = u32::try_from(self.bytes.div_ceil(1 << 10)).map_or(MOST, |kib| kib.min(MOST));
        self.bytes = 0;
        let chunks = mem::take(&mut self.chunks);
        loop {
            // The semaphore is never closed.
            if let Ok(room) = self.room.clone().acquire_many_owned(kib).await {
                return Arc::new(Batch { chunks, _room: room });
            }
        }
    }
}

/// What a lane does with each batch. Blocks.
pub trait Worker: Send + 'static {
    /// The next batch. After an error no more come.
    fn work(&mut self, batch: &Batch) -> io::Result<()>;
}

/// A worker and the batches that wait for it.
pub struct Lane<W> {
    shared: Arc<Shared<W>>,
}

struct Shared<W> {
    state: Mutex<State<W>>,
    changed: Notify,
}

struct State<W> {
    waiting: VecDeque<Arc<Batch>>,
    /// `None` while a thread has it, and when it is gone.
    worker: Option<W>,
    busy: bool,
    failed: Option<io::Error>,
}

impl<W: Worker> Lane<W> {
    /// A lane that does nothing yet.
    pub fn new(worker: W) -> Self {
        let state = State { waiting: VecDeque::new(), worker: Some(worker), busy: false, failed: None };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }) }
    }

    /// Puts a batch at the end; waits while too many wait. The error of a batch before this one comes here.
    pub async fn push(&self, batch: &Arc<Batch>) -> io::Result<()> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut state = self.shared.state.lock();
                if let Some(error) = state.failed.take() {
                    return Err(error);
                }
                if state.waiting.len() < DEPTH {
                    state.waiting.push_back(batch.clone());
                    if let Some(worker) = state.worker.take() {
                        state.busy = true;
                        let shared = self.shared.clone();
                        tokio::task::spawn_blocking(move || run(&shared, worker));
                    } else if !state.busy {
                        return Err(io::Error::other("the upload has failed before"));
                    }
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Waits until all batches are done; the worker.
    pub async fn finish(self) -> io::Result<W> {
        self.idle().await;
        let mut state = self.shared.state.lock();
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        state.worker.take().ok_or_else(|| io::Error::other("the upload has failed before"))
    }

    /// Forgets the batches that wait, lets the one under way end, and drops the worker.
    pub async fn cancel(self) {
        self.shared.state.lock().waiting.clear();
        self.idle().await;
        let worker = self.shared.state.lock().worker.take();
        // It may hold a file: closing one can block.
        let _ = tokio::task::spawn_blocking(move || drop(worker)).await;
    }

    async fn idle(&self) {
        loop {
            let changed = self.shared.changed.notified();
            if !self.shared.state.lock().busy {
                return;
            }
            changed.await;
        }
    }
}

/// Works until nothing waits.
fn run<W: Worker>(shared: &Arc<Shared<W>>, worker: W) {
    /// Ends the lane also if the worker panics.
    struct End<'a, W> {
        shared: &'a Shared<W>,
        worker: Option<W>,
        failed: Option<io::Error>,
    }
    impl<W> Drop for End<'_, W> {
        fn drop(&mut self) {
            if let Some(error) = self.failed.take() {
                let mut state = self.shared.state.lock();
                state.busy = false;
                state.waiting.clear();
                state.failed = Some(error);
            }
            self.shared.changed.notify_waiters();
        }
    }
    let broken = Some(io::Error::other("a worker of an upload broke"));
    let mut end = End { shared, worker: Some(worker), failed: broken };
    while let Some(worker) = &mut end.worker {
        let batch = {
            let mut state = shared.state.lock();
            let Some(batch) = state.waiting.pop_front() else {
                state.worker = end.worker.take();
                state.busy = false;
                end.failed = None;
                return;
            };
            batch
        };
        shared.changed.notify_waiters();
        if let Err(error) = worker.work(&batch) {
            end.failed = Some(error);
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Writes down what comes; fails or panics at the batch of that number.
    struct Scribe {
        seen: Vec<u8>,
        batches: usize,
        fail_at: usize,
        panic_at: usize,
        slow: bool,
    }

    impl Scribe {
        fn new(fail_at: usize, panic_at: usize) -> Self {
            Self { seen: Vec::new(), batches: 0, fail_at, panic_at, slow: false }
        }
    }

    impl Worker for Scribe {
        fn work(&mut self, batch: &Batch) -> io::Result<()> {
            self.batches += 1;
            if self.slow {
                std::thread::sleep(Duration::from_millis(2));
            }
            assert!(self.batches != self.panic_at, "told to");
            if self.batches == self.fail_at {
                return Err(io::ErrorKind::StorageFull.into());
            }
            batch.chunks().iter().for_each(|c| self.seen.extend_from_slice(c));
            Ok(())
        }
    }

    fn room() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(1024))
    }

    #[tokio::test]
    async fn two_lanes_see_every_byte_in_order() {
        let room = room();
        let mut gatherer = Gatherer::new(room.clone());
        let slow = Scribe { slow: true, ..Scribe::new(0, 0) };
        let lanes = [Lane::new(Scribe::new(0, 0)), Lane::new(slow)];
        let mut expected = Vec::new();
        for n in 0..4000_u32 {
            let chunk: Vec<u8> = (0..n % 5000).map(|i| ((i * n) >> 3) as u8).collect();
            expected.extend_from_slice(&chunk);
            gatherer.push(chunk.into());
            if gatherer.is_full() {
                let batch = gatherer.take().await;
                for lane in &lanes {
                    lane.push(&batch).await.unwrap();
                }
            }
        }
        let batch = gatherer.take().await;
        for lane in lanes {
            lane.push(&batch).await.unwrap();
            assert!(lane.finish().await.unwrap().seen == expected);
        }
        drop(batch);
        assert_eq!(room.available_permits(), 1024, "all room is free again");
    }

    #[tokio::test]
    async fn an_error_or_a_panic_reaches_the_sender_and_frees_the_room() {
        for (fail_at, panic_at) in [(1, 0), (3, 0), (0, 1), (0, 3)] {
            let room = room();
            let mut gatherer = Gatherer::new(room.clone());
            let lane = Lane::new(Scribe::new(fail_at, panic_at));
            let mut failed = None;
            for _ in 0..30 {
                gatherer.push(vec![1; 10_000].into());
                let batch = gatherer.take().await;
                if let Err(error) = lane.push(&batch).await {
                    failed = Some(error);
                    break;
                }
                tokio::task::yield_now().await;
            }
            let error = match failed {
                Some(error) => error,
                None => lane.finish().await.err().unwrap(),
            };
            assert_eq!(error.kind() == io::ErrorKind::StorageFull, fail_at > 0);
            for _ in 0..100 {
                if room.available_permits() == 1024 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(room.available_permits(), 1024);
        }
    }

    #[tokio::test]
    async fn a_cancelled_lane_has_let_go_of_its_worker() {
        let (alive, gone) = std::sync::mpsc::channel::<()>();
        struct Holder(#[allow(dead_code)] std::sync::mpsc::Sender<()>);
        impl Worker for Holder {
            fn work(&mut self, _: &Batch) -> io::Result<()> {
                std::thread::sleep(Duration::from_millis(5));
                Ok(())
            }
        }
        let mut gatherer = Gatherer::new(room());
        let lane = Lane::new(Holder(alive));
        for _ in 0..5 {
            gatherer.push(vec![1; 10].into());
            lane.push(&gatherer.take().await).await.unwrap();
        }
        lane.cancel().await;
        assert_eq!(gone.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    }

    /// A client that sends single bytes does not make us hold a page for each.
    #[tokio::test]
    async fn short_chunks_are_put_together() {
        let mut gatherer = Gatherer::new(room());
        for n in 0..100_000_u32 {
            gatherer.push(Bytes::copy_from_slice(&[n as u8]));
        }
        gatherer.push(vec![7; SHORT].into());
        gatherer.push(Bytes::from_static(b"x"));
        assert_eq!(gatherer.take().await.chunks().len(), 3);
        assert!(gatherer.is_empty());
    }
}
