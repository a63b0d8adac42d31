//! VMDK with everything in one file: monolithicSparse and streamOptimized. Source: VMware's Virtual Disk Format 5.0.

use super::{
    Checked, Refusal,
    source::{Block, Source},
};

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// "The grain directory is named by the footer."
const AT_END: u64 = u64::MAX;
/// Longest embedded descriptor, sectors.
const MAX_DESCRIPTOR: u64 = 128;
/// Largest virtual disk that is not a trick of overflow, sectors.
const MAX_SECTORS: u64 = u64::MAX / SECTOR;

fn refuse<T>(why: impl Into<String>) -> Checked<T> {
    Err(Refusal::because(why))
}

/// The virtual size, or why not; of `types` those in one file are allowed.
pub fn check(source: &Source<'_>, types: &[String]) -> Checked<u64> {
    if !source.has(0, b"KDMV")? {
        return refuse("only VMDK files of the types monolithicSparse and streamOptimized are allowed");
    }
    let head = source.get(0, SECTOR)?;
    let version = head.le32(4)?;
    if !(1..=3).contains(&version) {
        return refuse(format!("VMDK version {version} is not supported"));
    }
    let (capacity, grain) = (head.le64(12)?, head.le64(20)?);
    // Without a capacity QEMU reads the descriptor as if it stood alone, with extents anywhere.
    if capacity == 0 || capacity > MAX_SECTORS {
        return refuse(format!("a capacity of {capacity} sectors is not allowed"));
    }
    if !(8..=1 << 16).contains(&grain) || !grain.is_power_of_two() {
        return refuse(format!("grains of {grain} sectors are not allowed"));
    }
    if head.le32(44)? != 512 {
        return refuse("its grain tables are not of 512 entries");
    }
    let (offset, length) = (head.le64(28)?, head.le64(36)?);
    // QEMU looks for a parent in sector 1, wherever the header says that the descriptor is.
    if offset != 1 || length == 0 || length > MAX_DESCRIPTOR {
        return refuse("its descriptor is missing or out of place");
    }
    let text = source.get(offset * SECTOR, length * SECTOR)?;
    descriptor(&text.0, types)?;
    let directory = head.le64(56)?;
    if directory == AT_END {
        footer(source, &head)?;
    } else if directory == 0 || directory > source.size() / SECTOR {
        return refuse("its grain directory is out of place");
    }
    Ok(capacity * SECTOR)
}

/// The footer repeats the header; only the grain directory's place may differ.
fn footer(source: &Source<'_>, head: &Block) -> Checked<()> {
    let Some(at) = source.size().checked_sub(3 * SECTOR) else { return refuse("it is cut short") };
    let tail = source.get(at, 3 * SECTOR)?;
    let is_footer = tail.le64(0)? == 1 && tail.le32(8)? == 0 && tail.le32(12)? == 3;
    let is_end = tail.le64(1024)? == 0 && tail.le32(1032)? == 0 && tail.le32(1036)? == 0;
    if !is_footer || !is_end || tail.part(512, 4)? != b"KDMV" {
        return refuse("its footer is missing or damaged");
    }
    let same = tail.part(512 + 4, 44)? == head.part(4, 44)?;
    let directory = tail.le64(512 + 56)?;
    if !same || directory == 0 || directory > source.size() / SECTOR {
        return refuse("its footer contradicts its header");
    }
    Ok(())
}

/// Most hexadecimal digits of a content id.
const CID_DIGITS: usize = 8;

/// One sparse extent without a path, no parent.
fn descriptor(bytes: &[u8], types: &[String]) -> Checked<()> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let last = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let left = bytes.get(end + 1..last).unwrap_or_default();
    // QEMU writes a shorter CID in place and leaves the last bytes of the longer text behind.
    if left.len() > CID_DIGITS || !bytes[..end].ends_with(left) {
        return refuse("its descriptor goes on after its end");
    }
    let text = String::from_utf8_lossy(&bytes[..end]);
    if !text.trim_start().starts_with("# Disk DescriptorFile") {
        return refuse("its descriptor is damaged");
    }
    let (mut kind, mut extents) = (None, 0);
    for line in text.split(['\n', '\r']).map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
        if matches!(word.as_str(), "RW" | "RDONLY" | "NOACCESS") {
            extent(line)?;
            extents += 1;
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return refuse("its descriptor has a line of no known kind");
        };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "createtype" if kind.replace(value.to_owned()).is_some() => {
                return refuse("its descriptor names two types");
            }
            "parentcid" if !value.eq_ignore_ascii_case("ffffffff") => return refuse("it has a parent"),
            "parentfilenamehint" => return refuse("it has a parent"),
            _ => {}
        }
    }
    let Some(kind) = kind else { return refuse("its descriptor names no type") };
    let in_one_file = ["monolithicSparse", "streamOptimized"].contains(&kind.as_str());
    if !in_one_file || !types.contains(&kind) {
        let short: String = kind.chars().take(40).collect();
        return refuse(format!("VMDK type {short} is not allowed"));
    }
    if extents == 1 { Ok(()) } else { refuse(format!("it has {extents} extents instead of one")) }
}

/// `RW 2048 SPARSE "name.vmdk"`
fn extent(line: &str) -> Checked<()> {
    let mut quoted = line.splitn(3, '"');
    let (head, name, rest) = (quoted.next(), quoted.next(), quoted.next());
    let words: Vec<_> = head.unwrap_or("").split_whitespace().collect();
    let sparse =
        words.len() == 3 && words[2].eq_ignore_ascii_case("SPARSE") && words[1].parse::<u64>().is_ok();
    let name = name.unwrap_or("");
    let plain = !name.is_empty() && !name.contains(['/', '\\', ':']) && name != "..";
    let done = matches!(rest.map(str::trim), Some("" | "0"));
    if sparse && plain && done { Ok(()) } else { refuse("it has an extent outside of the file") }
}
