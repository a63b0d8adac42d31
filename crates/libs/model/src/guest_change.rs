//! Changes of a guest that is there: what one order does to it beside starting and stopping.

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
}

impl GuestChange {
    /// Its name, for ledgers and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }
}
