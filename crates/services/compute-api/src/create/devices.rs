//! Block devices: the image on a local disk is what there is; volumes need a volume service, which there is not.

use super::request::Wish;
use crate::input::integer;
use ferrostack_model::{Error, Result};
use serde_json::Value;

fn invalid(why: &str) -> Error {
    Error::bad_request(format!("Block Device Mapping is Invalid: {why}"))
}

/// The image the server boots from: `imageRef`, or the one device with boot index 0, or both if they agree.
pub fn boot_image(wish: &Wish) -> Result<String> {
    if wish.volumes {
        return Err(invalid("failed to get volume: this cloud has no volume service."));
    }
    let mut boot: Option<String> = None;
    for device in &wish.devices {
        let text = |name: &str| device[name].as_str().unwrap_or("");
        let index = match &device["boot_index"] {
            Value::Null => None,
            value => Some(integer(value)?),
        };
        match (text("source_type"), text("destination_type")) {
            ("image", "local" | "") if index == Some(0) && boot.is_none() => {
                boot = Some(text("uuid").to_owned()).filter(|t| !t.is_empty());
                if boot.is_none() {
                    return Err(invalid("Missing device UUID."));
                }
            }
            ("volume", _) => return Err(invalid(&format!("failed to get volume {}.", text("uuid")))),
            ("snapshot", _) => return Err(invalid(&format!("failed to get snapshot {}.", text("uuid")))),
            ("image" | "blank", "volume") => {
                return Err(invalid("a volume cannot be made: this cloud has no volume service."));
            }
            ("image", _) => {
                return Err(invalid(
                    "Boot sequence for the instance and image/block device mapping combination is not valid.",
                ));
            }
            ("blank", _) => {
                return Err(invalid("You specified more local devices than the limit allows"));
            }
            _ => return Err(invalid("Unrecognized legacy format.")),
        }
    }
    match (boot, &wish.image_ref) {
        (Some(boot), Some(image)) if !same(&boot, image) => Err(invalid(
            "Boot sequence for the instance and image/block device mapping combination is not valid.",
        )),
        (Some(boot), _) => Ok(boot),
        (None, Some(image)) => Ok(image.rsplit('/').next().unwrap_or(image).to_owned()),
        (None, None) => Err(Error::bad_request("Invalid imageRef provided.")),
    }
}

fn same(a: &str, b: &str) -> bool {
    a.replace('-', "").eq_ignore_ascii_case(&b.replace('-', ""))
}
