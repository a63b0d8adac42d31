//! Properties.

use crate::metadefs::Property;
use serde_json::{Map, Value, json};

/// One, with its name.
pub fn property(property: &Property) -> Value {
    let mut out = Map::new();
    out.insert("name".to_owned(), json!(property.name));
    out.extend(property.schema.clone());
    Value::Object(out)
}

/// Many, by name.
pub fn by_name(all: &[Property]) -> Value {
    Value::Object(all.iter().map(|p| (p.name.clone(), Value::Object(p.schema.clone()))).collect())
}

/// Those of a namespace.
pub fn properties(all: &[Property]) -> Value {
    json!({"properties": by_name(all)})
}
