//! Making a guest anew under its old id.

use crate::Guest;
use async_trait::async_trait;
use ferrostack_model::{Result, server::PowerState};

/// Rebuilds of guests.
#[async_trait]
pub trait Rebuilds: Send + Sync + 'static {
    /// Makes the guest anew: what runs is plugged off, the root disk is wiped and, unless `preserve_ephemeral`, the
    /// second disk and the swap disk too, and the guest is brought to `spec.power`. One that is not there is made. The
    /// same call again wipes again; an older generation than the guest's changes nothing.
    async fn rebuild(&self, guest: &Guest, preserve_ephemeral: bool) -> Result<PowerState>;
}
