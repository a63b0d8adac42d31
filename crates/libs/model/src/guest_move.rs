//! Orders that move a guest's disks: to another host, or to another size on its own.

use crate::guest::GuestSpec;
use serde::{Deserialize, Serialize};

/// Where a guest's disks are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The service host.
    pub host: String,
    /// Base URL of its agent.
    pub agent_url: String,
}

/// A step of a cold move. Level-triggered, as every order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum GuestMove {
    /// Make the guest here with the disks that another host keeps: fetched from its agent, grown to the flavor.
    Receive {
        /// The guest in its new size.
        spec: Box<GuestSpec>,
        /// Who has the disks.
        from: Origin,
    },
    /// Give the guest, which is off, another size here; its disks are kept aside as they were.
    Resize {
        /// The guest in its new size.
        spec: Box<GuestSpec>,
    },
    /// Take back a resize here: the disks that were kept aside are the guest's again.
    Revert {
        /// The guest in its old size.
        spec: Box<GuestSpec>,
    },
    /// Remove the disks that were kept aside.
    Forget,
}

impl GuestMove {
    /// The name in ledgers and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Receive { .. } => "move_receive",
            Self::Resize { .. } => "move_resize",
            Self::Revert { .. } => "move_revert",
            Self::Forget => "move_forget",
        }
    }

    /// The guest that comes of it.
    pub fn spec(&self) -> Option<&GuestSpec> {
        match self {
            Self::Receive { spec, .. } | Self::Resize { spec } | Self::Revert { spec } => Some(spec),
            Self::Forget => None,
        }
    }

    /// The same, to be changed.
    pub fn spec_mut(&mut self) -> Option<&mut GuestSpec> {
        match self {
            Self::Receive { spec, .. } | Self::Resize { spec } | Self::Revert { spec } => Some(spec),
            Self::Forget => None,
        }
    }

    /// Whether the guest is made by it where there was none.
    pub const fn builds(&self) -> bool {
        matches!(self, Self::Receive { .. })
    }
}
