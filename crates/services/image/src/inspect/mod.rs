//! Looks into disk images before anything else does. Pure reading: nobody else's parser, no child process.
//! Needs nothing of the rest of the crate, so that the fuzz target builds in seconds.
//!
//! A file passes if its content is what it was declared to be and nothing else, needs no other file, is whole as
//! far as its tables go, and holds a disk of a sane size. Each format's checks say what QEMU would otherwise do.

mod archive;
mod checked;
mod detect;
mod iso;
mod partition;
mod ploop;
mod qcow2;
mod source;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

pub use checked::{CheckedImage, DiskFormat};
pub use source::{MAX_BYTES, MAX_READS, ReadAt, Source};

use detect::Kind;
use std::{fs::File, io};

/// What the operator allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Largest disk inside, bytes.
    pub max_virtual_bytes: u64,
    /// Content must be what it was declared to be. Without, it must only be harmless.
    pub require_match: bool,
    /// VMDK types (those in several files never pass).
    pub vmdk_types: Vec<String>,
    /// Whether the protective MBR of a GPT is looked at.
    pub check_mbr: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_virtual_bytes: u64::MAX,
            require_match: true,
            vmdk_types: vec!["streamOptimized".into(), "monolithicSparse".into()],
            check_mbr: true,
        }
    }
}

impl From<u64> for Rules {
    fn from(max_virtual_bytes: u64) -> Self {
        Self { max_virtual_bytes, ..Self::default() }
    }
}

/// What an image is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// `disk_format`
    pub disk_format: String,
    /// `container_format`
    pub container_format: String,
    /// What is allowed.
    pub rules: Rules,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Bytes of the disk inside; `None` for an archive, which is not opened, and for what was declared wrongly.
    pub virtual_size: Option<u64>,
}

/// Why a file is not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// It could not be read.
    Unreadable(io::Error),
    /// It is not what it was declared to be, or is dangerous; a text for its owner.
    Content(String),
}

impl Refusal {
    fn because(why: impl Into<String>) -> Self {
        Self::Content(why.into())
    }
}

type Checked<T> = Result<T, Refusal>;

/// Checks a file.
pub fn inspect(file: &File, declared: &Declared) -> Checked<Found> {
    let size = file.metadata().map_err(Refusal::Unreadable)?.len();
    inspect_source(&Source::new(file, size), declared)
}

/// Checks something of `size` bytes that lies anywhere.
pub fn inspect_at(bytes: &dyn ReadAt, size: u64, declared: &Declared) -> Checked<Found> {
    inspect_source(&Source::new(bytes, size), declared)
}

/// Checks bytes in memory (tests and fuzzing).
pub fn inspect_bytes(bytes: &[u8], declared: &Declared) -> Checked<Found> {
    inspect_source(&Source::new(&bytes, bytes.len() as u64), declared)
}

/// Checks anything that can be read at offsets, with at most [`MAX_READS`] reads of [`MAX_BYTES`] together.
pub fn inspect_source(source: &Source<'_>, declared: &Declared) -> Checked<Found> {
    let kinds = detect::leading(source)?;
    match as_declared(source, &kinds, declared) {
        Err(Refusal::Content(_)) if !declared.rules.require_match => {
            harmless(source, &kinds, &declared.rules)?;
            Ok(Found { virtual_size: None })
        }
        other => other,
    }
}

fn as_declared(source: &Source<'_>, kinds: &[Kind], declared: &Declared) -> Checked<Found> {
    if matches!(declared.container_format.as_str(), "ova" | "docker" | "compressed") {
        archive::check(source, kinds, &declared.container_format)?;
        return Ok(Found { virtual_size: None });
    }
    let rules = &declared.rules;
    let virtual_size = match declared.disk_format.as_str() {
        "raw" => raw(source, kinds, rules)?,
        "aki" | "ari" | "ami" => kernel_or_disk(source, kinds, &declared.disk_format)?,
        "iso" => {
            only(kinds, Kind::Iso, "iso")?;
            iso::check(source)?
        }
        other => {
            let kind = match other {
                "qcow2" => Kind::Qcow,
                "vmdk" => Kind::Vmdk,
                "vhd" => Kind::Vhd,
                "vhdx" => Kind::Vhdx,
                "vdi" => Kind::Vdi,
                "ploop" => Kind::Parallels,
                _ => return Err(Refusal::because(format!("disk format '{other}' is not supported"))),
            };
            // A fixed VHD has its only header at its end.
            if !(kind == Kind::Vhd && kinds.is_empty()) {
                only(kinds, kind, other)?;
                if partition::is_there(source)? {
                    return Err(Refusal::because(format!("it is {other} and a partitioned disk at once")));
                }
            }
            disk(source, kind, rules)?
        }
    };
    within(virtual_size, rules)?;
    Ok(Found { virtual_size: Some(virtual_size) })
}

fn within(virtual_size: u64, rules: &Rules) -> Checked<()> {
    if virtual_size > rules.max_virtual_bytes {
        return Err(Refusal::because(format!(
            "its disk of {virtual_size} bytes is larger than the limit of {} bytes",
            rules.max_virtual_bytes
        )));
    }
    Ok(())
}

/// The virtual size of a disk image with a format of its own.
fn disk(source: &Source<'_>, kind: Kind, rules: &Rules) -> Checked<u64> {
    match kind {
        Kind::Qcow => qcow2::check(source),
        Kind::Vmdk => vmdk::check(source, &rules.vmdk_types),
        Kind::Vhd => vhd::check(source),
        Kind::Vhdx => vhdx::check(source),
        Kind::Vdi => vdi::check(source),
        Kind::Parallels => ploop::check(source),
        Kind::Iso => iso::check(source),
        other => Err(Refusal::because(format!("{} is not supported", other.name()))),
    }
}

/// What is let in although it is not what it was declared to be: one kind of thing, and sound as that.
fn harmless(source: &Source<'_>, kinds: &[Kind], rules: &Rules) -> Checked<()> {
    let trailing = detect::trailing(source)?;
    match (kinds, trailing) {
        ([], None) => raw(source, kinds, rules).map(drop),
        ([], Some(kind)) => within(disk(source, kind, rules)?, rules),
        ([kind], Some(other)) if *kind != other => {
            Err(Refusal::because(format!("it is {} and {} at once", kind.name(), other.name())))
        }
        ([kind], _) if kind.is_archive() => Ok(()),
        ([kind], _) if *kind != Kind::Iso && partition::is_there(source)? => {
            Err(Refusal::because(format!("it is {} and a partitioned disk at once", kind.name())))
        }
        ([kind], _) => within(disk(source, *kind, rules)?, rules),
        ([first, second, ..], _) => {
            Err(Refusal::because(format!("it is {} and {} at once", first.name(), second.name())))
        }
    }
}

/// One kind, and it is the declared one.
fn only(kinds: &[Kind], wanted: Kind, declared: &str) -> Checked<()> {
    if !kinds.contains(&wanted) {
        let is = kinds.first().map_or("something else", |k| k.name());
        return Err(mismatch(declared, is));
    }
    match kinds.iter().find(|k| **k != wanted) {
        None => Ok(()),
        Some(other) => Err(Refusal::because(format!("it is {declared} and {} at once", other.name()))),
    }
}

fn mismatch(declared: &str, is: &str) -> Refusal {
    Refusal::because(format!("Image content does not match disk_format: declared {declared}, found {is}"))
}

/// Raw is what is nothing else; with or without a partition table.
fn raw(source: &Source<'_>, kinds: &[Kind], rules: &Rules) -> Checked<u64> {
    if let Some(kind) = kinds.first().copied().or(detect::trailing(source)?) {
        return Err(mismatch("raw", kind.name()));
    }
    if rules.check_mbr {
        partition::check(source)?;
    }
    Ok(source.size())
}

/// Kernels, ramdisks and their disks pass as they are, ramdisks being archives; disk formats QEMU might open
/// in a way of its own do not.
fn kernel_or_disk(source: &Source<'_>, kinds: &[Kind], declared: &str) -> Checked<u64> {
    match kinds.iter().find(|k| !k.is_archive()) {
        Some(kind) => Err(mismatch(declared, kind.name())),
        None => Ok(source.size()),
    }
}
