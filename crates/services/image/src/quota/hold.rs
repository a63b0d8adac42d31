//! The room of an object that grows.

use super::{Kind, Limits};
use crate::store::quota as store;
use ferrostack_db::Db;
use ferrostack_model::Result;

/// Bytes that are asked for at once when nobody has said how many come.
const STEP: u64 = 16 << 20;
/// And when those are not left.
const SMALL_STEP: u64 = 1 << 18;

/// What may be written of an object.
pub struct Hold {
    limits: Limits,
    object: String,
    kind: Kind,
    bytes: u64,
}

impl Hold {
    /// Of an object for which room for `bytes` is held already.
    pub fn new(limits: Limits, object: String, kind: Kind, bytes: u64) -> Self {
        Self { limits, object, kind, bytes }
    }

    /// Makes sure that there is room for `size` bytes in all; 413 if there is not.
    pub async fn cover(&mut self, db: &Db, size: u64) -> Result<()> {
        if size > self.bytes {
            let (needed, wished) = (size.next_multiple_of(SMALL_STEP), size.saturating_add(STEP));
            let room = |needed| store::grow(db, &self.limits, &self.object, self.kind, needed, wished);
            self.bytes = match room(needed).await {
                Ok(bytes) => bytes,
                // Not a byte of the last is left to waste.
                Err(error) if error.kind == ferrostack_model::ErrorKind::TooLarge => room(size).await?,
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }
}
