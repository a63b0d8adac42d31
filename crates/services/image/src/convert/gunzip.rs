//! Decompression, in this process: a decoder without `unsafe` over a stream, with its output counted.

use super::{bad, internal};
use ferrostack_model::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use tokio_util::sync::CancellationToken;

/// Bytes decoded at once.
const CHUNK: usize = 256 << 10;

/// Unpacks the gzip data in `source` into a new file at `target_path`, durable; more than `limit` bytes are refused.
/// Blocks. What comes out is inspected by nobody yet.
///
/// Errors: 400 for damaged or too much data, 409 if cancelled. On every error nothing is left.
pub fn decompress(source: &File, target_path: &Path, limit: u64, cancel: &CancellationToken) -> Result<File> {
    let mut target = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target_path)
        .map_err(internal)?;
    let result = unpack(source, &mut target, limit, cancel);
    match result.and_then(|()| target.sync_all().map_err(internal)) {
        Ok(()) => Ok(target),
        Err(error) => {
            let _ = fs::remove_file(target_path);
            Err(error)
        }
    }
}

fn unpack(source: &File, target: &mut File, limit: u64, cancel: &CancellationToken) -> Result<()> {
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(CHUNK, Whole { file: source, at: 0 }));
    let (mut buffer, mut total) = (vec![0; CHUNK], 0_u64);
    loop {
        if cancel.is_cancelled() {
            return Err(Error::conflict("The decompression was cancelled."));
        }
        let read = match decoder.read(&mut buffer) {
            Ok(0) => return if total > 0 { Ok(()) } else { Err(bad("The compressed image is empty.")) },
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.raw_os_error().is_some() => return Err(internal(error)),
            Err(_) => return Err(bad("The compressed image is damaged.")),
        };
        total += read as u64;
        if total > limit {
            return Err(bad(format!("The compressed image holds more than {limit} bytes.")));
        }
        target.write_all(&buffer[..read]).map_err(internal)?;
    }
}

/// The file from its beginning, whatever its own position.
struct Whole<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
