//! The record of a server's image, as Nova makes it: what it inherits, what it says of the server, what the user wants.

use super::Wish;
use crate::{
    app::App,
    image::CORE,
    input,
    store::{origin::Origin, servers::Server},
};
use ferrostack_model::{Caller, Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Properties that belong to one image by their nature (Nova's own list beside the setting).
const OF_ONE_IMAGE: &[&str] = &[
    "cinder_encryption_key_id",
    "cinder_encryption_key_deletion_policy",
    "img_signature",
    "img_signature_hash_method",
    "img_signature_key_type",
    "img_signature_certificate_uuid",
    "mappings",
    "block_device_mapping",
    "img_mappings",
    "img_block_device_mapping",
];
/// Longest inherited value, characters: what Nova keeps of one.
const LONGEST: usize = 255;

fn reserved(name: &str) -> bool {
    CORE.contains(&name) || name.starts_with("os_glance")
}

/// 400 for a property that would be another attribute of the image.
pub fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<()> {
    match metadata.keys().find(|name| reserved(name)) {
        None => Ok(()),
        Some(name) => {
            Err(Error::bad_request(format!("Invalid image metadata. Attribute '{name}' is reserved.")))
        }
    }
}

/// Whether the guest's file systems are frozen: its image says that there is an agent, and that it must.
pub fn quiesce(server: &Server) -> bool {
    let is = |name: &str| server.image.properties.get(name).is_some_and(|v| input::truth(v));
    is("hw_qemu_guest_agent") && is("os_require_quiesce")
}

/// The body of the request that makes the image.
pub fn image(
    app: &App,
    caller: &Caller,
    server: &Server,
    origin: &Origin,
    wish: &Wish,
    image_id: &str,
) -> Value {
    let settings = &app.settings.compute;
    let mut body = Map::new();
    let mut set = |name: &str, value: &str| body.insert(name.to_owned(), Value::from(value));
    for (name, value) in &server.image.properties {
        let own =
            OF_ONE_IMAGE.contains(&name.as_str()) || settings.non_inheritable_image_properties.contains(name);
        if !own && !reserved(name) {
            set(name, &value.chars().take(LONGEST).collect::<String>());
        }
    }
    for (name, value) in [
        ("base_image_ref", server.image.id.as_str()),
        ("owner_user_name", &origin.user_name),
        ("owner_project_name", &origin.project_name),
        ("boot_roles", &origin.roles),
    ] {
        if !value.is_empty() {
            set(name, value);
        }
    }
    set("instance_uuid", &server.id);
    set("user_id", caller.user_id());
    set("image_type", wish.kind());
    set("image_location", "snapshot");
    set("image_state", "available");
    set("owner_id", &server.project_id);
    if let Some(rotation) = &wish.rotation {
        set("backup_type", &rotation.backup_type);
    }
    for (name, value) in wish.metadata.iter().filter(|(name, _)| !reserved(name)) {
        set(name, value);
    }
    let visibility = if caller.project_id() == server.project_id {
        "private"
    } else {
        set("instance_owner", &server.project_id);
        "shared"
    };
    let disk = i64::try_from(server.flavor.root_gb).unwrap_or(0).max(origin.min_disk);
    for (name, value) in [
        ("id", json!(image_id)),
        ("name", json!(wish.name)),
        ("visibility", json!(visibility)),
        ("disk_format", json!(settings.snapshot_image_format.as_str())),
        ("container_format", json!("bare")),
        ("min_disk", json!(disk)),
        ("min_ram", json!(origin.min_ram)),
    ] {
        body.insert(name.to_owned(), value);
    }
    Value::Object(body)
}
