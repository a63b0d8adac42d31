//! Looks into disk images before anything else does. Pure reading: nobody else's parser, no child process.
//! Needs nothing of the rest of the crate, so that the fuzz target builds in seconds.
//!
//! A file passes if its content is what it was declared to be and nothing else, needs no other file, is whole as
//! far as its tables go, and holds a disk of a sane size. Each format's checks say what QEMU would otherwise do.

mod detect;
mod iso;
mod qcow2;
mod source;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

pub use source::{ReadAt, Source};

use detect::Kind;
use std::{fs::File, io};

/// What an image is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// `disk_format`
    pub disk_format: String,
    /// `container_format`
    pub container_format: String,
    /// Largest disk inside, bytes.
    pub max_virtual_bytes: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Bytes of the disk inside; `None` for an archive, which is not opened.
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

fn inspect_source(source: &Source<'_>, declared: &Declared) -> Checked<Found> {
    let kinds = detect::leading(source)?;
    if declared.container_format == "ova"
        || declared.container_format == "docker"
        || declared.container_format == "compressed"
    {
        return archive(&kinds, &declared.container_format);
    }
    let virtual_size = match declared.disk_format.as_str() {
        "raw" => raw(source, &kinds)?,
        "aki" | "ari" | "ami" => kernel_or_disk(source, &kinds, &declared.disk_format)?,
        "iso" => {
            only(&kinds, Kind::Iso, "iso")?;
            iso::check(source)?
        }
        other => {
            let (kind, check): (Kind, fn(&Source<'_>) -> Checked<u64>) = match other {
                "qcow2" => (Kind::Qcow, qcow2::check),
                "vmdk" => (Kind::Vmdk, vmdk::check),
                "vhd" => (Kind::Vhd, vhd::check),
                "vhdx" => (Kind::Vhdx, vhdx::check),
                "vdi" => (Kind::Vdi, vdi::check),
                _ => return Err(Refusal::because(format!("disk format '{other}' is not supported"))),
            };
            // A fixed VHD has its only header at its end.
            if !(kind == Kind::Vhd && kinds.is_empty()) {
                only(&kinds, kind, other)?;
            }
            if detect::has_partition_table(source)? && !kinds.is_empty() {
                return Err(Refusal::because(format!("it is {other} and a partitioned disk at once")));
            }
            check(source)?
        }
    };
    if virtual_size > declared.max_virtual_bytes {
        return Err(Refusal::because(format!(
            "its disk of {virtual_size} bytes is larger than the limit of {} bytes",
            declared.max_virtual_bytes
        )));
    }
    Ok(Found { virtual_size: Some(virtual_size) })
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
fn raw(source: &Source<'_>, kinds: &[Kind]) -> Checked<u64> {
    if let Some(kind) = kinds.first().copied().or(detect::trailing(source)?) {
        return Err(mismatch("raw", kind.name()));
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

/// Archives are stored, never unpacked here.
fn archive(kinds: &[Kind], container: &str) -> Checked<Found> {
    let fits = |kind: &Kind| match container {
        "ova" => *kind == Kind::Tar,
        "docker" => matches!(kind, Kind::Tar | Kind::Gzip),
        _ => kind.is_archive() && *kind != Kind::Tar,
    };
    if kinds.len() == 1 && kinds.iter().all(fits) {
        return Ok(Found { virtual_size: None });
    }
    let is = kinds.iter().find(|k| !fits(k)).map_or("something else", |k| k.name());
    Err(Refusal::because(format!(
        "Image content does not match container_format: declared {container}, found {is}"
    )))
}
