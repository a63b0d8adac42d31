//! What a file is by its marks. A file may have several: then it is a trap.

use super::{Checked, source::Source};

/// A format with a mark of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// qcow in any version.
    Qcow,
    /// VMDK, sparse or a bare descriptor.
    Vmdk,
    /// VHD, dynamic or fixed.
    Vhd,
    /// VHDX.
    Vhdx,
    /// VirtualBox.
    Vdi,
    /// ISO 9660.
    Iso,
    /// QED.
    Qed,
    /// LUKS.
    Luks,
    /// Apple.
    Dmg,
    /// Parallels, ploop.
    Parallels,
    /// Bochs.
    Bochs,
    /// Compressed loop.
    Cloop,
    /// tar.
    Tar,
    /// gzip.
    Gzip,
    /// zip.
    Zip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
}

impl Kind {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Iso => "iso",
            Self::Qed => "qed",
            Self::Luks => "luks",
            Self::Dmg => "dmg",
            Self::Parallels => "ploop",
            Self::Bochs => "bochs",
            Self::Cloop => "cloop",
            Self::Tar => "a tar archive",
            Self::Gzip => "gzip data",
            Self::Zip => "a zip archive",
            Self::Bzip2 => "bzip2 data",
            Self::Xz => "xz data",
            Self::Zstd => "zstd data",
        }
    }
    /// Whether it is packed data and no disk.
    pub fn is_archive(self) -> bool {
        matches!(self, Self::Tar | Self::Gzip | Self::Zip | Self::Bzip2 | Self::Xz | Self::Zstd)
    }
}

/// Marks at fixed places from the start.
const MARKS: &[(u64, &[u8], Kind)] = &[
    (0, b"QFI\xfb", Kind::Qcow),
    (0, b"KDMV", Kind::Vmdk),
    (0, b"COWD", Kind::Vmdk),
    (0, b"# Disk DescriptorFile", Kind::Vmdk),
    (0, b"conectix", Kind::Vhd),
    (0, b"vhdxfile", Kind::Vhdx),
    (0x40, b"\x7f\x10\xda\xbe", Kind::Vdi),
    (0x8001, b"CD001", Kind::Iso),
    (0x8001, b"BEA01", Kind::Iso),
    (0x8001, b"NSR02", Kind::Iso),
    (0x8001, b"NSR03", Kind::Iso),
    (0, b"QED\0", Kind::Qed),
    (0, b"LUKS\xba\xbe", Kind::Luks),
    (0, b"WithoutFreeSpace", Kind::Parallels),
    (0, b"WithouFreSpacExt", Kind::Parallels),
    (0, b"Bochs Virtual HD Image", Kind::Bochs),
    (0, b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", Kind::Cloop),
    (257, b"ustar", Kind::Tar),
    (0, b"\x1f\x8b\x08", Kind::Gzip),
    (0, b"PK\x03\x04", Kind::Zip),
    (0, b"\xfd7zXZ\0", Kind::Xz),
    (0, b"\x28\xb5\x2f\xfd", Kind::Zstd),
];

/// Everything the file is by marks from its start.
pub fn leading(source: &Source<'_>) -> Checked<Vec<Kind>> {
    let mut kinds = Vec::new();
    for (at, mark, kind) in MARKS {
        if !kinds.contains(kind) && source.has(*at, mark)? {
            kinds.push(*kind);
        }
    }
    if source.has(0, b"BZh")? && source.has(4, b"1AY&SY")? {
        kinds.push(Kind::Bzip2);
    }
    // QEMU takes a text file with this line after comments and blank lines for a VMDK.
    if !kinds.contains(&Kind::Vmdk) && is_descriptor(source)? {
        kinds.push(Kind::Vmdk);
    }
    Ok(kinds)
}

/// QEMU's own probe: comment and blank lines, then `version=1`, 2 or 3.
fn is_descriptor(source: &Source<'_>) -> Checked<bool> {
    let head = source.get(0, source.size().min(2048))?.0;
    for line in head.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"#") || line.iter().all(|b| *b == b' ') {
            continue;
        }
        return Ok([&b"version=1"[..], b"version=2", b"version=3"].iter().any(|v| line.starts_with(v)));
    }
    Ok(false)
}

/// What the file is by a mark at its end.
pub fn trailing(source: &Source<'_>) -> Checked<Option<Kind>> {
    let Some(at) = source.size().checked_sub(512) else { return Ok(None) };
    Ok(if source.has(at, b"conectix")? {
        Some(Kind::Vhd)
    } else if source.has(at, b"koly")? {
        Some(Kind::Dmg)
    } else {
        None
    })
}
