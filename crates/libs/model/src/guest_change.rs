//! Changes of a guest that is there: what one order does to it beside starting and stopping.

use crate::auth::Secret;
use serde::{Deserialize, Serialize};

/// What an agent shall do to a guest. Level-triggered: each may come twice or late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum GuestChange {
    /// Stop its processors; it stays in memory.
    Pause,
    /// Let its processors run again.
    Unpause,
    /// Write its memory to disk and shut it off.
    Suspend,
    /// Start it, with the memory that was written to disk if there is any.
    Resume,
    /// Set a user's password by the agent inside the guest.
    SetPassword {
        /// The guest's user; the one that its image names, or the system's usual one, if empty.
        user: String,
        /// The new password.
        password: Secret,
    },
}

/// Fault of a password that could not be set because nobody inside the guest listens.
pub const NO_GUEST_AGENT: &str = "Unable to set password on instance";

impl GuestChange {
    /// Its name, for ledgers and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::SetPassword { .. } => "set_password",
        }
    }
}
