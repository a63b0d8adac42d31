//! An image as clients see it.

use crate::image::Image;
use serde_json::{Map, Value, json};

/// The record, custom properties beside the standard ones, and what it tells about where the data is.
pub fn image(image: &Image, whereabouts: Map<String, Value>) -> Value {
    let mut out = Map::new();
    for (name, value) in &image.properties {
        out.insert(name.clone(), json!(value));
    }
    // Staged data is not the image's yet.
    let data = image.status.has_data();
    let shown = |value: Value| if data { value } else { Value::Null };
    let standard = json!({
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "visibility": image.visibility.as_str(),
        "size": shown(json!(image.size)),
        "virtual_size": shown(json!(image.virtual_size)),
        "status": image.status.as_str(),
        "checksum": shown(json!(image.checksum)),
        "protected": image.protected,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "owner": image.owner,
        "os_hidden": image.os_hidden,
        "os_hash_algo": shown(json!(image.os_hash_algo)),
        "os_hash_value": shown(json!(image.os_hash_value)),
        "id": image.id,
        "created_at": image.created_at.iso(),
        "updated_at": image.updated_at.iso(),
        "tags": image.tags,
        "self": format!("/v2/images/{}", image.id),
        "file": format!("/v2/images/{}/file", image.id),
        "schema": "/v2/schemas/image",
    });
    if let Value::Object(standard) = standard {
        out.extend(standard);
    }
    out.extend(whereabouts);
    Value::Object(out)
}

/// A page of a list of records with its links. `pairs` is the query as it was sent, `next` the id after which more may follow.
pub fn images(images: Vec<Value>, pairs: &[(String, String)], next: Option<&str>) -> Value {
    let link = |marker: Option<&str>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs.iter().filter(|(name, _)| name != "marker") {
            query.append_pair(name, value);
        }
        if let Some(marker) = marker {
            query.append_pair("marker", marker);
        }
        match query.finish() {
            text if text.is_empty() => "/v2/images".to_owned(),
            text => format!("/v2/images?{text}"),
        }
    };
    let mut out = json!({
        "images": images,
        "first": link(None),
        "schema": "/v2/schemas/images",
    });
    if let Some(last) = next {
        out["next"] = json!(link(Some(last)));
    }
    out
}
