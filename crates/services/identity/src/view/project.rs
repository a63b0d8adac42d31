//! Projects as JSON.

use super::object;
use crate::store::{self, project::Project};
use serde_json::{Value, json};

/// The tags of one of many.
pub fn tags_of<'t>(id: &str, tags: &'t [(String, String)]) -> Vec<&'t str> {
    tags.iter().filter(|(owner, _)| owner == id).map(|(_, tag)| tag.as_str()).collect()
}

/// A project; `tags` are (id, tag) pairs of all. A domain seen as a project has no domain and no parent.
pub fn project(row: &Project, tags: &[(String, String)], base: &str) -> Value {
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    object(
        store::members(&row.extra),
        json!({
            "id": row.id, "name": row.name, "domain_id": or_null(&row.domain_id),
            "description": row.description, "enabled": row.enabled == 1,
            "parent_id": or_null(&row.parent_id), "is_domain": row.is_domain == 1,
            "tags": tags_of(&row.id, tags), "options": store::members(&row.options),
            "links": {"self": format!("{base}/v3/projects/{}", super::segment(&row.id))},
        }),
    )
}
