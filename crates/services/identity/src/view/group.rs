//! Groups as JSON.

use super::object;
use crate::store::{self, group::Group};
use serde_json::{Value, json};

/// A group.
pub fn group(row: &Group, base: &str) -> Value {
    object(
        store::members(&row.extra),
        json!({
            "id": row.id, "name": row.name, "domain_id": row.domain_id, "description": row.description,
            "links": {"self": format!("{base}/v3/groups/{}", super::segment(&row.id))},
        }),
    )
}
