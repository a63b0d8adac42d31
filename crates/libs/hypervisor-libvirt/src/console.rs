//! The serial console's log: rotation, and reading its end.
//!
//! libvirt lets QEMU append to `console.log`. With virtlogd running, virtlogd rotates at 2 MiB by renaming to
//! `console.log.0`, `.1`, …; without it the file grows, and we rotate by copying and truncating, which is safe
//! because the file is open for appending. Bytes written between the copy and the truncation are lost: a few.

use crate::files::{GuestFiles, Instances};
use ferrostack_model::{Error, Result};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

fn rotated(log: &Path, n: u32) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

/// Rotates every console log above `limit` bytes and keeps `kept` old ones of each. Errors are logged: one guest's
/// broken file must not stop the others'.
pub fn rotate_all(instances: &Instances, limit: u64, kept: u32) {
    let ids = match instances.ids() {
        Ok(ids) => ids,
        Err(e) => {
            tracing::warn!(error = %e.for_log(), "console logs are not rotated");
            return;
        }
    };
    for id in ids {
        let Ok(files) = instances.guest(&id) else { continue };
        match rotate(&files.console_log(), limit, kept) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                tracing::warn!(server_id = id, error = %e, "a console log is not rotated");
            }
            _ => {}
        }
    }
}

/// Rotates `log` if it is larger than `limit` bytes. Of a log far above the limit only the end is kept.
fn rotate(log: &Path, limit: u64, kept: u32) -> io::Result<()> {
    let size = fs::metadata(log)?.len();
    if size <= limit {
        return Ok(());
    }
    for n in (0..kept.saturating_sub(1)).rev() {
        match fs::rename(rotated(log, n), rotated(log, n + 1)) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    let mut source = File::options().read(true).write(true).open(log)?;
    if kept > 0 {
        source.seek(SeekFrom::Start(size.saturating_sub(limit)))?;
        let mut target = File::create(rotated(log, 0))?;
        io::copy(&mut source, &mut target)?;
    }
    source.set_len(0)
}

/// The last `max_bytes` of a guest's console, rotated logs joined.
///
/// # Errors
/// `NotFound` if there is no log at all.
pub fn tail(files: &GuestFiles, max_bytes: usize) -> Result<Vec<u8>> {
    let log = files.console_log();
    let fail = |e| Error::internal(format!("reading {}: {e}", log.display()));
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut wanted = max_bytes;
    let mut found = false;
    let older = (0..).map(|n| rotated(&log, n));
    for (i, path) in std::iter::once(log.clone()).chain(older).enumerate() {
        match end_of(&path, wanted) {
            Ok(bytes) => {
                found = true;
                wanted -= bytes.len();
                parts.push(bytes);
            }
            // The current one may be missing in the moment of a rotation.
            Err(e) if e.kind() == ErrorKind::NotFound && i == 0 => {}
            Err(e) if e.kind() == ErrorKind::NotFound => break,
            Err(e) => return Err(fail(e)),
        }
        if wanted == 0 && found {
            break;
        }
    }
    if !found {
        return Err(Error::not_found("The guest has no console log on this host."));
    }
    parts.reverse();
    Ok(parts.concat())
}

fn end_of(path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let wanted = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    file.seek(SeekFrom::Start(size.saturating_sub(wanted)))?;
    let mut bytes = Vec::new();
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::io::Write;

    #[test]
    fn rotated_logs_are_joined_and_cut_at_the_front() {
        let temp = tempfile::tempdir().unwrap();
        let files =
            Instances::open(temp.path()).unwrap().guest("2d6f7a1c-4f0e-4f7c-9a55-0c3b6f1f7d11").unwrap();
        assert_eq!(tail(&files, 10).unwrap_err().kind.http(), 404);
        files.prepare().unwrap();
        assert_eq!(tail(&files, 10).unwrap(), b"");
        // As QEMU holds it: open for appending all the time.
        let mut guest = File::options().append(true).open(files.console_log()).unwrap();
        for round in 0..4 {
            write!(guest, "round {round}!").unwrap();
            rotate(&files.console_log(), 4, 2).unwrap();
        }
        write!(guest, "end").unwrap();
        assert_eq!(fs::metadata(files.console_log()).unwrap().len(), 3, "truncation holds for the open file");
        assert_eq!(tail(&files, 1000).unwrap(), b"d 2!d 3!end", "two rotated logs of 4 bytes are kept");
        assert_eq!(tail(&files, 5).unwrap(), b"3!end");
        assert_eq!(tail(&files, 0).unwrap(), b"");
    }

    #[test]
    fn random_bytes_come_back_as_they_are() {
        let temp = tempfile::tempdir().unwrap();
        let files =
            Instances::open(temp.path()).unwrap().guest("2d6f7a1c-4f0e-4f7c-9a55-0c3b6f1f7d11").unwrap();
        files.prepare().unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        fs::write(files.console_log(), &bytes).unwrap();
        assert_eq!(tail(&files, 70_000).unwrap(), bytes[30_000..]);
    }
}
