//! Interfaces of fake guests: their MAC addresses are kept with the guest.

use super::{FakeHypervisor, Operation};
use crate::{Guest, Interfaces};
use async_trait::async_trait;
use ferrostack_model::{Result, server::PowerState};

#[async_trait]
impl Interfaces for FakeHypervisor {
    async fn set_nics(&self, guest: &Guest) -> Result<PowerState> {
        let after = self.before(Operation::State).await?;
        let power = self.change(&guest.spec.server_id, |known| {
            // A newer spec is in force.
            if known.generation <= guest.spec.generation {
                known.generation = guest.spec.generation;
                known.nics = guest.spec.nics.iter().map(|nic| nic.mac_address.clone()).collect();
            }
        })?;
        self.after(after, power).await
    }
}

impl FakeHypervisor {
    /// MAC addresses of a guest's interfaces; none if there is no such guest.
    pub fn nics(&self, server_id: &str) -> Vec<String> {
        self.guests.lock().get(server_id).map(|guest| guest.nics.clone()).unwrap_or_default()
    }
}
