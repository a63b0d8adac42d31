//! Feeds the readers of Range, Content-Range and the conditions: eight bytes of size, then lines of headers.
#![no_main]

use ferrostack_http::actix_web::http::header::{self, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use parsers::range::{Asked, asked, range};

fuzz_target!(|data: &[u8]| {
    let Some((size, rest)) = data.split_first_chunk() else { return };
    let size = u64::from_le_bytes(*size);
    let mut headers = HeaderMap::new();
    for line in rest.split(|b| *b == b'\n') {
        let Some((kind, value)) = line.split_first() else { continue };
        let name = match kind % 5 {
            0 => header::RANGE,
            1 => header::CONTENT_RANGE,
            2 => header::IF_MATCH,
            3 => header::IF_NONE_MATCH,
            _ => header::IF_RANGE,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let within = |part: &std::ops::Range<u64>| {
        assert!(part.start < part.end && part.end <= size, "{part:?} of {size}")
    };
    for etag in [None, Some("\"tag\"")] {
        match asked(&headers, size, etag) {
            Ok(Asked::Part(part)) => within(&part),
            Ok(_) => {}
            Err(error) => assert!(error.kind.http() < 500, "{error:?}"),
        }
    }
    if let Ok(text) = std::str::from_utf8(rest) {
        if let Ok(Some(part)) = range(Some(text), size) {
            within(&part);
        }
    }
});
