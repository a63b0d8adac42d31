//! Network interfaces of a guest that is there.

use crate::{Guest, unsupported};
use async_trait::async_trait;
use ferrostack_model::{Result, server::PowerState};

/// Interfaces of guests.
#[async_trait]
pub trait Interfaces: Send + Sync + 'static {
    /// Makes the guest's interfaces those of `spec.nics`: plugs in what is missing and pulls out what is too much, in
    /// the running guest too. Power, disks and everything else stay. `NotFound` if the guest is not defined.
    async fn set_nics(&self, _guest: &Guest) -> Result<PowerState> {
        Err(unsupported("attach_interface"))
    }
}
