//! What a guest is rescued with, with its files on this host.

use crate::BaseImage;
use ferrostack_model::image::ImageSource;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A rescue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescue {
    /// Its number: a repeated call knows by it what is done already.
    pub tag: i64,
    /// The image, whose properties say how the disk is attached (`hw_rescue_device`, `hw_rescue_bus`).
    pub image: ImageSource,
    /// Base of the rescue disk; `None` only where no files are needed.
    pub base: Option<BaseImage>,
    /// Kernel for a direct boot.
    pub kernel: Option<PathBuf>,
    /// Initial ramdisk for a direct boot.
    pub ramdisk: Option<PathBuf>,
    /// Seconds the guest has to shut down before the plug is pulled.
    pub timeout_seconds: u32,
}
