//! What is wanted of a snapshot, and the file that a hypervisor without disks makes.

use ferrostack_model::snapshot::SnapshotFormat;
use std::path::PathBuf;

/// How data in a qcow2 file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Slow; every QEMU reads it.
    Zlib,
    /// Fast; QEMU reads it since 5.1.
    Zstd,
}

/// What is wanted of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotWish {
    /// The file to make, in a directory that QEMU's user may pass through. Names that begin with it and a dot are
    /// free for the work.
    pub to: PathBuf,
    /// Its format.
    pub format: SnapshotFormat,
    /// For qcow2.
    pub compression: Compression,
    /// Freeze the guest's file systems for the moment of the snapshot, or fail.
    pub quiesce: bool,
    /// Largest file, bytes; 0: what the disk needs.
    pub max_bytes: u64,
}

/// Bytes of a cluster.
const CLUSTER: usize = 1 << 16;
/// Bytes of the disk that one L2 table maps.
const L2_SPAN: u64 = (CLUSTER as u64 / 8) * CLUSTER as u64;
/// Largest disk: what one cluster of reference counts covers with room to spare.
const LARGEST: u64 = 64 << 40;

/// A qcow2 file (version 3) of a disk of `size` bytes that holds `text` at its beginning and nothing else.
pub fn blank_qcow2(size: u64, text: &str) -> Vec<u8> {
    let size = size.clamp(512, LARGEST);
    let entries = usize::try_from(size.div_ceil(L2_SPAN)).unwrap_or(usize::MAX);
    let l1_clusters = (entries * 8).div_ceil(CLUSTER);
    // Header, table and block of reference counts, L1 table, one L2 table, one cluster of data.
    let (l1, l2) = (3, 3 + l1_clusters);
    let data = l2 + 1;
    let mut file = vec![0; (data + 1) * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    let offset = |cluster: usize| (cluster * CLUSTER) as u64;
    // Set where an entry's cluster is used nowhere else.
    const COPIED: u64 = 1 << 63;
    put(0, b"QFI\xfb");
    put(4, &3u32.to_be_bytes());
    put(20, &16u32.to_be_bytes());
    put(24, &size.to_be_bytes());
    put(36, &u32::try_from(entries).unwrap_or(u32::MAX).to_be_bytes());
    put(40, &offset(l1).to_be_bytes());
    put(48, &offset(1).to_be_bytes());
    put(56, &1u32.to_be_bytes());
    // Reference counts of 16 bits, and the length of this header.
    put(96, &4u32.to_be_bytes());
    put(100, &104u32.to_be_bytes());
    put(CLUSTER, &offset(2).to_be_bytes());
    for cluster in 0..=data {
        put(2 * CLUSTER + 2 * cluster, &1u16.to_be_bytes());
    }
    put(l1 * CLUSTER, &(offset(l2) | COPIED).to_be_bytes());
    put(l2 * CLUSTER, &(offset(data) | COPIED).to_be_bytes());
    let text = text.as_bytes();
    put(data * CLUSTER, &text[..text.len().min(512)]);
    file
}

/// The disk of a guest that has none: `text` at the beginning of `size` bytes; a raw one is cut short.
pub(crate) fn fake_disk(format: SnapshotFormat, size: u64, text: &str) -> Vec<u8> {
    match format {
        SnapshotFormat::Qcow2 => blank_qcow2(size, text),
        SnapshotFormat::Raw => {
            let mut disk = text.as_bytes().to_vec();
            disk.resize(1 << 20, 0);
            disk
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn qemu_finds_nothing_wrong_with_the_blank_disk() {
        if Command::new("qemu-img").arg("--version").output().is_err() {
            eprintln!("qemu-img is not installed: nothing is tested");
            return;
        }
        let name = std::env::temp_dir().join(format!("blank-{}", uuid::Uuid::new_v4()));
        for size in [512, 1 << 30, 5 << 40, u64::MAX] {
            std::fs::write(&name, blank_qcow2(size, "fake")).unwrap();
            let check = Command::new("qemu-img").args(["check", "-q", "-f", "qcow2"]).arg(&name).status();
            assert!(check.unwrap().success(), "{size}");
            let read = Command::new("qemu-img")
                .args(["dd", "-f", "qcow2", "-O", "raw", "bs=512", "count=1"])
                .arg(format!("if={}", name.display()))
                .arg(format!("of={}.raw", name.display()))
                .status();
            assert!(read.unwrap().success());
            let raw = format!("{}.raw", name.display());
            assert!(std::fs::read(&raw).unwrap().starts_with(b"fake"));
            std::fs::remove_file(raw).unwrap();
        }
        std::fs::remove_file(name).unwrap();
    }
}
