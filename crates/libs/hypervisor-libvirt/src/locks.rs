//! One lock for each name: two operations on one guest or network never overlap.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Locks by name.
#[derive(Default)]
pub struct Locks {
    map: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

impl Locks {
    /// Waits for the lock of `name`.
    pub async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut map = self.map.lock();
            if map.len() > 256 {
                // Nobody holds or waits for a lock that only the map knows.
                map.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            map.entry(name.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }
}
