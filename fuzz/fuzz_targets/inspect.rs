//! Feeds the image inspector: the first byte chooses what the file, the rest, is declared to be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parsers::inspect::{Declared, MAX_BYTES, MAX_READS, Rules, Source, inspect_source};

const FORMATS: [&str; 11] =
    ["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "aki", "ari", "ami", "ploop"];
const CONTAINERS: [&str; 4] = ["bare", "ova", "docker", "compressed"];
const LIMIT: u64 = 16 << 40;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let choice = usize::from(*choice);
    let declared = Declared {
        disk_format: FORMATS[choice % FORMATS.len()].into(),
        container_format: CONTAINERS[choice / FORMATS.len() % CONTAINERS.len()].into(),
        rules: Rules { require_match: choice < 128, ..LIMIT.into() },
    };
    let source = Source::new(&bytes, bytes.len() as u64);
    let found = inspect_source(&source, &declared);
    let (reads, read) = source.cost();
    assert!(reads <= MAX_READS + 1 && read <= MAX_BYTES + (32 << 20), "{reads} reads of {read} bytes");
    let Ok(found) = found else { return };
    assert!(found.virtual_size.unwrap_or(0) <= LIMIT);
    if bytes.starts_with(b"QFI\xfb") {
        assert!(
            declared.disk_format == "qcow2" && declared.container_format == "bare"
                || !declared.rules.require_match,
            "a qcow2 passed as something else"
        );
        assert_eq!(bytes[8..20], [0; 12], "a backing file passed");
        assert!(bytes[7] != 3 || bytes[79] & 4 == 0, "an external data file passed");
    }
});
