//! Rebuilds of fake guests.

use super::{FakeHypervisor, Operation};
use crate::{Guest, Hypervisor, Rebuilds};
use async_trait::async_trait;
use ferrostack_model::{Result, server::PowerState};

impl FakeHypervisor {
    /// The image of a guest's root disk, and the generation that its second disk was made in.
    pub fn disks(&self, server_id: &str) -> Option<(String, i64)> {
        self.guests.lock().get(server_id).map(|guest| (guest.image.clone(), guest.ephemeral))
    }
}

#[async_trait]
impl Rebuilds for FakeHypervisor {
    async fn rebuild(&self, guest: &Guest, preserve_ephemeral: bool) -> Result<PowerState> {
        let spec = &guest.spec;
        let after = self.before(Operation::Rebuild).await?;
        let kept = {
            let guests = self.guests.lock();
            let known = guests.get(&spec.server_id);
            if let Some(newer) = known.filter(|g| g.generation > spec.generation) {
                return Ok(newer.power);
            }
            known.filter(|_| preserve_ephemeral).map(|g| g.ephemeral)
        };
        self.forget(&spec.server_id);
        self.ensure(guest).await?;
        let power = self.change(&spec.server_id, |known| {
            if let Some(ephemeral) = kept {
                known.ephemeral = ephemeral;
            }
        })?;
        self.after(after, power).await
    }
}
