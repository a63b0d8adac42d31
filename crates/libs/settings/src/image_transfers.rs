//! `[image.transfers]`

use serde::{Deserialize, Serialize};

/// Bounds of uploads and downloads of image data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageTransfers {
    /// Uploads that one process takes at once; more are answered 503.
    pub uploads: usize,
    /// A client that sends nothing for so long has gone, seconds.
    pub silence_seconds: u64,
}

impl Default for ImageTransfers {
    fn default() -> Self {
        Self { uploads: 256, silence_seconds: 60 }
    }
}
