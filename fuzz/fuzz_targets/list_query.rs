//! Feeds the reader of the image list's query string: filters, sorts, limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parsers::{pairs, query};

fuzz_target!(|text: &str| {
    if let Err(error) = query::ListQuery::parse(&pairs(text)) {
        assert!(error.kind.http() < 500, "{error:?}");
    }
    if let Ok(limit) = query::limit(text) {
        assert!((0..=query::MAX_LIMIT).contains(&limit));
    }
});
