//! Credentials as JSON.

use super::{object, segment};
use crate::store::{self, credential::Credential};
use serde_json::{Map, Value, json};

/// A credential with its opened blob.
pub fn credential(row: &Credential, blob: &str, base: &str) -> Value {
    let known = json!({
        "id": row.id, "user_id": row.user_id, "project_id": row.project_id, "type": row.kind, "blob": blob,
        "links": {"self": format!("{base}/v3/credentials/{}", segment(&row.id))},
    });
    object(store::members(&row.extra), known)
}

/// A credential of type `ec2` in the form of OS-EC2; `blob` has been parsed.
pub fn ec2(row: &Credential, blob: &Map<String, Value>, base: &str) -> Value {
    let access = blob.get("access").and_then(Value::as_str).unwrap_or_default();
    let link = format!("{base}/v3/users/{}/credentials/OS-EC2/{}", segment(&row.user_id), segment(access));
    json!({
        "user_id": row.user_id, "tenant_id": row.project_id, "access": blob.get("access"),
        "secret": blob.get("secret"), "trust_id": blob.get("trust_id"), "links": {"self": link},
    })
}
