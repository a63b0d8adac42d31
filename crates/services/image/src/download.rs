//! Sending image data: read on blocking threads, one block ahead of the network.

use crate::{
    image::Image,
    stores::{Opened, Stores},
};
use bytes::Bytes;
use ferrostack_http::actix_web::body::SizedStream;
use ferrostack_model::{Error, ErrorKind, Result};
use futures_util::{StreamExt, stream, stream::BoxStream};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};

/// Bytes read at once.
pub const BLOCK: u64 = 256 << 10;

/// The bytes a Range header asks for of a file of `size` bytes; `None` without a header or with one of another
/// unit. One range only; 416 if it holds no byte of the file.
pub fn range(header: Option<&str>, size: u64) -> Result<Option<Range<u64>>> {
    let Some(text) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else { return Ok(None) };
    let refused = || {
        let short: String = text.chars().take(80).collect();
        Error::new(ErrorKind::RangeNotSatisfiable, format!("Invalid range {short} for {size} bytes."))
    };
    let (first, last) = text.trim().split_once('-').ok_or_else(refused)?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than fit name a place beyond any file.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX)).ok_or_else(refused)
    };
    let part = match (first.trim(), last.trim()) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(refused());
            }
            first..size.min(last.saturating_add(1))
        }
    };
    if part.is_empty() { Err(refused()) } else { Ok(Some(part)) }
}

/// Opens the image's data: the first location that can be read. `None` if all of them say that it is not there.
pub async fn open(stores: &Stores, image: &Image) -> Result<Option<Opened>> {
    let mut failed = None;
    for (location, store) in stores.order(&image.locations) {
        match store.open(&location.name).await {
            Ok(Some(opened)) => return Ok(Some(opened)),
            Ok(None) => {
                tracing::error!(
                    image = image.id,
                    store = store.id,
                    "the image's data is missing in the store"
                );
            }
            Err(error) => {
                tracing::warn!(image = image.id, store = store.id, error = error.for_log(), "cannot be read");
                failed = Some(error);
            }
        }
    }
    failed.map_or(Ok(None), Err)
}

/// The bytes `part` of an object. One that ends early breaks the connection rather than pad the answer.
pub fn body(object: Opened, part: Range<u64>) -> SizedStream<BoxStream<'static, io::Result<Bytes>>> {
    let size = part.end - part.start;
    let blocks = match object {
        Opened::File(file, _) => from_file(file, part),
        Opened::Remote(remote) => remote.stream(part),
    };
    SizedStream::new(size, blocks)
}

fn from_file(file: File, part: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
    let file = Arc::new(file);
    let blocks = stream::unfold(part.start, move |at| {
        let (file, end) = (file.clone(), part.end);
        async move {
            let length = BLOCK.min(end.saturating_sub(at));
            (length > 0).then(|| (tokio::task::spawn_blocking(move || read(&file, at, length)), at + length))
        }
    });
    blocks.buffered(2).map(|done| done.map_err(io::Error::other)?).boxed()
}

fn read(file: &File, at: u64, length: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut block = vec![0; length];
    file.read_exact_at(&mut block, at)?;
    Ok(block.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let of = |text: &str| range(Some(text), 10).unwrap();
        assert_eq!(of("bytes=0-0"), Some(0..1));
        assert_eq!(of("bytes=2-"), Some(2..10));
        assert_eq!(of("bytes=-3"), Some(7..10));
        assert_eq!(of("bytes=-99"), Some(0..10));
        assert_eq!(of("bytes=8-99999999999999999999999"), Some(8..10));
        assert_eq!(of("lines=1-2"), None);
        assert_eq!(range(None, 10).unwrap(), None);
        for bad in [
            "bytes=10-",
            "bytes=5-4",
            "bytes=-",
            "bytes=-0",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "bytes=",
            "bytes=+1-2",
        ] {
            assert_eq!(range(Some(bad), 10).unwrap_err().kind, ErrorKind::RangeNotSatisfiable, "{bad}");
        }
        assert!(range(Some("bytes=0-"), 0).is_err());
    }
}
