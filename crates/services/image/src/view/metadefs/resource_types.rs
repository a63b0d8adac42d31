//! Resource types.

use crate::metadefs::ResourceType;
use serde_json::{Value, json};

/// All.
pub fn resource_types(all: &[ResourceType]) -> Value {
    let one = |t: &ResourceType| json!({"name": t.name, "created_at": t.created_at.iso(), "updated_at": t.updated_at.iso()});
    json!({"resource_types": all.iter().map(one).collect::<Vec<_>>()})
}
