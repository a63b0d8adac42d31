//! libvirt's XML as typed structs: only what this driver writes or reads.

pub mod backup;
pub mod capabilities;
pub mod domain;
pub mod domain_capabilities;
pub mod interfaces;
pub mod metadata;
pub mod migratable;
pub mod network;

use ferrostack_model::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};

/// An XML document of `value`; `what` names it in the error.
pub fn to_string<T: Serialize>(what: &str, value: &T) -> Result<String> {
    let mut out = String::new();
    let mut serializer = quick_xml::se::Serializer::new(&mut out);
    serializer.indent(' ', 2);
    value.serialize(serializer).map_err(|e| Error::internal(format!("writing the {what} XML: {e}")))?;
    Ok(out)
}

/// Reads the XML that libvirt gave.
pub fn from_str<T: DeserializeOwned>(what: &str, xml: &str) -> Result<T> {
    quick_xml::de::from_str(xml).map_err(|e| Error::internal(format!("reading the {what} XML: {e}")))
}

/// `text` with what XML 1.0 cannot hold (NUL and other control characters, U+FFFE, U+FFFF) replaced by U+FFFD.
///
/// A carriage return is replaced too: a parser would read it back as a line feed.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\u{20}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}' => c,
            _ => '\u{FFFD}',
        })
        .collect()
}
