//! `[image.metadefs]`

use serde::{Deserialize, Serialize};

/// `[image.metadefs]`: metadata definitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageMetadefs {
    /// Whether the first start puts in the standard definitions, and a later one what a new release adds to them.
    pub load_standard: bool,
}

impl Default for ImageMetadefs {
    fn default() -> Self {
        Self { load_standard: true }
    }
}
