//! Associations.

use crate::metadefs::Association;
use serde_json::{Value, json};

/// One.
pub fn association(association: &Association) -> Value {
    let mut out = json!({"name": association.name});
    let texts = [("prefix", &association.prefix), ("properties_target", &association.properties_target)];
    for (name, text) in texts {
        if let Some(text) = text {
            out[name] = json!(text);
        }
    }
    out["created_at"] = json!(association.created_at.iso());
    out["updated_at"] = json!(association.updated_at.iso());
    out
}

/// Those of a namespace.
pub fn associations(all: &[Association]) -> Value {
    json!({"resource_type_associations": all.iter().map(association).collect::<Vec<_>>()})
}
