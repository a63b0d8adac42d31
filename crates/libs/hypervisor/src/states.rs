//! What a hypervisor does with a guest that is there, beside starting and stopping it.

use crate::{Guest, Rescue};
use async_trait::async_trait;
use ferrostack_model::{
    Error, ErrorKind, Result, auth::Secret, diagnostics::Diagnostics, server::PowerState,
};

/// 501 for what a hypervisor cannot do.
pub fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::NotImplemented, format!("The hypervisor does not support this: {what}."))
}

/// States of guests. What a driver does not override it does not support. Every call is `NotFound` where there is no
/// such guest.
#[async_trait]
pub trait States: Send + Sync + 'static {
    /// Stops the guest's processors; `Conflict` if it does not run.
    async fn pause(&self, _server_id: &str) -> Result<PowerState> {
        Err(unsupported("pause"))
    }

    /// Lets a paused guest go on; `Conflict` if it is off.
    async fn unpause(&self, _server_id: &str) -> Result<PowerState> {
        Err(unsupported("unpause"))
    }

    /// Writes the guest's memory to disk and shuts it off; `Conflict` if it is off without such memory.
    async fn suspend(&self, _server_id: &str) -> Result<PowerState> {
        Err(unsupported("suspend"))
    }

    /// Sends the guest a non-maskable interrupt, at which most systems write a crash dump; `Conflict` if it is off.
    async fn crash_dump(&self, _server_id: &str) -> Result<()> {
        Err(unsupported("crash dump"))
    }

    /// Sets the password of a user of the guest, by the agent inside it. `NotImplemented` if that does not listen.
    async fn set_password(&self, _server_id: &str, _user: &str, _password: &Secret) -> Result<PowerState> {
        Err(unsupported("password"))
    }

    /// What the guest uses of its host.
    async fn diagnostics(&self, _server_id: &str) -> Result<Diagnostics> {
        Err(unsupported("diagnostics"))
    }

    /// Shuts the guest down and starts it from a rescue disk, its own root disk beside that. A guest that runs from the
    /// rescue disk of this number is left alone.
    async fn rescue(&self, _guest: &Guest, _rescue: &Rescue) -> Result<PowerState> {
        Err(unsupported("rescue"))
    }

    /// Starts the guest from its own root disk again, and removes what was only for the rescue.
    async fn unrescue(&self, _guest: &Guest) -> Result<PowerState> {
        Err(unsupported("unrescue"))
    }

    /// Starts the guest with the memory that was written to disk, or afresh if there is none.
    async fn resume(&self, _server_id: &str) -> Result<PowerState> {
        Err(unsupported("resume"))
    }
}
