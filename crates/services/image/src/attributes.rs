//! The attributes of an image that clients set: one set of rules for create and update.

use crate::{
    image::{Image, Visibility},
    routes::IMAGE_SCHEMA,
};
use ferrostack_http::Schema;
use ferrostack_model::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// Most custom properties of an image (Glance's `image_property_quota`).
const MAX_PROPERTIES: usize = 128;
/// Most tags of an image (Glance's `image_tag_quota`).
const MAX_TAGS: usize = 128;
/// Characters of a property's name or a tag.
const MAX_NAME: usize = 255;

/// Attributes nobody sets.
const READ_ONLY: &[&str] = &[
    "id",
    "created_at",
    "updated_at",
    "status",
    "checksum",
    "size",
    "virtual_size",
    "os_hash_algo",
    "os_hash_value",
    "direct_url",
    "self",
    "file",
    "schema",
    "stores",
];
/// Names that were or may be attributes.
const RESERVED: &[&str] = &["location", "deleted", "deleted_at", "locations"];
/// Attributes that are not custom properties.
const BASE: &[&str] = &[
    "name",
    "visibility",
    "owner",
    "disk_format",
    "container_format",
    "min_disk",
    "min_ram",
    "protected",
    "os_hidden",
    "tags",
];

#[allow(clippy::expect_used)] // start-up: a fixed text, and a test compiles it
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::compile(IMAGE_SCHEMA).expect("image schema"));

/// Whether `name` is an attribute every image has (and none that can be removed).
pub fn is_base(name: &str) -> bool {
    BASE.contains(&name)
}

/// Attributes that are not even looked at in a new image.
const DISALLOWED: &[&str] = &["direct_url", "self", "file", "schema", "stores"];

/// Reads the attributes of a new image in Glance's order: those that are no attributes, the schema, the read-only
/// and the reserved ones.
pub fn check_new(attributes: &Map<String, Value>) -> Result<()> {
    for name in DISALLOWED {
        if attributes.contains_key(*name) {
            return Err(Error::forbidden(format!("Attribute '{name}' is read-only.")));
        }
    }
    validate(attributes)?;
    attributes.keys().try_for_each(|name| check_settable(name, true))
}

/// 403 for an attribute that clients cannot set; `creating`: the id they can.
pub fn check_settable(name: &str, creating: bool) -> Result<()> {
    let short: String = name.chars().take(MAX_NAME).collect();
    if READ_ONLY.contains(&name) && !(creating && name == "id") {
        return Err(Error::forbidden(format!("Attribute '{short}' is read-only.")));
    }
    if RESERVED.contains(&name) || name.starts_with("os_glance_") {
        let error = Error::forbidden(format!("Attribute '{short}' is reserved."));
        return Err(if creating && name != "locations" { error.as_detail() } else { error });
    }
    Ok(())
}

/// 400 in Glance's words if the attributes do not fit the schema or hold what a database cannot.
pub fn validate(attributes: &Map<String, Value>) -> Result<()> {
    let value = Value::Object(attributes.clone());
    if let Some(detail) = SCHEMA.explain(&value) {
        return Err(Error::bad_request(format!("Provided object does not match schema 'image': {detail}")));
    }
    for (name, value) in attributes {
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(Error::bad_request(format!(
                "Custom property should not be greater than {MAX_NAME} characters."
            )));
        }
        if name.contains('\0') || has_nul(value) {
            return Err(Error::bad_request(format!("'{}' must not contain NUL.", name.replace('\0', "?"))));
        }
    }
    Ok(())
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        _ => false,
    }
}

/// Sets one validated attribute.
pub fn set(image: &mut Image, name: &str, value: &Value) -> Result<()> {
    let text = || value.as_str().map(str::to_owned);
    match name {
        "id" => image.id = text().unwrap_or_default().to_ascii_lowercase(),
        "name" => image.name = text(),
        "owner" => image.owner = text(),
        "disk_format" => image.disk_format = text(),
        "container_format" => image.container_format = text(),
        "min_disk" => image.min_disk = value.as_i64().unwrap_or(0),
        "min_ram" => image.min_ram = value.as_i64().unwrap_or(0),
        "protected" => image.protected = value.as_bool().unwrap_or(false),
        "os_hidden" => image.os_hidden = value.as_bool().unwrap_or(false),
        "visibility" => {
            image.visibility = value
                .as_str()
                .and_then(Visibility::parse)
                .ok_or_else(|| Error::bad_request("Invalid visibility value"))?;
        }
        "tags" => {
            image.tags =
                value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        // `kernel_id` and `ramdisk_id` may be null: not set.
        _ => match value.as_str() {
            Some(text) => {
                image.properties.insert(name.to_owned(), text.to_owned());
            }
            None => {
                image.properties.remove(name);
            }
        },
    }
    Ok(())
}

/// The settable attributes as JSON, what a patch works on.
pub fn as_json(image: &Image) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in &image.properties {
        out.insert(name.clone(), json!(value));
    }
    let base = json!({
        "name": image.name, "visibility": image.visibility.as_str(), "owner": image.owner,
        "disk_format": image.disk_format, "container_format": image.container_format,
        "min_disk": image.min_disk, "min_ram": image.min_ram, "protected": image.protected,
        "os_hidden": image.os_hidden, "tags": image.tags,
    });
    if let Value::Object(base) = base {
        out.extend(base);
    }
    out
}

/// 413 for too many properties or tags.
pub fn check_quota(image: &Image) -> Result<()> {
    let over = |what: &str, have: usize, max: usize| {
        Err(Error::new(
            ErrorKind::TooLarge,
            format!(
                "The limit has been exceeded on the number of allowed image {what}. Attempted: {have}, Maximum: {max}"
            ),
        ))
    };
    if image.properties.len() > MAX_PROPERTIES {
        return over("properties", image.properties.len(), MAX_PROPERTIES);
    }
    if image.tags.len() > MAX_TAGS {
        return over("tags", image.tags.len(), MAX_TAGS);
    }
    Ok(())
}

/// The container formats whose disk format is the same word.
const AMAZON: &[&str] = &["aki", "ari", "ami"];

/// 400 for formats that contradict each other: aki, ari and ami come in pairs.
pub fn check_formats(image: &mut Image) -> Result<()> {
    let (disk, container) = (image.disk_format.as_deref(), image.container_format.as_deref());
    let amazon = |format: Option<&str>| format.is_some_and(|f| AMAZON.contains(&f));
    match (disk, container) {
        (Some(d), None) if amazon(disk) => image.container_format = Some(d.to_owned()),
        (None, Some(c)) if amazon(container) => image.disk_format = Some(c.to_owned()),
        (Some(d), Some(c)) if (amazon(disk) || amazon(container)) && d != c => {
            return Err(Error::bad_request(
                "Invalid mix of disk and container formats. When setting a disk or container format to one of 'aki', 'ari', or 'ami', the container and disk formats must match.",
            ));
        }
        _ => {}
    }
    Ok(())
}
