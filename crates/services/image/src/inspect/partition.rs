//! The master boot record. Source: UEFI 2.10, 5.2.3 "Protective MBR".

use super::{Checked, Refusal, source::Source};

/// Where the four entries of 16 bytes are.
const ENTRIES: usize = 446;
/// The type that stands for a GPT.
const PROTECTIVE: u8 = 0xee;
/// Start as cylinder, head and sector: as the specification has it, and as GNU parted writes it.
const STARTS: [[u8; 3]; 2] = [[0, 2, 0], [0, 1, 0]];

/// Whether there is an MBR or a GPT.
pub fn is_there(source: &Source<'_>) -> Checked<bool> {
    Ok(source.has(510, b"\x55\xaa")? || source.has(512, b"EFI PART")?)
}

/// A disk with a GPT has one protective entry and nothing beside it: a second table is what another program
/// would look at. Boot sectors without such an entry (of file systems, of kernels) pass.
pub fn check(source: &Source<'_>) -> Checked<()> {
    if !source.has(510, b"\x55\xaa")? {
        return Ok(());
    }
    let sector = source.get(0, 512)?;
    let entry = |i: usize| sector.array::<16>(ENTRIES + 16 * i);
    let entries = [entry(0)?, entry(1)?, entry(2)?, entry(3)?];
    if entries.iter().all(|e| e[4] != PROTECTIVE) || is_fat(&sector.0) {
        return Ok(());
    }
    let refuse = |why: &str| Err(Refusal::because(format!("its GPT's protective MBR {why}")));
    if entries[0][4] != PROTECTIVE || entries[1..].iter().any(|e| e[4] != 0) {
        return refuse("has other partitions");
    }
    let first = entries[0];
    if !matches!(first[0], 0 | 0x80) {
        return refuse("has a wrong boot flag");
    }
    if !STARTS.iter().any(|start| first[1..4] == *start) {
        return refuse("begins at a wrong cylinder, head or sector");
    }
    if first[8..12] != [1, 0, 0, 0] {
        return refuse("begins at a wrong block");
    }
    Ok(())
}

/// A FAT file system's boot sector: code stands where an MBR has its entries.
fn is_fat(sector: &[u8]) -> bool {
    sector.get(0x10) == Some(&2) && sector.get(0x15) == Some(&0xf8)
}
