//! Carrying out the order to change a guest's state.

use crate::host::Host;
use ferrostack_model::{Result, guest::WantedPower, guest_change::GuestChange, server::PowerState};

/// Whether a guest runs on from now on where its host loses its power: what is only in memory is lost with it.
pub const fn power_of(change: &GuestChange) -> Option<WantedPower> {
    match change {
        GuestChange::Pause | GuestChange::Suspend => Some(WantedPower::Stopped),
        GuestChange::Unpause | GuestChange::Resume => Some(WantedPower::Running),
        GuestChange::SetPassword { .. } => None,
    }
}

impl Host {
    /// Changes the guest; runs twice after a crash.
    pub(crate) async fn change(&self, id: &str, change: &GuestChange) -> Result<PowerState> {
        let hypervisor = &self.hypervisor;
        match change {
            GuestChange::Pause => hypervisor.pause(id).await,
            GuestChange::Unpause => hypervisor.unpause(id).await,
            GuestChange::Suspend => hypervisor.suspend(id).await,
            GuestChange::Resume => hypervisor.resume(id).await,
            GuestChange::SetPassword { user, password } => hypervisor.set_password(id, user, password).await,
        }
    }
}
