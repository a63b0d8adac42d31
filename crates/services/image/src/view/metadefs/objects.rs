//! Objects.

use crate::metadefs::Object;
use serde_json::{Value, json};

/// One.
pub fn object(namespace: &str, object: &Object) -> Value {
    let mut out = json!({"name": object.name, "required": object.required});
    if let Some(description) = &object.description {
        out["description"] = json!(description);
    }
    out["properties"] = Value::Object(object.properties.clone());
    out["created_at"] = json!(object.created_at.iso());
    out["updated_at"] = json!(object.updated_at.iso());
    out["self"] = json!(format!("/v2/metadefs/namespaces/{namespace}/objects/{}", object.name));
    out["schema"] = json!("/v2/schemas/metadefs/object");
    out
}

/// Those of a namespace.
pub fn objects(namespace: &str, all: &[Object]) -> Value {
    json!({
        "objects": all.iter().map(|o| object(namespace, o)).collect::<Vec<_>>(),
        // Without the slash, as Glance has it.
        "schema": "v2/schemas/metadefs/objects",
    })
}
