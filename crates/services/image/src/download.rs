//! Sending image data: read on blocking threads, one block ahead of the network.

use crate::{
    app::App,
    image::Image,
    stores::Opened,
    verify::{self, Check},
};
use bytes::Bytes;
use ferrostack_http::actix_web::body::SizedStream;
use ferrostack_model::{Error, Result};
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};

/// Bytes read at once.
pub const BLOCK: u64 = 256 << 10;

/// Up to so many bytes are checked before the answer begins, so that another copy or an error can be sent instead.
const SMALL: u64 = 4 * BLOCK;

/// The bytes of an image on their way out. One that ends early breaks the connection rather than pad the answer.
pub type Body = SizedStream<BoxStream<'static, io::Result<Bytes>>>;

/// The bytes `part` of the image's data: of the first location that can be read, is of the right size and, where a
/// whole small image is asked for, has the right hash. `None` if all of them say that it is not there.
pub async fn body(app: &App, image: &Image, size: u64, part: Range<u64>) -> Result<Option<Body>> {
    let whole = part == (0..size) && app.settings.storage.verify_on_read;
    let mut failed = None;
    for (location, store) in app.stores.order(&image.locations) {
        let check = if whole { Check::new(&app.db, image, location) } else { None };
        let opened = match store.open(&location.name).await {
            Ok(Some(opened)) if opened.size() == size => opened,
            Ok(Some(_)) => {
                verify::damaged(&app.db, &image.id, &store.id, &location.id, "its size is another").await;
                failed = Some(Error::internal(format!("the stored data of image {} is damaged", image.id)));
                continue;
            }
            Ok(None) => {
                let (image, store) = (&image.id, &store.id);
                tracing::error!(image, store, "the image's data is missing in the store");
                continue;
            }
            Err(error) => {
                tracing::warn!(image = image.id, store = store.id, error = error.for_log(), "cannot be read");
                failed = Some(error);
                continue;
            }
        };
        let blocks = blocks(opened, part.clone());
        let sent = match check {
            None => blocks,
            Some(check) if size > SMALL => verify::checked(blocks, check),
            Some(check) => match at_once(blocks, &check).await {
                Ok(blocks) => stream::iter(blocks.into_iter().map(Ok)).boxed(),
                Err(error) => {
                    failed = Some(
                        Error::internal(format!("the data of image {}", image.id))
                            .with_internal(error.to_string()),
                    );
                    continue;
                }
            },
        };
        return Ok(Some(SizedStream::new(part.end - part.start, sent)));
    }
    failed.map_or(Ok(None), Err)
}

async fn at_once(blocks: BoxStream<'static, io::Result<Bytes>>, check: &Check) -> io::Result<Vec<Bytes>> {
    let blocks: Vec<Bytes> = blocks.try_collect().await?;
    check.all(&blocks).await?;
    Ok(blocks)
}

/// The bytes `part` of an object.
pub fn blocks(object: Opened, part: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
    match object {
        Opened::File(file, _) => from_file(file, part),
        Opened::Remote(remote) => remote.stream(part),
    }
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
