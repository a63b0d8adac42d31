//! What the compute side must know of an image.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An image as a guest's disk source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSource {
    /// Image id.
    pub id: String,
    /// `qcow2`, `raw`, `aki`, `ari`, `ami`, …: the declared and inspected format.
    pub disk_format: String,
    /// Size of the stored file, bytes.
    pub size: u64,
    /// Size of the disk inside, bytes; 0 if not known.
    pub virtual_size: u64,
    /// Lower-case hex sha512 of the stored file; the agent refuses anything else.
    pub sha512: String,
    /// Image properties (`hw_disk_bus`, `os_type`, …).
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}
