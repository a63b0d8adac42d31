//! Changes of a guest that is there: what one order does to it beside starting and stopping.

use crate::{auth::Secret, image::ImageSource};
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
    /// Start it from another image, its own root disk beside that.
    Rescue {
        /// What it is started from.
        rescue: Box<RescueSpec>,
    },
    /// Start it from its own root disk again.
    Unrescue,
}

/// What a guest is rescued with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescueSpec {
    /// The image of the rescue disk.
    pub image: ImageSource,
    /// Direct kernel boot.
    pub kernel: Option<ImageSource>,
    /// Initial ramdisk of a direct kernel boot.
    pub ramdisk: Option<ImageSource>,
    /// The rescue system's admin password.
    pub admin_pass: Option<Secret>,
    /// Seconds the guest has to shut down before.
    pub timeout_seconds: u32,
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
            Self::Rescue { .. } => "rescue",
            Self::Unrescue => "unrescue",
        }
    }
}
