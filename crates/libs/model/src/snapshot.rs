//! A snapshot of a guest's root disk, as the control plane orders it.

use serde::{Deserialize, Serialize};

/// The disk format of a snapshot's image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotFormat {
    /// As small as the data.
    #[default]
    Qcow2,
    /// Byte for byte.
    Raw,
}

impl SnapshotFormat {
    /// The image's `disk_format`, and QEMU's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// What an agent makes of a guest's root disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotOrder {
    /// The queued image that gets the data.
    pub image_id: String,
    /// The image's disk format.
    pub format: SnapshotFormat,
    /// Freeze the guest's file systems meanwhile; without an agent in the guest the snapshot fails.
    #[serde(default)]
    pub quiesce: bool,
}

/// What an agent says it does at the moment, beside the names of orders: Nova's task states.
pub mod stage {
    /// The snapshot is made, its data will be sent.
    pub const PENDING_UPLOAD: &str = "image_pending_upload";
    /// The data are on their way to the image service.
    pub const UPLOADING: &str = "image_uploading";
}
