//! VHDX. Source: Microsoft's [MS-VHDX].

use super::{Checked, Refusal, source::Source};
use uuid::Uuid;

const KIB64: u64 = 64 << 10;
const MIB: u64 = 1 << 20;
/// Most regions and metadata items (the specification's limit).
const MAX_ENTRIES: u32 = 2047;

const REGION_BAT: Uuid = Uuid::from_u128(0x2dc27766_f623_4200_9d64_115e9bfd4a08);
const REGION_METADATA: Uuid = Uuid::from_u128(0x8b7ca206_4790_4b9a_b8fe_575f050f886e);
const ITEM_PARAMETERS: Uuid = Uuid::from_u128(0xcaa16737_fa36_4d43_b3b6_33f0aa44e76b);
const ITEM_SIZE: Uuid = Uuid::from_u128(0x2fa54224_cd1b_4876_b211_5dbed83bf4b8);
const ITEM_LOGICAL_SECTOR: Uuid = Uuid::from_u128(0x8141bf1d_a96f_4709_ba47_f233a8faab5f);
const ITEM_PHYSICAL_SECTOR: Uuid = Uuid::from_u128(0xcda348c7_445d_4471_9cc9_e9885251c556);
const ITEM_PAGE_83: Uuid = Uuid::from_u128(0xbeca12ab_b2e6_4523_93ef_c309e000c746);
const ITEM_PARENT: Uuid = Uuid::from_u128(0xa8d35f2d_b30b_454d_abf7_d3d84834ab0c);

fn refuse<T>(why: impl Into<String>) -> Checked<T> {
    Err(Refusal::because(why))
}

/// The virtual size, or why not.
pub fn check(source: &Source<'_>) -> Checked<u64> {
    if !source.has(KIB64, b"head")? && !source.has(2 * KIB64, b"head")? {
        return refuse("it has no header");
    }
    let (mut bat, mut metadata) = (None, None);
    let mut taken: Vec<(u64, u64)> = vec![(0, MIB)];
    let table = source.get(3 * KIB64, KIB64)?;
    let count = table.le32(8)?;
    if table.part(0, 4)? != b"regi" || count > MAX_ENTRIES {
        return refuse("its region table is missing or damaged");
    }
    for i in 0..count as usize {
        let at = 16 + 32 * i;
        let id = Uuid::from_bytes_le(table.array(at)?);
        let (offset, length) = (table.le64(at + 16)?, u64::from(table.le32(at + 24)?));
        let end = offset.checked_add(length).filter(|end| *end <= source.size());
        let Some(end) = end.filter(|_| offset.is_multiple_of(MIB) && length > 0) else {
            return refuse("a region is out of place");
        };
        if taken.iter().any(|(from, to)| offset < *to && *from < end) {
            return refuse("its regions overlap");
        }
        taken.push((offset, end));
        let slot = match id {
            REGION_BAT => &mut bat,
            REGION_METADATA => &mut metadata,
            _ if table.le32(at + 28)? & 1 == 0 => continue,
            _ => return refuse("it requires an unknown region"),
        };
        if slot.replace((offset, length)).is_some() {
            return refuse("it has a region twice");
        }
    }
    let (Some((_, bat)), Some((at, length))) = (bat, metadata) else {
        return refuse("it lacks a region");
    };
    let (size, block) = items(source, at, length)?;
    // One entry of 8 bytes a block, and a bitmap entry after every chunk of them: at least the former.
    if size.div_ceil(block) > bat / 8 {
        return refuse("its block table is too small for its disk");
    }
    Ok(size)
}

/// The metadata items: virtual size and block size, and that there is no parent.
fn items(source: &Source<'_>, region: u64, length: u64) -> Checked<(u64, u64)> {
    let table = source.get(region, KIB64.min(length))?;
    let count = u32::from(table.le16(10)?);
    if table.part(0, 8)? != b"metadata" || count > MAX_ENTRIES {
        return refuse("its metadata is missing or damaged");
    }
    let (mut size, mut block) = (None, None);
    for i in 0..count as usize {
        let at = 32 + 32 * i;
        let id = Uuid::from_bytes_le(table.array(at)?);
        let (offset, bytes) = (u64::from(table.le32(at + 16)?), u64::from(table.le32(at + 20)?));
        if offset + bytes > length || (bytes > 0 && offset < KIB64) {
            return refuse("a metadata item is out of place");
        }
        let slot = match id {
            ITEM_PARAMETERS => &mut block,
            ITEM_SIZE => &mut size,
            ITEM_PARENT => return refuse("it has a parent"),
            ITEM_LOGICAL_SECTOR | ITEM_PHYSICAL_SECTOR | ITEM_PAGE_83 => continue,
            _ if table.le32(at + 24)? & 4 == 0 => continue,
            _ => return refuse("it requires unknown metadata"),
        };
        if slot.replace(source.get(region + offset, 8)?).is_some() {
            return refuse("it has a metadata item twice");
        }
    }
    let (Some(size), Some(block)) = (size, block) else { return refuse("it lacks metadata") };
    let (size, bytes, flags) = (size.le64(0)?, u64::from(block.le32(0)?), block.le32(4)?);
    if flags & 2 != 0 {
        return refuse("it has a parent");
    }
    if !bytes.is_power_of_two() || !(MIB..=256 * MIB).contains(&bytes) {
        return refuse(format!("blocks of {bytes} bytes are not allowed"));
    }
    if size == 0 || !size.is_multiple_of(512) {
        return refuse(format!("a disk of {size} bytes is not allowed"));
    }
    Ok((size, bytes))
}
