//! Users as JSON.

use super::object;
use crate::store::{self, user::User};
use ferrostack_model::Timestamp;
use serde_json::{Value, json};

/// When the password expires, without a zone as Keystone writes it; null: never.
pub fn password_expires_at(row: &User) -> Value {
    match row.password_expires_at {
        0 => Value::Null,
        at => json!(Timestamp(at).iso_micros_naive()),
    }
}

/// A user; the password never shows.
pub fn user(row: &User, base: &str) -> Value {
    let mut known = json!({
        "id": row.id, "name": row.name, "domain_id": row.domain_id, "enabled": row.enabled == 1,
        "password_expires_at": password_expires_at(row), "options": store::members(&row.options),
    });
    if !row.default_project_id.is_empty() {
        known["default_project_id"] = json!(row.default_project_id);
    }
    known["links"] = json!({"self": format!("{base}/v3/users/{}", super::segment(&row.id))});
    object(store::members(&row.extra), known)
}
