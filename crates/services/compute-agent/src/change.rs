//! Carrying out the order to change a guest's state.

use crate::{host::Host, perform::Trouble, store::orders::OrderRow};
use ferrostack_hypervisor::Rescue;
use ferrostack_model::{
    Error, Result,
    guest::{GuestSpec, WantedPower},
    guest_change::{GuestChange, RescueSpec},
    server::PowerState,
};
use tokio_util::sync::CancellationToken;

/// Whether a guest runs on from now on where its host loses its power: what is only in memory is lost with it.
pub const fn power_of(change: &GuestChange) -> Option<WantedPower> {
    match change {
        GuestChange::Pause | GuestChange::Suspend => Some(WantedPower::Stopped),
        GuestChange::Unpause | GuestChange::Resume | GuestChange::Rescue { .. } | GuestChange::Unrescue => {
            Some(WantedPower::Running)
        }
        GuestChange::SetPassword { .. } => None,
    }
}

impl Host {
    /// Changes the guest; runs twice after a crash.
    pub(crate) async fn change(
        &self,
        row: &OrderRow,
        change: &GuestChange,
        newer: &CancellationToken,
    ) -> Result<PowerState, Trouble> {
        let (hypervisor, id) = (&self.hypervisor, row.server_id.as_str());
        Ok(match change {
            GuestChange::Pause => hypervisor.pause(id).await?,
            GuestChange::Unpause => hypervisor.unpause(id).await?,
            GuestChange::Suspend => hypervisor.suspend(id).await?,
            GuestChange::Resume => hypervisor.resume(id).await?,
            GuestChange::SetPassword { user, password } => {
                hypervisor.set_password(id, user, password).await?
            }
            GuestChange::Rescue { rescue } => {
                let mut spec = self.spec_of(id).await?;
                spec.admin_pass.clone_from(&rescue.admin_pass);
                let guest = self.prepare(row, &spec, newer).await?;
                let rescue = tokio::select! {
                    rescue = self.rescue_files(row, rescue) => rescue?,
                    () = newer.cancelled() => return Err(Trouble::Interrupted),
                    () = self.shared.stop.cancelled() => return Err(Trouble::Interrupted),
                };
                hypervisor.rescue(&guest, &rescue).await?
            }
            GuestChange::Unrescue => {
                let spec = self.spec_of(id).await?;
                let guest = self.prepare(row, &spec, newer).await?;
                hypervisor.unrescue(&guest).await?
            }
        })
    }

    /// What is wanted of a guest that is there.
    pub(crate) async fn spec_of(&self, id: &str) -> Result<GuestSpec> {
        let known = self.shared.ledger.spec(&self.name, id).await?;
        let (_, spec) =
            known.ok_or_else(|| Error::not_found(format!("Instance {id} does not exist on this host.")))?;
        Ok(spec)
    }

    /// A rescue with its files on disk.
    async fn rescue_files(&self, row: &OrderRow, rescue: &RescueSpec) -> Result<Rescue> {
        let none = Rescue {
            tag: row.generation,
            image: rescue.image.clone(),
            base: None,
            kernel: None,
            ramdisk: None,
            timeout_seconds: rescue.timeout_seconds,
        };
        match self.hypervisor.needs_files() {
            true => self.shared.files.rescue(rescue, none, row.request_id.as_deref()).await,
            false => Ok(none),
        }
    }
}
