//! Domain types as JSON.

pub mod application_credential;
pub mod assignment;
pub mod catalog;
pub mod consumer;
pub mod credential;
pub mod domain;
pub mod domain_config;
pub mod endpoint_group;
pub mod group;
pub mod limit;
pub mod policy;
pub mod project;
pub mod receipt;
pub mod revocation;
pub mod role;
pub mod service;
pub mod token;
pub mod trust;
pub mod user;
pub mod v2;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An id as a path segment.
pub fn segment(id: &str) -> String {
    utf8_percent_encode(id, SEGMENT).to_string()
}

/// What was given besides, then the members we know; ours win.
fn object(mut extra: Map<String, Value>, known: Value) -> Value {
    if let Value::Object(known) = known {
        for (name, value) in known {
            extra.insert(name, value);
        }
    }
    Value::Object(extra)
}
