//! Domain types as JSON.

pub mod network;
pub mod port;
pub mod subnet;

use serde_json::{Map, Value};

/// A JSON object.
pub type Object = Map<String, Value>;

/// What `json!({…})` made, as an object.
fn object(value: Value) -> Object {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
