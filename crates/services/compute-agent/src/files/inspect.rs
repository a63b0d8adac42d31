//! Looks at the first bytes of an image: is it what it is declared to be, and does it name no other file?
//!
//! The image service inspects uploads more thoroughly. This is the last look before a hypervisor opens the
//! file, and it trusts nobody.

use ferrostack_model::{Error, Result};
use std::io::{Read, Seek, SeekFrom};

/// Bytes looked at.
const HEAD: usize = 64 * 1024;

/// What the hypervisor must know of a disk image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// `qcow2` or `raw`.
    pub format: &'static str,
    /// Size of the disk inside, bytes.
    pub virtual_size: u64,
}

/// Most internal snapshots that are believed: their table is read into memory.
const MAX_SNAPSHOTS: u32 = 256;
/// Largest L1 table, bytes: QEMU's own limit.
const MAX_L1_BYTES: u64 = 32 << 20;
/// Largest refcount table, bytes: QEMU's own limit.
const MAX_REFCOUNT_BYTES: u64 = 8 << 20;

/// The formats whose signatures the content carries; none for anything that may pass as raw.
fn signatures(head: &[u8], tail: &[u8]) -> Vec<&'static str> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    [
        ("qcow2", at(0, b"QFI\xfb")),
        ("qed", at(0, b"QED\0")),
        ("vmdk", at(0, b"KDMV") || at(0, b"COWD") || at(0, b"# Disk DescriptorFile")),
        ("vhdx", at(0, b"vhdxfile")),
        ("vhd", at(0, b"conectix") || tail.starts_with(b"conectix")),
        ("vdi", at(0x40, &[0x7f, 0x10, 0xda, 0xbe])),
        ("luks", at(0, b"LUKS\xba\xbe")),
        ("parallels", at(0, b"WithoutFreeSpace") || at(0, b"WithouFreSpacExt")),
        ("iso", at(0x8001, b"CD001")),
    ]
    .into_iter()
    .filter_map(|(name, is)| is.then_some(name))
    .collect()
}

fn bad(text: impl Into<String>) -> Error {
    Error::bad_request(text)
}

/// Checks a disk image against its declared `disk_format`.
pub fn disk(file: &mut (impl Read + Seek), disk_format: &str) -> Result<Disk> {
    let (head, tail, size) = read_ends(file).map_err(|e| Error::internal(format!("image: {e}")))?;
    let found = signatures(&head, &tail);
    if let (Some(first), Some(second)) = (found.first(), found.get(1)) {
        return Err(bad(format!("The image's content is {first} and {second} at once.")));
    }
    let mismatch = || {
        let is = found.first().map_or("something else", |f| *f);
        Err(bad(format!("The image's content is {is}, not {disk_format} as declared.")))
    };
    match disk_format {
        "qcow2" if found == ["qcow2"] => qcow2(&head),
        "qcow2" => Err(bad("The image's content is not qcow2 as declared.")),
        "iso" if found == ["iso"] => Ok(Disk { format: "raw", virtual_size: size }),
        "raw" | "ami" if size == 0 => Err(bad("The image is empty.")),
        "raw" | "ami" if found.is_empty() => Ok(Disk { format: "raw", virtual_size: size }),
        "raw" | "ami" | "iso" => mismatch(),
        other => {
            let other: String = other.chars().take(32).collect();
            Err(bad(format!("Disk format {other} cannot be booted on this host.")))
        }
    }
}

fn read_ends(file: &mut (impl Read + Seek)) -> std::io::Result<(Vec<u8>, Vec<u8>, u64)> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(size.saturating_sub(512)))?;
    file.take(512).read_to_end(&mut tail)?;
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD as u64).read_to_end(&mut head)?;
    Ok((head, tail, size))
}

/// A qcow2 header: version 2 or 3, no backing file, no external data file.
fn qcow2(head: &[u8]) -> Result<Disk> {
    let u32_at = |o: usize| head.get(o..o + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let u64_at = |o: usize| head.get(o..o + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
    let short = || bad("The image's qcow2 header is cut off.");
    let version = u32_at(4).ok_or_else(short)?;
    if !matches!(version, 2 | 3) {
        return Err(bad(format!("The image's qcow2 version {version} is unknown.")));
    }
    if u64_at(8).ok_or_else(short)? != 0 || u32_at(16).ok_or_else(short)? != 0 {
        return Err(bad("The image has a backing file."));
    }
    let cluster_bits = u32_at(20).ok_or_else(short)?;
    if !(9..=21).contains(&cluster_bits) {
        return Err(bad("The image's qcow2 cluster size is out of range."));
    }
    if u32_at(32).ok_or_else(short)? != 0 {
        return Err(bad("The image is encrypted."));
    }
    let refcount_bytes = u64::from(u32_at(56).ok_or_else(short)?) << cluster_bits;
    if u64::from(u32_at(36).ok_or_else(short)?) * 8 > MAX_L1_BYTES || refcount_bytes > MAX_REFCOUNT_BYTES {
        return Err(bad("The image's qcow2 tables are too large."));
    }
    if u32_at(60).ok_or_else(short)? > MAX_SNAPSHOTS {
        return Err(bad("The image has too many internal snapshots."));
    }
    // Bit 2: the data are in another file. Bits 0 and 1: QEMU would have to repair it. Above 4: unknown to anybody.
    if version == 3 {
        let features = u64_at(72).ok_or_else(short)?;
        if features & 0b100 != 0 {
            return Err(bad("The image has an external data file."));
        }
        if features & 0b11 != 0 {
            return Err(bad("The image is marked dirty or corrupt."));
        }
        if features & !0b1_1000 != 0 {
            return Err(bad("The image has unknown qcow2 features."));
        }
    }
    let virtual_size = u64_at(24).ok_or_else(short)?;
    if virtual_size == 0 || i64::try_from(virtual_size).is_err() {
        return Err(bad("The image's virtual size is senseless."));
    }
    Ok(Disk { format: "qcow2", virtual_size })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    /// A qcow2 header of version 3 with nothing behind it.
    pub fn qcow2_bytes(virtual_size: u64) -> Vec<u8> {
        let mut b = vec![0; 512];
        b[..4].copy_from_slice(b"QFI\xfb");
        b[4..8].copy_from_slice(&3u32.to_be_bytes());
        b[20..24].copy_from_slice(&16u32.to_be_bytes());
        b[24..32].copy_from_slice(&virtual_size.to_be_bytes());
        b
    }

    fn refused(bytes: Vec<u8>, format: &str) -> String {
        disk(&mut Cursor::new(bytes), format).unwrap_err().public
    }

    #[test]
    fn takes_what_is_as_declared() {
        let found = disk(&mut Cursor::new(qcow2_bytes(1 << 30)), "qcow2").unwrap();
        assert_eq!(found, Disk { format: "qcow2", virtual_size: 1 << 30 });
        let found = disk(&mut Cursor::new(vec![0; 4096]), "raw").unwrap();
        assert_eq!(found, Disk { format: "raw", virtual_size: 4096 });
    }

    #[test]
    fn refuses_what_is_not_or_names_other_files() {
        let changed = |at: usize, with: &[u8]| {
            let mut b = qcow2_bytes(1 << 30);
            b[at..at + with.len()].copy_from_slice(with);
            b
        };
        assert!(refused(vec![0; 512], "qcow2").contains("not qcow2"));
        assert!(refused(qcow2_bytes(1 << 30), "raw").contains("is qcow2, not raw"));
        assert!(refused(changed(8, &512u64.to_be_bytes()), "qcow2").contains("backing file"));
        assert!(refused(changed(16, &9u32.to_be_bytes()), "qcow2").contains("backing file"));
        assert!(refused(changed(72, &4u64.to_be_bytes()), "qcow2").contains("data file"));
        assert!(refused(changed(72, &64u64.to_be_bytes()), "qcow2").contains("unknown qcow2 features"));
        assert!(refused(changed(32, &1u32.to_be_bytes()), "qcow2").contains("encrypted"));
        assert!(refused(changed(72, &1u64.to_be_bytes()), "qcow2").contains("dirty"));
        assert!(refused(changed(36, &u32::MAX.to_be_bytes()), "qcow2").contains("tables are too large"));
        assert!(refused(changed(56, &u32::MAX.to_be_bytes()), "qcow2").contains("tables are too large"));
        assert!(refused(changed(60, &257u32.to_be_bytes()), "qcow2").contains("snapshots"));
        assert!(refused(changed(0x40, &[0x7f, 0x10, 0xda, 0xbe]), "qcow2").contains("qcow2 and vdi at once"));
        assert!(refused(vec![0; 512], "iso").contains("not iso"));
        assert!(refused(changed(4, &9u32.to_be_bytes()), "qcow2").contains("version"));
        assert!(refused(changed(24, &0u64.to_be_bytes()), "qcow2").contains("virtual size"));
        assert!(refused(b"QFI\xfb\0\0\0\x03".to_vec(), "qcow2").contains("cut off"));
        assert!(refused(Vec::new(), "raw").contains("empty"));
        assert!(refused(vec![0; 512], "vmdk").contains("cannot be booted"));
        let mut vhd = vec![0; 1024];
        vhd[512..520].copy_from_slice(b"conectix");
        assert!(refused(vhd, "raw").contains("vhd"));
    }

    proptest! {
        #[test]
        fn never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), magic: bool) {
            if magic && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(b"QFI\xfb");
            }
            for format in ["qcow2", "raw", "iso", "x"] {
                let _ = disk(&mut Cursor::new(bytes.clone()), format);
            }
        }
    }
}
