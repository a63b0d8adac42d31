//! qcow2, versions 2 and 3. Source: the format's specification, docs/interop/qcow2 of QEMU.

use super::{
    Checked, Refusal,
    source::{Block, Source},
};

/// The incompatible features a whole image without other files may have: zstd clusters, extended L2 entries.
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
/// Largest L1 table, bytes (QEMU's own limit).
const MAX_L1: u64 = 32 << 20;
/// Largest refcount table, bytes (QEMU's own limit).
const MAX_REFCOUNT_TABLE: u64 = 8 << 20;
/// Most internal snapshots that are believed.
const MAX_SNAPSHOTS: u32 = 256;
/// The host offset in an L1 entry, the "copied" flag, and by that what must be zero.
const L1_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const L1_COPIED: u64 = 1 << 63;

const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;

fn refuse<T>(why: impl Into<String>) -> Checked<T> {
    Err(Refusal::because(why))
}

struct Header {
    version: u32,
    cluster: u64,
    cluster_bits: u32,
    size: u64,
    length: u64,
    incompatible: u64,
}

/// The virtual size, or why not.
pub fn check(source: &Source<'_>) -> Checked<u64> {
    let head = source.get(0, source.size().min(72))?;
    let header = read(source, &head)?;
    tables(source, &head, &header)?;
    extensions(source, &header)?;
    Ok(header.size)
}

fn read(source: &Source<'_>, head: &Block) -> Checked<Header> {
    let version = head.be32(4)?;
    if !(2..=3).contains(&version) {
        return refuse(format!("qcow version {version} is not supported"));
    }
    if head.be64(8)? != 0 || head.be32(16)? != 0 {
        return refuse("it has a backing file");
    }
    let cluster_bits = head.be32(20)?;
    if !(9..=21).contains(&cluster_bits) {
        return refuse(format!("clusters of 2^{cluster_bits} bytes are not allowed"));
    }
    let size = head.be64(24)?;
    if size == 0 {
        return refuse("its disk has no bytes");
    }
    if head.be32(32)? != 0 {
        return refuse("it is encrypted");
    }
    let cluster = 1 << cluster_bits;
    let (mut length, mut incompatible) = (72, 0);
    if version == 3 {
        let more = source.get(72, 32)?;
        incompatible = more.be64(0)?;
        let order = more.be32(24)?;
        length = u64::from(more.be32(28)?);
        if length < 104 || length > cluster || !length.is_multiple_of(8) {
            return refuse(format!("a header of {length} bytes is not allowed"));
        }
        if order > 6 {
            return refuse(format!("refcounts of 2^{order} bits are not allowed"));
        }
        features(source, incompatible, length)?;
        if incompatible & EXTENDED_L2 != 0 && cluster_bits < 14 {
            return refuse("extended L2 entries need clusters of 16 KiB or more");
        }
    }
    Ok(Header { version, cluster, cluster_bits, size, length, incompatible })
}

fn features(source: &Source<'_>, incompatible: u64, length: u64) -> Checked<()> {
    if incompatible & 4 != 0 {
        return refuse("it has an external data file");
    }
    if incompatible & 3 != 0 {
        return refuse("it is marked dirty or corrupt: repair it with qemu-img check -r all");
    }
    let unknown = incompatible & !(COMPRESSION | EXTENDED_L2);
    if unknown != 0 {
        return refuse(format!("it has unknown incompatible features ({unknown:#x})"));
    }
    let compression = if length > 104 { source.get(104, 1)?.array::<1>(0)?[0] } else { 0 };
    // zlib is 0 and needs no feature, zstd is 1 and does.
    if u64::from(compression) != (incompatible & COMPRESSION) >> 3 {
        return refuse(format!("its compression type {compression} contradicts its features"));
    }
    Ok(())
}

fn tables(source: &Source<'_>, head: &Block, header: &Header) -> Checked<()> {
    let (l1_entries, l1_offset) = (u64::from(head.be32(36)?), head.be64(40)?);
    // Each L2 table is one cluster of 8-byte entries (16-byte with subclusters).
    let entry_bits = if header.incompatible & EXTENDED_L2 != 0 { 4 } else { 3 };
    let covered_bits = 2 * header.cluster_bits - entry_bits;
    let needed = header.size.div_ceil(1 << covered_bits);
    if l1_entries < needed || l1_entries * 8 > MAX_L1 {
        return refuse(format!("an L1 table of {l1_entries} entries is not right for its disk"));
    }
    place(source, header, "L1 table", l1_offset, l1_entries * 8)?;
    let (refcount_offset, refcount_clusters) = (head.be64(48)?, u64::from(head.be32(56)?));
    let refcount_bytes = refcount_clusters * header.cluster;
    if refcount_clusters == 0 || refcount_bytes > MAX_REFCOUNT_TABLE {
        return refuse(format!("a refcount table of {refcount_clusters} clusters is not allowed"));
    }
    place(source, header, "refcount table", refcount_offset, refcount_bytes)?;
    if refcount_offset < l1_offset + l1_entries * 8 && l1_offset < refcount_offset + refcount_bytes {
        return refuse("its tables overlap");
    }
    let (snapshots, snapshot_offset) = (head.be32(60)?, head.be64(64)?);
    if snapshots > MAX_SNAPSHOTS {
        return refuse(format!("{snapshots} internal snapshots are too many"));
    }
    if snapshots > 0 {
        // 40 bytes is the smallest snapshot entry.
        place(source, header, "snapshot table", snapshot_offset, u64::from(snapshots) * 40)?;
    }
    l1(source, header, l1_offset, l1_entries)
}

/// A table begins on a cluster after the header and lies within the file.
fn place(source: &Source<'_>, header: &Header, what: &str, offset: u64, length: u64) -> Checked<()> {
    let aligned = offset.is_multiple_of(header.cluster) && offset >= header.cluster;
    let inside = offset.checked_add(length).is_some_and(|end| end <= source.size());
    if aligned && inside { Ok(()) } else { refuse(format!("its {what} is out of place")) }
}

/// Every L2 table is in the file, aligned, and used once: no loops, no sharing bombs. (Snapshots share tables with
/// the L1 tables of their own, never within one.)
fn l1(source: &Source<'_>, header: &Header, offset: u64, entries: u64) -> Checked<()> {
    let table = source.get(offset, entries * 8)?;
    let end = offset + entries * 8;
    let most = source.size() / header.cluster;
    let mut used = Vec::new();
    for bytes in table.0.chunks_exact(8) {
        let entry = u64::from_be_bytes(bytes.try_into().unwrap_or_default());
        let at = entry & L1_OFFSET;
        if entry & !(L1_OFFSET | L1_COPIED) != 0 || !at.is_multiple_of(header.cluster) {
            return refuse("its L1 table is damaged");
        }
        if at == 0 {
            continue;
        }
        if at < header.cluster || at >= source.size() || (at >= offset && at < end) {
            return refuse("its L1 table points out of place");
        }
        used.push(at);
        if used.len() as u64 > most {
            return refuse("its L1 table names more tables than the file can hold");
        }
    }
    used.sort_unstable();
    if used.windows(2).any(|pair| pair[0] == pair[1]) {
        return refuse("its L1 table names a table twice");
    }
    Ok(())
}

/// The header extensions fill the rest of the first cluster up to an end mark.
fn extensions(source: &Source<'_>, header: &Header) -> Checked<()> {
    let cluster = source.get(0, header.cluster.min(source.size()))?;
    let mut at = usize::try_from(header.length).unwrap_or(usize::MAX);
    loop {
        // A header that fills the cluster to its end needs no end mark.
        if at.saturating_add(8) > cluster.0.len() {
            return Ok(());
        }
        let (kind, length) = (cluster.be32(at)?, cluster.be32(at + 4)?);
        if kind == 0 {
            return Ok(());
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Ok(data) = cluster.part(at + 8, length) else {
            return refuse("a header extension is longer than the header");
        };
        match kind {
            EXTENSION_DATA_FILE => return refuse("it has an external data file"),
            EXTENSION_ENCRYPTION => return refuse("it is encrypted"),
            EXTENSION_BITMAPS if header.version == 3 => {
                let bitmaps = Block(data.to_vec());
                place(source, header, "bitmap directory", bitmaps.be64(16)?, bitmaps.be64(8)?)?;
            }
            _ => {}
        }
        at += 8 + length.next_multiple_of(8);
    }
}
