//! Feeds the reader of the Image API v1's metadata headers: lines of `name: value`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parsers::v1::parse;

fuzz_target!(|data: &[u8]| {
    match parse(parsers::headers(data)) {
        // What the service finds out itself, and where data lies, is never taken from a header.
        Ok(meta) => {
            for name in ["status", "checksum", "locations", "size", "created_at", "file", "self"] {
                assert!(!meta.attributes.contains_key(name), "{name}");
            }
        }
        Err(error) => assert!(error.kind.http() < 500, "{error:?}"),
    }
});
