//! Limits and their use as clients see them: sizes in MiB.

use crate::quota::{UnifiedLimits, Usage};
use serde_json::{Value, json};

/// The four.
pub fn usage(limits: &UnifiedLimits, usage: &Usage) -> Value {
    let one = |limit: i64, usage: i64| json!({"limit": limit, "usage": usage});
    json!({"usage": {
        "image_size_total": one(limits.image_size_total, usage.size >> 20),
        "image_stage_total": one(limits.image_stage_total, usage.staged >> 20),
        "image_count_total": one(limits.image_count_total, usage.images),
        "image_count_uploading": one(limits.image_count_uploading, usage.uploading),
    }})
}
