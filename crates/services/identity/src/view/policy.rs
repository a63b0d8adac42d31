//! Policies as JSON.

use super::object;
use crate::store::{self, policy::Policy};
use serde_json::{Value, json};

/// A policy; the blob as it was given.
pub fn policy(row: &Policy, base: &str) -> Value {
    let blob: Value = serde_json::from_str(&row.blob).unwrap_or_default();
    object(
        store::members(&row.extra),
        json!({
            "id": row.id, "type": row.r#type, "blob": blob,
            "links": {"self": format!("{base}/v3/policies/{}", super::segment(&row.id))},
        }),
    )
}
