//! Looks into disk images before anything else does. Pure reading: no parser of anybody else, no child process.

use crate::image::Image;
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

impl Declared {
    /// What `image` says of itself.
    pub fn of(image: &Image, max_virtual_bytes: u64) -> Self {
        Self {
            disk_format: image.disk_format.clone().unwrap_or_default(),
            container_format: image.container_format.clone().unwrap_or_default(),
            max_virtual_bytes,
        }
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Bytes of the disk inside.
    pub virtual_size: u64,
}

/// Why a file is not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// It could not be read.
    Unreadable(io::Error),
    /// It is not what it was declared to be, or is dangerous; a text for its owner.
    Content(String),
}

/// Checks a file.
pub fn inspect(file: &File, _declared: &Declared) -> Result<Found, Refusal> {
    let size = file.metadata().map_err(Refusal::Unreadable)?.len();
    Ok(Found { virtual_size: size })
}
