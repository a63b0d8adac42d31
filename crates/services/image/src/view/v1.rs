//! An image as clients of v1 see it: never where its data lies.

use crate::image::{Image, Visibility};
use ferrostack_model::Timestamp;
use serde_json::{Map, Value, json};

fn time(at: Timestamp) -> String {
    format!("{}.000000", at.iso().trim_end_matches('Z'))
}

/// The whole record.
pub fn image(image: &Image) -> Value {
    let data = image.status.has_data();
    json!({
        "checksum": image.checksum.as_ref().filter(|_| data),
        "container_format": image.container_format,
        "created_at": time(image.created_at),
        "deleted": false,
        "deleted_at": null,
        "disk_format": image.disk_format,
        "id": image.id,
        "is_public": image.visibility == Visibility::Public,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "name": image.name,
        "owner": image.owner,
        "properties": image.properties,
        "protected": image.protected,
        "size": image.size.filter(|_| data).unwrap_or(0),
        "status": image.status.as_str(),
        "updated_at": time(image.updated_at),
        "virtual_size": image.virtual_size.filter(|_| data),
    })
}

/// What the short list tells.
pub fn brief(shown: &Image) -> Value {
    let whole = image(shown);
    let keep = ["checksum", "container_format", "disk_format", "id", "name", "size"];
    Value::Object(keep.into_iter().map(|name| (name.to_owned(), whole[name].clone())).collect::<Map<_, _>>())
}

/// The record as headers, without what is not set.
pub fn headers(shown: &Image) -> Vec<(String, String)> {
    let Value::Object(whole) = image(shown) else { return Vec::new() };
    let python = |value: Value| match value {
        Value::Bool(flag) => if flag { "True" } else { "False" }.to_owned(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    let mut out = Vec::new();
    for (name, value) in whole {
        match value {
            Value::Null => {}
            Value::Object(properties) => out.extend(
                properties
                    .into_iter()
                    .map(|(name, value)| (format!("x-image-meta-property-{name}"), python(value))),
            ),
            value => out.push((format!("x-image-meta-{name}"), python(value))),
        }
    }
    out
}
