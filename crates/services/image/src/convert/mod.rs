//! Conversions of disk images by a confined `qemu-img`, and decompression.
//!
//! [`run`] takes a [`CheckedImage`], which only the inspector makes, and hands back another: what was made is
//! inspected like an upload before anybody sees it. No text of a user reaches the child: the files are called
//! `source` and `target` in a directory of their own, formats and options are enums. How the child is held is in
//! [`confine`].

pub mod confine;
mod gunzip;
mod info;
mod work;

pub use gunzip::decompress;

use crate::inspect::{CheckedImage, Declared, DiskFormat, Refusal, Rules};
use confine::{Confined, Limits, Outcome};
use ferrostack_model::{Error, ErrorKind, Result};
use ferrostack_settings::ImageConvert;
use std::{fs, io, path::Path, sync::Arc};
use tokio_util::sync::CancellationToken;
use work::{SOURCE, TARGET, Work};

/// What an image is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Raw, sparse.
    Raw,
    /// qcow2, version 3.
    Qcow2 {
        /// Clusters are compressed.
        compressed: bool,
    },
    /// VMDK in one file: monolithicSparse, or streamOptimized if compressed.
    Vmdk {
        /// Grains are compressed.
        compressed: bool,
    },
}

impl Target {
    /// The plain target of a `disk_format`.
    pub fn parse(disk_format: &str) -> Option<Self> {
        Some(match disk_format {
            "raw" => Self::Raw,
            "qcow2" => Self::Qcow2 { compressed: false },
            "vmdk" => Self::Vmdk { compressed: false },
            _ => return None,
        })
    }

    /// The `disk_format` of what comes out.
    pub fn disk_format(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 { .. } => "qcow2",
            Self::Vmdk { .. } => "vmdk",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Raw => &["-O", "raw"],
            Self::Qcow2 { compressed: false } => &["-O", "qcow2", "-o", "compat=1.1"],
            Self::Qcow2 { compressed: true } => &["-O", "qcow2", "-o", "compat=1.1", "-c"],
            Self::Vmdk { compressed: false } => &["-O", "vmdk", "-o", "subformat=monolithicSparse"],
            Self::Vmdk { compressed: true } => &["-O", "vmdk", "-o", "subformat=streamOptimized"],
        }
    }
}

/// What a conversion has made.
#[derive(Debug)]
pub struct Converted {
    /// The new image, inspected; it lies at the target path, synced.
    pub image: CheckedImage,
}

/// QEMU's name of a format that can be converted.
fn driver(format: DiskFormat) -> Option<&'static str> {
    Some(match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::Vmdk => "vmdk",
        DiskFormat::Vhd => "vpc",
        DiskFormat::Vhdx => "vhdx",
        DiskFormat::Vdi => "vdi",
        DiskFormat::Ploop => "parallels",
        DiskFormat::Iso | DiskFormat::Amazon => return None,
    })
}

/// Converts `image` into a new file at `target_path`, which must not exist. `progress` is told per cent.
///
/// Errors: 400 for what is wrong with the image (it cannot be converted, is too large, takes too long), with a text
/// for its owner; 409 if `cancel` was called; others are ours. On every error nothing is left.
pub async fn run(
    settings: &ImageConvert,
    image: Arc<CheckedImage>,
    target: Target,
    target_path: &Path,
    progress: impl FnMut(u8) + Send + 'static,
    cancel: CancellationToken,
) -> Result<Converted> {
    let (settings, target_path) = (settings.clone(), target_path.to_owned());
    // The child dies with the thread that made it: this one does nothing else.
    let (answer, wait) = tokio::sync::oneshot::channel();
    let stop = cancel.child_token();
    let guard = stop.clone().drop_guard();
    std::thread::Builder::new()
        .name("convert".into())
        .spawn(move || {
            let _ = answer.send(convert(&settings, &image, target, &target_path, progress, &stop));
        })
        .map_err(|e| Error::internal(format!("starting a conversion: {e}")))?;
    let result = wait.await.map_err(|_| Error::internal("a conversion ended without an answer"))?;
    guard.disarm();
    result
}

fn convert(
    settings: &ImageConvert,
    image: &CheckedImage,
    target: Target,
    target_path: &Path,
    progress: impl FnMut(u8),
    cancel: &CancellationToken,
) -> Result<Converted> {
    let Some(format) = driver(image.format()) else {
        return Err(bad("Images of this disk format cannot be converted."));
    };
    let limit = room(settings, image, target)?;
    image.unchanged().map_err(internal)?;
    let confined = Confined::new(settings)?;
    let work = Work::new(target_path, image, confined.user()).map_err(internal)?;
    info::check(&confined, &work, image, format)?;

    let mut arguments = vec!["convert", "-p", "-f", format];
    arguments.extend(target.arguments());
    arguments.extend([SOURCE, TARGET]);
    let limits =
        Limits { cpu_seconds: settings.cpu_seconds, file_bytes: limit, seconds: settings.timeout_seconds };
    match confined.run(&arguments, work.path(), &limits, progress, cancel)? {
        Outcome::Done(_) => {}
        Outcome::Failed(why) => return Err(bad(format!("The image cannot be converted: {why}"))),
        Outcome::TooLong => return Err(bad("The image cannot be converted: it takes too long.")),
        Outcome::Cancelled => return Err(Error::conflict("The conversion was cancelled.")),
    }
    let file = work.take(target_path).map_err(internal)?;
    match inspect_again(&file, image, target) {
        Ok(image) => Ok(Converted { image }),
        Err(error) => {
            let _ = fs::remove_file(target_path);
            Err(error)
        }
    }
}

/// The most bytes the target may have: what the disk can need, and a part for tables.
fn room(settings: &ImageConvert, image: &CheckedImage, target: Target) -> Result<u64> {
    let virtual_size = image.virtual_size();
    let most = settings.max_output_bytes;
    if target == Target::Raw && virtual_size > most {
        return Err(bad(format!(
            "The image cannot be converted: its disk of {virtual_size} bytes is larger than the limit of {most} bytes."
        )));
    }
    Ok(virtual_size.saturating_add(virtual_size / 64).saturating_add(16 << 20).min(most))
}

/// What came out is inspected like what comes in: it may hold another image's header at its beginning.
fn inspect_again(file: &fs::File, image: &CheckedImage, target: Target) -> Result<CheckedImage> {
    // A disk whose size is no multiple of a sector grows by less than one.
    let most = image.virtual_size().saturating_add(511);
    let declared = Declared {
        disk_format: target.disk_format().into(),
        container_format: "bare".into(),
        rules: Rules { check_mbr: false, ..Rules::from(most) },
    };
    let made = CheckedImage::check(file, &declared).map_err(|refusal| match refusal {
        Refusal::Unreadable(error) => internal(error),
        Refusal::Content(why) => bad(format!("The converted image is refused: {why}")),
    })?;
    if made.virtual_size() < image.virtual_size() {
        return Err(bad("The converted image is smaller than the disk it was made of."));
    }
    Ok(made)
}

fn bad(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadRequest, why)
}

/// 413 if the disk is full, else 500.
fn internal(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => crate::receive::storage_error(error),
        _ => Error::internal(format!("converting an image: {error}")),
    }
}
