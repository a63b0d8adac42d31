//! Receiving image data: written and hashed on blocking threads, a batch at a time, while the next arrives.

use crate::{
    store::upload::Received,
    stores::{Backend, Writer},
};
use aws_lc_rs::digest;
use bytes::Bytes;
use ferrostack_model::{Error, ErrorKind, Result};
use md5::{Digest, Md5};
use std::{io, sync::Arc};
use tokio::task::JoinHandle;

/// Bytes handed to the blocking threads at once. At most two batches of an upload are in memory.
const BATCH: usize = 1 << 20;

/// What has been written so far.
struct Written {
    object: Box<dyn Writer>,
    sha512: digest::Context,
    md5: Md5,
}

type Pending = JoinHandle<io::Result<Written>>;

/// An object that grows.
pub struct Receiver {
    name: String,
    /// `None` only after a failure.
    pending: Option<Pending>,
    batch: Vec<Bytes>,
    batched: usize,
    size: u64,
    limit: u64,
}

impl Receiver {
    /// Begins the object `name` in `store`; more than `limit` bytes are refused.
    pub fn new(store: &Arc<Backend>, name: &str, limit: u64) -> Self {
        let (store, owned) = (store.clone(), name.to_owned());
        let pending = tokio::task::spawn_blocking(move || {
            let object = store.create(&owned)?;
            Ok(Written { object, sha512: digest::Context::new(&digest::SHA512), md5: Md5::new() })
        });
        Self { name: name.to_owned(), pending: Some(pending), batch: Vec::new(), batched: 0, size: 0, limit }
    }

    /// Takes the next bytes; waits while the disk is behind.
    pub async fn push(&mut self, chunk: Bytes) -> Result<()> {
        self.size += chunk.len() as u64;
        if self.size > self.limit {
            return Err(too_large(self.limit));
        }
        self.batched += chunk.len();
        self.batch.push(chunk);
        if self.batched >= BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        let written = self.settle().await?;
        let batch = Arc::new(std::mem::take(&mut self.batch));
        self.batched = 0;
        self.pending = Some(tokio::spawn(write(written, batch)));
        Ok(())
    }

    async fn settle(&mut self) -> Result<Written> {
        let pending = self.pending.take().ok_or_else(|| Error::internal("the upload has failed before"))?;
        match pending.await {
            Ok(done) => done.map_err(storage_error),
            Err(error) => Err(Error::internal(format!("writing {}: {error}", self.name))),
        }
    }

    /// Everything is there: the object and what it holds. Not durable yet.
    pub async fn finish(mut self) -> Result<(Box<dyn Writer>, Received)> {
        self.flush().await?;
        let written = self.settle().await?;
        let size = i64::try_from(self.size).map_err(|_| too_large(self.limit))?;
        let received = Received {
            file: self.name,
            size,
            virtual_size: None,
            checksum: hex::encode(written.md5.finalize()),
            sha512: hex::encode(written.sha512.finish()),
        };
        Ok((written.object, received))
    }
}

/// Writes and sha512 on one thread, md5 on another: md5 alone is as slow as the other two.
async fn write(written: Written, batch: Arc<Vec<Bytes>>) -> io::Result<Written> {
    let Written { mut object, mut sha512, mut md5 } = written;
    let again = batch.clone();
    let other = tokio::task::spawn_blocking(move || {
        for chunk in again.iter() {
            md5.update(chunk);
        }
        md5
    });
    let main = tokio::task::spawn_blocking(move || {
        object.write(&batch)?;
        for chunk in batch.iter() {
            sha512.update(chunk);
        }
        Ok::<_, io::Error>((object, sha512))
    });
    let (object, sha512) = main.await.map_err(io::Error::other)??;
    let md5 = other.await.map_err(io::Error::other)?;
    Ok(Written { object, sha512, md5 })
}

fn too_large(limit: u64) -> Error {
    Error::new(ErrorKind::TooLarge, format!("The incoming image is too large: the limit is {limit} bytes."))
}

/// 413 if the disk is full, else 503: the client may try again.
pub fn storage_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::new(ErrorKind::TooLarge, "Image storage media is full: there is not enough disk space.")
                .with_internal(error.to_string())
        }
        _ => Error::unavailable(format!("image store: {error}")),
    }
}
