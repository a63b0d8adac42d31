//! VHD (Virtual PC), fixed and dynamic. Source: Microsoft's Virtual Hard Disk Image Format Specification.

use super::{
    Checked, Refusal,
    source::{Block, Source},
};

/// Bytes of the footer and its copy.
const FOOTER: u64 = 512;
/// Largest block of a dynamic disk, bytes.
const MAX_BLOCK: u32 = 256 << 20;

fn refuse<T>(why: impl Into<String>) -> Checked<T> {
    Err(Refusal::because(why))
}

/// The virtual size, or why not.
pub fn check(source: &Source<'_>) -> Checked<u64> {
    let Some(end) = source.size().checked_sub(FOOTER) else { return refuse("it is cut short") };
    let footer = source.get(end, FOOTER)?;
    checksum(&footer, 64)?;
    if footer.part(0, 8)? != b"conectix" || footer.be32(12)? >> 16 != 1 {
        return refuse("Image content does not match disk_format: it has no VHD footer");
    }
    let (size, table) = (footer.be64(48)?, footer.be64(16)?);
    if size == 0 {
        return refuse("its disk has no bytes");
    }
    match footer.be32(60)? {
        2 if size == end => Ok(size),
        2 => refuse(format!("a fixed disk of {size} bytes does not fit a file of {}", source.size())),
        3 => {
            if source.get(0, FOOTER)?.0 != footer.0 {
                return refuse("its header and footer differ");
            }
            dynamic(source, table, size)?;
            Ok(size)
        }
        4 => refuse("it has a parent"),
        other => refuse(format!("VHD type {other} is not supported")),
    }
}

fn dynamic(source: &Source<'_>, at: u64, size: u64) -> Checked<()> {
    let head = source.get(at, 1024)?;
    checksum(&head, 36)?;
    if at < FOOTER || head.part(0, 8)? != b"cxsparse" || head.be32(24)? >> 16 != 1 {
        return refuse("its dynamic header is missing");
    }
    let (table, entries, block) = (head.be64(16)?, head.be32(28)?, head.be32(32)?);
    if !block.is_power_of_two() || !(512..=MAX_BLOCK).contains(&block) {
        return refuse(format!("blocks of {block} bytes are not allowed"));
    }
    if u64::from(entries) * u64::from(block) < size {
        return refuse("its block table is too small for its disk");
    }
    let bytes = u64::from(entries) * 4;
    if table < FOOTER || table.checked_add(bytes).is_none_or(|end| end > source.size()) {
        return refuse("its block table is out of place");
    }
    let parent = head.part(40, 16)?.iter().chain(head.part(64, 512)?).chain(head.part(576, 192)?);
    if parent.copied().any(|b| b != 0) {
        return refuse("it has a parent");
    }
    Ok(())
}

/// The one's complement of the sum of all bytes but the sum's own.
fn checksum(block: &Block, at: usize) -> Checked<()> {
    let all: u32 = block.0.iter().map(|b| u32::from(*b)).sum();
    let own: u32 = block.part(at, 4)?.iter().map(|b| u32::from(*b)).sum();
    if !(all - own) == block.be32(at)? { Ok(()) } else { refuse("its checksum is wrong") }
}
