//! Feeds the readers of metadata definitions: the first byte chooses which.
#![no_main]

use ferrostack_model::Timestamp;
use libfuzzer_sys::fuzz_target;
use parsers::metadefs::check;

fuzz_target!(|data: &[u8]| {
    let Some((choice, json)) = data.split_first() else { return };
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(json) else { return };
    let now = Timestamp::now();
    let result = match choice % 6 {
        0 => check::namespace(&body, "owner", now).map(drop),
        1 => check::association(&body, now).map(drop),
        2 => check::property(&body).map(drop),
        3 => check::object(&body, now).map(drop),
        4 => check::tag(&body, now).map(drop),
        _ => check::tags(&body, now).map(drop),
    };
    if let Err(error) = result {
        assert!(error.kind.http() < 500, "{error:?}");
    }
});
