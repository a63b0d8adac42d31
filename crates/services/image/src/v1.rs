//! The metadata headers of the Image API v1.
//!
//! They become attributes of v2, so that one set of rules is for both. What the service itself finds out (status,
//! checksum, times, …) is not taken from them, and no data is fetched from where they say.

use crate::text::{is_true, short};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};

/// What the headers of a request say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// Attributes as v2 knows them.
    pub attributes: Map<String, Value>,
    /// `x-image-meta-size`: how long the data will be, bytes.
    pub size: Option<u64>,
    /// `x-glance-registry-purge-props`: an update takes the properties away that it does not name.
    pub keep_properties: bool,
}

/// Names that say what only the service knows: they mean nothing.
const OWN: &[&str] = &[
    "status",
    "checksum",
    "created_at",
    "updated_at",
    "deleted_at",
    "deleted",
    "virtual_size",
    "uri",
    "store",
];
/// Names that say where the data is to be fetched from.
const SOURCES: &[&str] = &["location", "copy_from"];

/// Reads the headers, names in any case; 400 names what is wrong. Those that are not of v1 are left alone.
pub fn parse<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Meta> {
    let mut meta = Meta::default();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name == "x-glance-api-copy-from" {
            return Err(no_source());
        }
        if name == "x-glance-registry-purge-props" {
            meta.keep_properties = !is_true(text(&name, value)?);
            continue;
        }
        let Some(field) = name.strip_prefix("x-image-meta-") else { continue };
        if let Some(property) = field.strip_prefix("property-") {
            let property = property.replace('-', "_");
            if is_attribute(&property) {
                return Err(Error::forbidden(format!("Attribute '{}' is reserved.", short(&property))));
            }
            put(&mut meta, &name, property, json!(text(&name, value)?))?;
            continue;
        }
        let field = field.replace('-', "_");
        if OWN.contains(&field.as_str()) {
            continue;
        }
        if SOURCES.contains(&field.as_str()) {
            return Err(no_source());
        }
        let value = text(&name, value)?;
        match field.as_str() {
            "name" | "id" | "owner" | "disk_format" | "container_format" => {
                let value = if value.is_empty() { Value::Null } else { json!(value) };
                put(&mut meta, &name, field, value)?;
            }
            "min_disk" | "min_ram" => put(&mut meta, &name, field.clone(), json!(number(&field, value)?))?,
            "size" => meta.size = Some(number(&field, value)?).filter(|size| *size > 0),
            "protected" => put(&mut meta, &name, field, json!(is_true(value)))?,
            "is_public" => {
                let visibility = if is_true(value) { "public" } else { "shared" };
                put(&mut meta, &name, "visibility".into(), json!(visibility))?;
            }
            _ => return Err(Error::bad_request(format!("Bad header: {}", short(&name)))),
        }
    }
    Ok(meta)
}

/// Whether a custom property of this name would be taken for something else.
fn is_attribute(name: &str) -> bool {
    crate::attributes::is_base(name) || crate::attributes::check_settable(name, false).is_err()
}

fn put(meta: &mut Meta, header: &str, name: String, value: Value) -> Result<()> {
    // Two of a kind are none: who stands before us might have read the other.
    match meta.attributes.insert(name, value) {
        None => Ok(()),
        Some(_) => Err(Error::bad_request(format!("Bad header: {} is given twice", short(header)))),
    }
}

fn no_source() -> Error {
    Error::bad_request("External sources are not supported.")
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'));
    text.map(str::trim)
        .ok_or_else(|| Error::bad_request(format!("Bad header: {} is no UTF-8 text", short(name))))
}

fn number(field: &str, text: &str) -> Result<u64> {
    let said = short(text);
    if text.strip_prefix('-').is_some_and(|digits| digits.parse::<u64>().is_ok()) {
        return Err(Error::bad_request(format!("Image {field} must be >= 0 ('{said}' specified).")));
    }
    text.parse()
        .map_err(|_| Error::bad_request(format!("Cannot convert image {field} '{said}' to an integer.")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Meta> {
        parse(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn what_the_headers_become() {
        let meta = read(&[
            ("X-Image-Meta-Name", "n"),
            ("x-image-meta-disk_format", "raw"),
            ("x-image-meta-container-format", "bare"),
            ("x-image-meta-is_public", "True"),
            ("x-image-meta-min-ram", "64"),
            ("x-image-meta-size", "17"),
            ("x-image-meta-status", "active"),
            ("x-image-meta-checksum", "x"),
            ("x-image-meta-property-OS-Distro", "debian"),
            ("x-glance-registry-purge-props", "false"),
            ("accept", "*/*"),
        ])
        .unwrap();
        let expected = json!({
            "name": "n", "disk_format": "raw", "container_format": "bare", "visibility": "public", "min_ram": 64,
            "os_distro": "debian",
        });
        assert_eq!(Value::Object(meta.attributes), expected);
        assert_eq!((meta.size, meta.keep_properties), (Some(17), true));
    }

    #[test]
    fn what_is_refused() {
        for (name, value) in [
            ("x-image-meta-location", "file:///etc/passwd"),
            ("x-image-meta-copy_from", "http://127.0.0.1/"),
            ("x-glance-api-copy-from", "http://127.0.0.1/"),
            ("x-image-meta-nosuch", "x"),
            ("x-image-meta-", "x"),
            ("x-image-meta-size", "x"),
            ("x-image-meta-size", "-1"),
            ("x-image-meta-min_ram", "1e3"),
            ("x-image-meta-min_disk", "99999999999999999999999"),
            ("x-image-meta-property-status", "active"),
            ("x-image-meta-property-locations", "x"),
            ("x-image-meta-property-visibility", "public"),
            ("x-image-meta-property-os_glance_x", "x"),
            ("x-image-meta-name", "a\0b"),
        ] {
            assert!(read(&[(name, value)]).is_err(), "{name}: {value}");
        }
        assert!(read(&[("x-image-meta-name", "a"), ("X-Image-Meta-Name", "b")]).is_err());
        assert!(parse([("x-image-meta-name", &b"\xff"[..])].into_iter()).is_err());
    }
}
