//! `[image.quota]`

use serde::{Deserialize, Serialize};

/// `[image.quota]`: how quotas are kept. Which there are say `image.use_keystone_limits` and
/// `image.user_storage_quota`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageQuota {
    /// A project's limits are read again from the identity service after so many milliseconds.
    pub limits_cache_ms: u64,
    /// Whether sizes are counted to the byte, and while data arrives whose size nobody has said before. Otherwise they
    /// are counted as Glance does: once, in whole MiB, so that the last such upload may exceed the limit.
    pub strict: bool,
    /// Image records a project may have, queued ones too, whatever its quota; 0: any number.
    pub images_per_project: i64,
}

impl Default for ImageQuota {
    fn default() -> Self {
        Self { limits_cache_ms: 1000, strict: true, images_per_project: 200_000 }
    }
}
