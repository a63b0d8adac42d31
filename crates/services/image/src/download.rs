//! Sending image data: read on blocking threads, one block ahead of the network.

use crate::{
    image::Image,
    stores::{Opened, Stores},
};
use bytes::Bytes;
use ferrostack_http::actix_web::body::SizedStream;
use ferrostack_model::Result;
use futures_util::{StreamExt, stream, stream::BoxStream};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};

/// Bytes read at once.
pub const BLOCK: u64 = 256 << 10;

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
