//! States of fake guests.

use super::{FakeGuest, FakeHypervisor, Operation};
use crate::States;
use async_trait::async_trait;
use ferrostack_model::{Error, Result, server::PowerState};

impl FakeGuest {
    /// Goes on with the memory that is on disk; boots if there is none.
    pub(super) fn wake(&mut self) {
        if self.saved {
            (self.saved, self.power) = (false, PowerState::Running);
        } else {
            self.boot();
        }
    }
}

fn refused() -> Error {
    Error::conflict("The guest's state does not allow this operation.")
}

impl FakeHypervisor {
    /// Changes a guest as `to` says, which may refuse.
    async fn alter(
        &self,
        server_id: &str,
        to: impl FnOnce(&mut FakeGuest) -> Result<()> + Send,
    ) -> Result<PowerState> {
        let after = self.before(Operation::State).await?;
        let mut done = Ok(());
        let power = self.change(server_id, |guest| done = to(guest))?;
        done?;
        self.after(after, power).await
    }
}

#[async_trait]
impl States for FakeHypervisor {
    async fn pause(&self, server_id: &str) -> Result<PowerState> {
        self.alter(server_id, |guest| match guest.power {
            PowerState::Running | PowerState::Paused => {
                guest.power = PowerState::Paused;
                Ok(())
            }
            _ => Err(refused()),
        })
        .await
    }

    async fn unpause(&self, server_id: &str) -> Result<PowerState> {
        self.alter(server_id, |guest| match guest.power {
            PowerState::Running | PowerState::Paused => {
                guest.power = PowerState::Running;
                Ok(())
            }
            _ => Err(refused()),
        })
        .await
    }

    async fn suspend(&self, server_id: &str) -> Result<PowerState> {
        self.alter(server_id, |guest| match guest.power {
            PowerState::Running | PowerState::Paused => {
                (guest.power, guest.saved) = (PowerState::Shutdown, true);
                Ok(())
            }
            _ if guest.saved => Ok(()),
            _ => Err(refused()),
        })
        .await
    }

    async fn resume(&self, server_id: &str) -> Result<PowerState> {
        self.alter(server_id, |guest| {
            if guest.power != PowerState::Running {
                guest.wake();
            }
            Ok(())
        })
        .await
    }
}
