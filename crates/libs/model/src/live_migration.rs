//! A live migration, as the control plane orders it: the source is asked, the destination prepares itself and offers a
//! way in, the source sends its guest there, and the destination says at last whether it has it.

use crate::guest::GuestSpec;
use serde::{Deserialize, Serialize};

/// One part of a live migration, for one of its two hosts. Each may come twice or late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Part {
    /// To the source: may the guest leave? It leaves a marker among the guest's files, by which the destination sees
    /// whether it has the same files.
    Check {
        /// Name of the marker, known to these two hosts only.
        marker: String,
    },
    /// To the destination: make everything that the guest needs and say how it comes in.
    Receive {
        /// The guest.
        spec: Box<GuestSpec>,
        /// As in [`Self::Check`].
        marker: String,
        /// Whether its disks are to be copied; `None`: if the hosts do not share them.
        block: Option<bool>,
    },
    /// To the source: send the guest. Where it is already on its way this only waits for it.
    Send {
        /// The destination's answer.
        offer: Offer,
        /// Pause the guest, so that it cannot change its memory faster than it is copied.
        force: bool,
    },
    /// To the source: do not send it after all. The answer's power state is that of the guest that stayed, or `NoState` if
    /// it has left.
    Abort {
        /// A guest that is paused goes on: it was paused for the migration.
        resume: bool,
    },
    /// To the destination: take the guest over if it has arrived (its power state), else remove what was made for it
    /// (`NoState`).
    Settle {
        /// The guest.
        spec: Box<GuestSpec>,
    },
}

impl Part {
    /// The name of the order.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Check { .. } => "migrate_check",
            Self::Receive { .. } => "migrate_receive",
            Self::Send { .. } => "migrate_send",
            Self::Abort { .. } => "migrate_abort",
            Self::Settle { .. } => "migrate_settle",
        }
    }

    /// What the guest shall be on this host from now on, if the part says so.
    pub fn spec(&self) -> Option<&GuestSpec> {
        match self {
            Self::Receive { spec, .. } | Self::Settle { spec } => Some(spec),
            Self::Check { .. } | Self::Send { .. } | Self::Abort { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn spec_mut(&mut self) -> Option<&mut GuestSpec> {
        match self {
            Self::Receive { spec, .. } | Self::Settle { spec } => Some(spec),
            Self::Check { .. } | Self::Send { .. } | Self::Abort { .. } => None,
        }
    }
}

/// What a prepared destination tells the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Offer {
    /// How the source's hypervisor reaches the destination's: a libvirt URI that is encrypted.
    pub uri: String,
    /// Host part of the address that memory and disks are sent to; empty: the hypervisors find it.
    pub address: String,
    /// Directory of the destination's guests.
    pub instances: String,
    /// Where the guest's display listens there.
    pub vnc_listen: String,
    /// Both hosts see the same files: nothing is copied but memory.
    pub shared: bool,
}

/// How far a migration is, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Memory in all.
    pub memory_total: u64,
    /// Memory sent.
    pub memory_processed: u64,
    /// Memory to send.
    pub memory_remaining: u64,
    /// Disk in all.
    pub disk_total: u64,
    /// Disk sent.
    pub disk_processed: u64,
    /// Disk to send.
    pub disk_remaining: u64,
}
