//! States of fake guests.

use super::{FakeGuest, FakeHypervisor, Operation};
use crate::{Guest, Rescue, States};
use async_trait::async_trait;
use ferrostack_model::{
    Error, Result,
    auth::Secret,
    diagnostics::{Diagnostics, DiskUse},
    server::PowerState,
};

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

    async fn crash_dump(&self, server_id: &str) -> Result<()> {
        self.alter(server_id, |guest| match guest.power {
            PowerState::Running | PowerState::Paused => {
                guest.say("[  999.000000] NMI received for unknown reason");
                Ok(())
            }
            _ => Err(refused()),
        })
        .await
        .map(drop)
    }

    async fn set_password(&self, server_id: &str, user: &str, _password: &Secret) -> Result<PowerState> {
        let user = user.to_owned();
        self.alter(server_id, move |guest| match guest.power {
            PowerState::Running => {
                guest.say(&format!("password of {user} changed"));
                Ok(())
            }
            _ => Err(refused()),
        })
        .await
    }

    async fn diagnostics(&self, server_id: &str) -> Result<Diagnostics> {
        let after = self.before(Operation::State).await?;
        let guest = self.guests.lock().get(server_id).cloned().ok_or_else(|| super::absent(server_id))?;
        let mut told = Diagnostics::of_state(guest.power, "qemu");
        if guest.power == PowerState::Running {
            // Numbers that grow with the guest's life, and are the same whenever they are asked for.
            let boots = i64::try_from(guest.boots).unwrap_or(i64::MAX);
            told.cpus = vec![guest.boots.saturating_mul(17_300_000_000)];
            (told.memory_kib, told.memory_used_kib) = (524_288, 524_288);
            told.memory.insert("actual".into(), 524_288);
            told.disks.push(DiskUse {
                name: "vda".into(),
                read_requests: boots.saturating_mul(112),
                read_bytes: boots.saturating_mul(262_144),
                write_requests: boots.saturating_mul(488),
                write_bytes: boots.saturating_mul(5_778_432),
                errors: -1,
            });
        }
        self.after(after, told).await
    }

    async fn rescue(&self, guest: &Guest, rescue: &Rescue) -> Result<PowerState> {
        let tag = rescue.tag;
        self.alter(&guest.spec.server_id, move |guest| {
            if guest.rescue != Some(tag) || guest.power != PowerState::Running {
                guest.rescue = Some(tag);
                guest.boot();
            }
            Ok(())
        })
        .await
    }

    async fn unrescue(&self, guest: &Guest) -> Result<PowerState> {
        self.alter(&guest.spec.server_id, |guest| {
            if guest.rescue.take().is_some() || guest.power != PowerState::Running {
                guest.boot();
            }
            Ok(())
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
