//! An image that may be handed to other programs.

use super::{Checked, Declared, Found, Refusal, inspect};
use std::{fs::File, io};

/// A `disk_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskFormat {
    /// `raw`
    Raw,
    /// `qcow2`
    Qcow2,
    /// `vmdk`
    Vmdk,
    /// `vhd`
    Vhd,
    /// `vhdx`
    Vhdx,
    /// `vdi`
    Vdi,
    /// `ploop`
    Ploop,
    /// `iso`
    Iso,
    /// `ami`, `ari` and `aki`.
    Amazon,
}

impl DiskFormat {
    /// Reads a `disk_format`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "raw" => Self::Raw,
            "qcow2" => Self::Qcow2,
            "vmdk" => Self::Vmdk,
            "vhd" => Self::Vhd,
            "vhdx" => Self::Vhdx,
            "vdi" => Self::Vdi,
            "ploop" => Self::Ploop,
            "iso" => Self::Iso,
            "ami" | "ari" | "aki" => Self::Amazon,
            _ => return None,
        })
    }
}

/// An open file that passed the inspection as the disk it was declared to be. Only the inspector makes one, and
/// programs that read images take nothing else.
#[derive(Debug)]
pub struct CheckedImage {
    file: File,
    format: DiskFormat,
    size: u64,
    virtual_size: u64,
}

impl CheckedImage {
    /// Inspects `file`, which must be a disk image of its own (no archive) and exactly what it was declared to be,
    /// whatever the settings tolerate elsewhere.
    pub fn check(file: &File, declared: &Declared) -> Checked<Self> {
        let mut declared = declared.clone();
        declared.rules.require_match = true;
        let Found { virtual_size, .. } = inspect(file, &declared)?;
        let format = DiskFormat::parse(&declared.disk_format);
        let (Some(format), Some(virtual_size)) = (format, virtual_size) else {
            return Err(Refusal::because("it is no disk image"));
        };
        let file = file.try_clone().map_err(Refusal::Unreadable)?;
        let size = file.metadata().map_err(Refusal::Unreadable)?.len();
        Ok(Self { file, format, size, virtual_size })
    }

    /// The file, open for reading.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What it is.
    pub fn format(&self) -> DiskFormat {
        self.format
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the disk inside.
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// An error if the file has another length than when it was inspected.
    pub fn unchanged(&self) -> io::Result<()> {
        match self.file.metadata()?.len() == self.size {
            true => Ok(()),
            false => Err(io::Error::other("the image has changed since it was inspected")),
        }
    }
}
