//! Images as old microversions show them, made of what the image service answers.

use super::links::Links;
use crate::image::CORE;
use ferrostack_model::Timestamp;
use serde_json::{Map, Value, json};

/// Its properties: what is not of every image.
pub fn properties(image: &Value) -> Map<String, Value> {
    let of = |(name, value): (&String, &Value)| {
        let is_property = !CORE.contains(&name.as_str()) && !value.is_null();
        is_property.then(|| (name.clone(), value.clone()))
    };
    image.as_object().into_iter().flatten().filter_map(of).collect()
}

fn id(image: &Value) -> &str {
    image["id"].as_str().unwrap_or_default()
}

fn links(image: &Value, links: &Links, service: &str) -> Value {
    let mut all = links.item("images", id(image));
    if let Some(list) = all.as_array_mut() {
        list.push(json!({"rel": "alternate", "type": "application/vnd.openstack.image",
            "href": format!("{service}/images/{}", id(image))}));
    }
    all
}

/// The short form; `service` is the image service's URL.
pub fn basic(image: &Value, of: &Links, service: &str) -> Value {
    json!({"id": image["id"], "name": image["name"], "links": links(image, of, service)})
}

fn time(value: &Value) -> Value {
    value.as_str().and_then(Timestamp::parse).map_or(Value::Null, |t| json!(t.iso()))
}

/// The whole form.
pub fn full(image: &Value, of: &Links, service: &str) -> Value {
    let metadata = properties(image);
    let (status, progress) = match image["status"].as_str().unwrap_or_default() {
        "active" => ("ACTIVE", 100),
        "queued" => ("SAVING", 25),
        "saving" => ("SAVING", 50),
        "deleted" | "pending_delete" => ("DELETED", 0),
        "killed" => ("ERROR", 0),
        _ => ("UNKNOWN", 0),
    };
    let mut body = json!({
        "id": image["id"],
        "name": image["name"],
        "minRam": image["min_ram"].as_i64().unwrap_or(0),
        "minDisk": image["min_disk"].as_i64().unwrap_or(0),
        "metadata": metadata,
        "created": time(&image["created_at"]),
        "updated": time(&image["updated_at"]),
        "status": status,
        "progress": progress,
        "OS-EXT-IMG-SIZE:size": image["size"],
        "links": links(image, of, service),
    });
    if let Some(server) = metadata.get("instance_uuid").and_then(Value::as_str) {
        body["server"] = json!({"id": server, "links": of.item("servers", server)});
    }
    if let Some(auto) = metadata.get("auto_disk_config").and_then(Value::as_str) {
        body["OS-DCF:diskConfig"] = json!(if crate::input::truth(auto) { "AUTO" } else { "MANUAL" });
    }
    body
}
