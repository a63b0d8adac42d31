//! A second opinion: `qemu-img info` must see what the inspector saw.

use super::{
    bad,
    confine::{Confined, Limits, Outcome},
    work::{SOURCE, Work},
};
use crate::inspect::CheckedImage;
use ferrostack_model::{Error, Result};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Seconds it may take.
const SECONDS: u64 = 30;
/// Longest file it may write: it has nothing to write.
const FILE_BYTES: u64 = 64 << 10;

/// 400 if QEMU finds another format, another size or another file in the image.
pub fn check(confined: &Confined, work: &Work, image: &CheckedImage, format: &str) -> Result<()> {
    let limits = Limits {
        cpu_seconds: confined.settings().info_cpu_seconds,
        file_bytes: FILE_BYTES,
        seconds: SECONDS,
    };
    let arguments = ["info", "-f", format, "--output=json", SOURCE];
    let cancel = CancellationToken::new();
    let text = match confined.run(&arguments, work.path(), &limits, |_| {}, &cancel)? {
        Outcome::Done(text) => text,
        Outcome::Failed(why) => return Err(bad(format!("The image cannot be converted: {why}"))),
        Outcome::TooLong | Outcome::Cancelled => {
            return Err(bad("The image cannot be converted: looking at it takes too long."));
        }
    };
    let info: Value =
        serde_json::from_str(&text).map_err(|e| Error::internal(format!("answer of qemu-img info: {e}")))?;
    if info["format"] != format {
        return Err(bad("The image cannot be converted: QEMU finds another format in it."));
    }
    let others = ["backing-filename", "full-backing-filename", "backing-image"];
    if others.iter().any(|key| info.get(key).is_some())
        || info.pointer("/format-specific/data/data-file").is_some()
    {
        return Err(bad("The image cannot be converted: QEMU finds another file in it."));
    }
    let size = info["virtual-size"].as_u64().unwrap_or(0);
    // QEMU counts whole sectors.
    if size.abs_diff(image.virtual_size()) >= 512 {
        return Err(bad("The image cannot be converted: QEMU finds a disk of another size in it."));
    }
    Ok(())
}
