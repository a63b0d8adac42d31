//! Feeds the reader of JSON patches, in both of Glance's forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parsers::patch::{MEDIA_TYPES, parse};

fuzz_target!(|data: &[u8]| {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    for media_type in MEDIA_TYPES {
        match parse(&body, media_type) {
            Ok(operations) => assert_eq!(operations.len(), body.as_array().map_or(0, Vec::len)),
            Err(error) => assert!(error.kind.http() < 500, "{error:?}"),
        }
    }
});
