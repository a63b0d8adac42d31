//! Roles as JSON.

use super::object;
use crate::store::{self, role::Role};
use serde_json::{Value, json};

/// A role.
pub fn role(row: &Role, base: &str) -> Value {
    let domain = if row.domain_id.is_empty() { Value::Null } else { json!(row.domain_id) };
    object(
        store::members(&row.extra),
        json!({
            "id": row.id, "name": row.name, "domain_id": domain, "description": row.description,
            "options": store::members(&row.options), "links": link(row, base),
        }),
    )
}

fn link(row: &Role, base: &str) -> Value {
    json!({"self": format!("{base}/v3/roles/{}", super::segment(&row.id))})
}

/// A role by id and name, in inference rules.
pub fn brief(row: &Role, base: &str) -> Value {
    json!({"id": row.id, "links": link(row, base), "name": row.name})
}
