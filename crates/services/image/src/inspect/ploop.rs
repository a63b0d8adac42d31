//! Ploop (Parallels), version 2. Source: docs/interop/parallels of QEMU.

use super::{Checked, Refusal, source::Source};

const SECTOR: u64 = 512;
/// Bytes of the header, after which the block table begins.
const HEADER: u64 = 64;
/// Largest block table that is believed, bytes.
const MAX_TABLE: u64 = 32 << 20;
/// The file was not closed.
const IN_USE: u32 = 0x746f_6e59;

fn refuse<T>(why: impl Into<String>) -> Checked<T> {
    Err(Refusal::because(why))
}

/// The virtual size, or why not.
pub fn check(source: &Source<'_>) -> Checked<u64> {
    let head = source.get(0, HEADER)?;
    let extended = head.part(0, 16)? == b"WithouFreSpacExt";
    if head.le32(16)? != 2 {
        return refuse("only ploop version 2 is supported");
    }
    let (cluster, entries) = (u64::from(head.le32(28)?), u64::from(head.le32(32)?));
    // The older kind counts in 32 bits.
    let sectors = if extended { head.le64(36)? } else { u64::from(head.le32(36)?) };
    let (in_use, data, extension) = (head.le32(44)?, u64::from(head.le32(48)?), head.le64(56)?);
    if in_use == IN_USE {
        return refuse("it was not closed: repair it with qemu-img check -r all");
    }
    if extension != 0 {
        return refuse("it has format extensions");
    }
    if cluster == 0 || cluster > 1 << 21 {
        return refuse(format!("clusters of {cluster} sectors are not allowed"));
    }
    if sectors == 0 || sectors > u64::MAX / SECTOR || sectors.div_ceil(cluster) > entries {
        return refuse(format!("a disk of {sectors} sectors does not fit its table"));
    }
    let end = HEADER + entries * 4;
    if entries * 4 > MAX_TABLE || end > source.size() || (data != 0 && data * SECTOR < end) {
        return refuse("its block table is out of place");
    }
    let table = source.get(HEADER, entries * 4)?;
    let unit = if extended { cluster } else { 1 };
    for entry in table.0.chunks_exact(4) {
        let at = u64::from(u32::from_le_bytes(entry.try_into().unwrap_or_default())) * unit * SECTOR;
        if at != 0 && (at < end || at >= source.size()) {
            return refuse("its block table points out of place");
        }
    }
    Ok(sectors * SECTOR)
}
