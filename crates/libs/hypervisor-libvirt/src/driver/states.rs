//! States of guests: paused in memory, suspended to disk (libvirt: managed save).

use super::{LibvirtHypervisor, Shared};
use crate::connection::{CallError, CallResult, already};
use crate::{diagnostics, guests, power};
use async_trait::async_trait;
use ferrostack_hypervisor::{Guest, Rescue, States};
use ferrostack_model::auth::Secret;
use ferrostack_model::diagnostics::Diagnostics;
use ferrostack_model::guest_change::NO_GUEST_AGENT;
use ferrostack_model::server::PowerState;
use ferrostack_model::{Error, ErrorKind, Result};
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

fn interrupt(domain: &Domain) -> CallResult<()> {
    if !domain.is_active()? {
        return Err(refused().into());
    }
    // SAFETY: the pointer is valid while `domain` lives.
    if unsafe { sys::virDomainInjectNMI(domain.as_ptr(), 0) } < 0 {
        return Err(virt::error::Error::last_error().into());
    }
    Ok(())
}

fn set_password(domain: &Domain, user: &str, password: &Secret) -> CallResult<()> {
    if power::of_domain(domain)? != PowerState::Running {
        return Err(refused().into());
    }
    domain.set_user_password(user, &password.0, 0).map_err(|e| {
        use virt::error::ErrorNumber as E;
        let silent =
            [E::AgentUnresponsive, E::ArgumentUnsupported, E::OperationUnsupported, E::ConfigUnsupported];
        if silent.into_iter().any(|number| e.code().is(number)) {
            return CallError::Own(
                Error::new(ErrorKind::NotImplemented, NO_GUEST_AGENT).with_internal(e.to_string()),
            );
        }
        // What the agent inside says of a user's wish: no such user, a password that its rules refuse.
        CallError::Own(
            Error::conflict("Failed to set admin password: the agent inside the guest refused it.")
                .with_internal(e.message().to_owned()),
        )
    })
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

    async fn crash_dump(&self, server_id: &str) -> Result<()> {
        self.run(server_id, |shared, id| async move { shared.alter(&id, "interrupting", interrupt).await })
            .await
            .map(drop)
    }

    async fn set_password(&self, server_id: &str, user: &str, password: &Secret) -> Result<PowerState> {
        let (user, password) = (user.to_owned(), password.clone());
        self.run(server_id, |shared, id| async move {
            let set = move |domain: &Domain| set_password(domain, &user, &password);
            shared.alter(&id, "setting a password of", set).await
        })
        .await
    }

    async fn diagnostics(&self, server_id: &str) -> Result<Diagnostics> {
        // Not under the guest's lock: it may be asked for while something takes long.
        let id = crate::files::canonical_id(server_id)?;
        let hypervisor = if self.uses_kvm() { "kvm" } else { "qemu" };
        let what = format!("reading statistics of guest {id}");
        self.shared
            .connection
            .call(what, move |connect| diagnostics::of_domain(&guests::get(connect, &id)?, hypervisor))
            .await
    }

    async fn rescue(&self, guest: &Guest, rescue: &Rescue) -> Result<PowerState> {
        let (guest, rescue) = (guest.clone(), rescue.clone());
        let id = guest.spec.server_id.clone();
        self.run(&id, |shared, id| async move { shared.rescue(&guest, &rescue, &id).await }).await
    }

    async fn unrescue(&self, guest: &Guest) -> Result<PowerState> {
        let guest = guest.clone();
        let id = guest.spec.server_id.clone();
        self.run(&id, |shared, id| async move { shared.unrescue(&guest, &id).await }).await
    }

    async fn resume(&self, server_id: &str) -> Result<PowerState> {
        // libvirt starts a domain with its saved memory if there is any.
        self.run(server_id, |shared, id| async move { shared.start(&id).await }).await
    }
}
