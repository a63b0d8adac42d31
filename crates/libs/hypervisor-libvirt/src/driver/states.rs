//! States of guests: paused in memory, suspended to disk (libvirt: managed save).

use super::{LibvirtHypervisor, Shared};
use crate::connection::{CallResult, already};
use crate::{guests, power};
use async_trait::async_trait;
use ferrostack_hypervisor::States;
use ferrostack_model::server::PowerState;
use ferrostack_model::{Error, Result};
use virt::domain::Domain;
use virt::sys;

fn refused() -> Error {
    Error::conflict("The guest's state does not allow this operation.")
}

impl Shared {
    /// Changes the guest's domain, and remembers the power state that came of it.
    async fn alter(
        &self,
        id: &str,
        what: &str,
        to: impl Fn(&Domain) -> CallResult<()> + Send + 'static,
    ) -> Result<PowerState> {
        let domain = id.to_owned();
        let power = self
            .connection
            .call(format!("{what} guest {id}"), move |connect| {
                let domain = guests::get(connect, &domain)?;
                to(&domain)?;
                Ok(power::of_domain(&domain)?)
            })
            .await?;
        Ok(self.remember(id, power))
    }
}

fn pause(domain: &Domain) -> CallResult<()> {
    match power::of_domain(domain)? {
        PowerState::Paused => Ok(()),
        PowerState::Running => Ok(domain.suspend()?),
        _ => Err(refused().into()),
    }
}

fn unpause(domain: &Domain) -> CallResult<()> {
    match power::of_domain(domain)? {
        PowerState::Running => Ok(()),
        PowerState::Paused => Ok(domain.resume()?),
        _ => Err(refused().into()),
    }
}

fn suspend(domain: &Domain) -> CallResult<()> {
    if domain.is_active()? {
        // Restored it runs, whatever it did now.
        Ok(already(domain.managed_save(sys::VIR_DOMAIN_SAVE_RUNNING), || domain.has_managed_save(0))?)
    } else if domain.has_managed_save(0)? {
        Ok(())
    } else {
        Err(refused().into())
    }
}

#[async_trait]
impl States for LibvirtHypervisor {
    async fn pause(&self, server_id: &str) -> Result<PowerState> {
        self.run(server_id, |shared, id| async move { shared.alter(&id, "pausing", pause).await }).await
    }

    async fn unpause(&self, server_id: &str) -> Result<PowerState> {
        self.run(server_id, |shared, id| async move { shared.alter(&id, "unpausing", unpause).await }).await
    }

    async fn suspend(&self, server_id: &str) -> Result<PowerState> {
        self.run(server_id, |shared, id| async move { shared.alter(&id, "suspending", suspend).await }).await
    }

    async fn resume(&self, server_id: &str) -> Result<PowerState> {
        // libvirt starts a domain with its saved memory if there is any.
        self.run(server_id, |shared, id| async move { shared.start(&id).await }).await
    }
}
