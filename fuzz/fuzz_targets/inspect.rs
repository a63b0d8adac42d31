//! Feeds the image inspector: the first byte chooses the declared format, the rest is the file.
#![no_main]

use inspect::{Declared, inspect_bytes};
use libfuzzer_sys::fuzz_target;

// The source itself: the crate around it takes minutes to build.
#[allow(dead_code, missing_docs, unused_imports)]
#[path = "../../crates/services/image/src/inspect/mod.rs"]
mod inspect;

const FORMATS: [&str; 10] = ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "aki", "ari", "ami"];
const CONTAINERS: [&str; 4] = ["bare", "ova", "docker", "compressed"];
const LIMIT: u64 = 16 << 40;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let choice = usize::from(*choice);
    let declared = Declared {
        disk_format: FORMATS[choice % FORMATS.len()].into(),
        container_format: CONTAINERS[choice / FORMATS.len() % CONTAINERS.len()].into(),
        max_virtual_bytes: LIMIT,
    };
    let Ok(found) = inspect_bytes(bytes, &declared) else { return };
    assert!(found.virtual_size.unwrap_or(0) <= LIMIT);
    if declared.container_format == "bare" && bytes.starts_with(b"QFI\xfb") {
        assert_eq!(declared.disk_format, "qcow2", "a qcow2 passed as something else");
        assert_eq!(bytes[8..20], [0; 12], "a backing file passed");
        assert!(bytes[7] != 3 || bytes[79] & 4 == 0, "an external data file passed");
    }
});
