//! Tags.

use crate::metadefs::Tag;
use serde_json::{Value, json};

/// One.
pub fn tag(tag: &Tag) -> Value {
    json!({"name": tag.name, "created_at": tag.created_at.iso(), "updated_at": tag.updated_at.iso()})
}

/// Names alone, as lists have them.
pub fn names(all: &[Tag]) -> Value {
    all.iter().map(|t| json!({"name": t.name})).collect()
}

/// Those of a namespace.
pub fn tags(all: &[Tag]) -> Value {
    json!({"tags": names(all)})
}
