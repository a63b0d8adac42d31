//! `[image.import]`: how images are imported.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[image.import]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageImport {
    /// Imports that one process works on at once; more wait.
    pub parallel: usize,
    /// Hours after its end at which a task is forgotten.
    pub task_time_to_live_hours: i64,
    /// Of the properties of another cloud's image, glance-download copies those that begin with one of these.
    pub download_properties: Vec<String>,
    /// `raw`, `qcow2` or `vmdk`: what imported disks of other formats are converted to. Not set: none is.
    pub convert_to: Option<String>,
    /// Whether data that arrives packed by gzip is unpacked, unless the image is declared to be packed.
    pub decompress: bool,
    /// Properties that every imported image is given.
    pub inject: BTreeMap<String, String>,
    /// Whose images are given none: who has one of these roles.
    pub inject_ignore_roles: Vec<String>,
}

impl Default for ImageImport {
    fn default() -> Self {
        let prefixes = ["hw_", "trait:", "os_distro", "os_secure_boot", "os_type"];
        Self {
            parallel: 8,
            task_time_to_live_hours: 48,
            download_properties: prefixes.map(str::to_owned).to_vec(),
            convert_to: None,
            decompress: false,
            inject: BTreeMap::new(),
            inject_ignore_roles: vec!["admin".into()],
        }
    }
}
