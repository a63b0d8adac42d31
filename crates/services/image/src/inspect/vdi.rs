//! VDI (VirtualBox), version 1.1. Source: VirtualBox's VDICore.h and QEMU's block/vdi.c, which agree.

use super::{Checked, Refusal, source::Source};

const MIB: u64 = 1 << 20;
/// Bytes of the header that are looked at.
const HEADER: u64 = 0x1c8;

fn refuse<T>(why: impl Into<String>) -> Checked<T> {
    Err(Refusal::because(why))
}

/// The virtual size, or why not.
pub fn check(source: &Source<'_>) -> Checked<u64> {
    let head = source.get(0, HEADER)?;
    if head.le32(0x44)? != 0x0001_0001 {
        return refuse("only VDI version 1.1 is supported");
    }
    match head.le32(0x4c)? {
        1 | 2 => {}
        4 => return refuse("it has a parent"),
        other => return refuse(format!("VDI type {other} is not supported")),
    }
    if head.part(0x1a8, 32)?.iter().any(|b| *b != 0) {
        return refuse("it has a parent");
    }
    let (map, data) = (u64::from(head.le32(0x154)?), u64::from(head.le32(0x158)?));
    let (size, block) = (head.le64(0x170)?, u64::from(head.le32(0x178)?));
    let (blocks, allocated) = (u64::from(head.le32(0x180)?), u64::from(head.le32(0x184)?));
    if head.le32(0x168)? != 512 || block != MIB {
        return refuse(format!("blocks of {block} bytes are not allowed"));
    }
    if size == 0 || size.div_ceil(MIB) > blocks || allocated > blocks {
        return refuse(format!("a disk of {size} bytes does not fit its {blocks} blocks"));
    }
    let map_end = map + blocks * 4;
    if map < HEADER || !map.is_multiple_of(512) || map_end > source.size() || data < map_end {
        return refuse("its block map is out of place");
    }
    if data + allocated * MIB > source.size() {
        return refuse("it is cut short");
    }
    Ok(size)
}
