//! Reading stored data in blocks, on blocking threads.

use crate::{inspect::ReadAt, receive::storage_error, stores::Opened};
use aws_lc_rs::digest;
use bytes::Bytes;
use ferrostack_model::{Error, Result};
use futures_util::{Stream, stream};
use std::{io, sync::Arc};

/// Bytes read at once.
const BLOCK: u64 = 1 << 20;
/// Blocks hashed in one go on a blocking thread.
const RUN: u64 = 64;

fn block(object: &Opened, at: u64) -> io::Result<Bytes> {
    let length = BLOCK.min(object.size() - at);
    let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    object.read_exact_at(&mut buffer, at)?;
    Ok(buffer.into())
}

/// The object from its beginning to its end.
pub(super) fn all(object: Arc<Opened>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(0, move |at| {
        let object = object.clone();
        async move {
            if at >= object.size() {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || block(&object, at));
            let block = read.await.map_err(io::Error::other)??;
            let next = at + block.len() as u64;
            Ok(Some((block, next)))
        }
    })
}

/// The sha512 of the object, hex.
pub(super) async fn sha512(object: &Arc<Opened>) -> Result<String> {
    let (mut hash, mut at) = (digest::Context::new(&digest::SHA512), 0);
    while at < object.size() {
        let object = object.clone();
        let run = tokio::task::spawn_blocking(move || {
            for _ in 0..RUN {
                if at >= object.size() {
                    break;
                }
                let block = block(&object, at)?;
                hash.update(&block);
                at += block.len() as u64;
            }
            Ok((hash, at))
        });
        let done: io::Result<_> = run.await.map_err(|e| Error::internal(format!("hashing: {e}")))?;
        (hash, at) = done.map_err(storage_error)?;
    }
    Ok(hex::encode(hash.finish()))
}
