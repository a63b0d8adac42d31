//! Domains as JSON.

use super::object;
use crate::store::{self, project::Project};
use serde_json::{Value, json};

/// A domain; `tags` are (id, tag) pairs of all.
pub fn domain(row: &Project, tags: &[(String, String)], base: &str) -> Value {
    object(
        store::members(&row.extra),
        json!({
            "id": row.id, "name": row.name, "description": row.description, "enabled": row.enabled == 1,
            "tags": super::project::tags_of(&row.id, tags), "options": store::members(&row.options),
            "links": {"self": format!("{base}/v3/domains/{}", super::segment(&row.id))},
        }),
    )
}
