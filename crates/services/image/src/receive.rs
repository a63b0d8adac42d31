//! Receiving image data: written and hashed on blocking threads while more arrives.

use crate::{
    lane::{Batch, Gatherer, Lane, Worker},
    store::upload::Received,
    stores::{Backend, Writer},
};
use aws_lc_rs::digest;
use bytes::Bytes;
use ferrostack_model::{Error, ErrorKind, Result};
use md5::{Digest, Md5};
use std::{
    io,
    sync::{Arc, LazyLock},
};
use tokio::sync::Semaphore;

/// KiB that all uploads of this process together hold on the way to their stores.
const ROOM: usize = 64 << 10;

static HELD: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(ROOM)));

/// One lane writes and makes the sha512.
struct Write {
    store: Arc<Backend>,
    name: String,
    /// `None` before the first batch.
    object: Option<Box<dyn Writer>>,
    sha512: digest::Context,
}

impl Write {
    fn object(&mut self) -> io::Result<&mut Box<dyn Writer>> {
        if self.object.is_none() {
            self.object = Some(self.store.create(&self.name)?);
        }
        self.object.as_mut().ok_or_else(|| io::Error::other("no object"))
    }
}

impl Worker for Write {
    fn work(&mut self, batch: &Batch) -> io::Result<()> {
        self.object()?.write(batch.chunks())?;
        batch.chunks().iter().for_each(|chunk| self.sha512.update(chunk));
        Ok(())
    }
}

impl Worker for Md5 {
    fn work(&mut self, batch: &Batch) -> io::Result<()> {
        batch.chunks().iter().for_each(|chunk| self.update(chunk));
        Ok(())
    }
}

/// An object that grows.
pub struct Receiver {
    name: String,
    gatherer: Gatherer,
    write: Lane<Write>,
    /// md5 alone takes as long as the other two together.
    md5: Lane<Md5>,
    size: u64,
    limit: u64,
}

impl Receiver {
    /// Begins the object `name` in `store`; more than `limit` bytes are refused.
    pub fn new(store: &Arc<Backend>, name: &str, limit: u64) -> Self {
        let write = Write {
            store: store.clone(),
            name: name.to_owned(),
            object: None,
            sha512: digest::Context::new(&digest::SHA512),
        };
        Self {
            name: name.to_owned(),
            gatherer: Gatherer::new(HELD.clone()),
            write: Lane::new(write),
            md5: Lane::new(Md5::new()),
            size: 0,
            limit,
        }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes; waits while the disk is behind.
    pub async fn push(&mut self, chunk: Bytes) -> Result<()> {
        self.size += chunk.len() as u64;
        if self.size > self.limit {
            return Err(too_large());
        }
        self.gatherer.push(chunk);
        if self.gatherer.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Hands on what has been gathered: whoever waits for more for long shall not hold memory meanwhile.
    pub async fn flush(&mut self) -> Result<()> {
        if self.gatherer.is_empty() {
            return Ok(());
        }
        let batch = self.gatherer.take().await;
        self.write.push(&batch).await.map_err(storage_error)?;
        self.md5.push(&batch).await.map_err(storage_error)
    }

    /// Everything is there: the object and what it holds. Not durable yet.
    pub async fn finish(mut self) -> Result<(Box<dyn Writer>, Received)> {
        self.flush().await?;
        let mut write = self.write.finish().await.map_err(storage_error)?;
        let md5 = self.md5.finish().await.map_err(storage_error)?;
        let size = i64::try_from(self.size).map_err(|_| too_large())?;
        let received = Received {
            file: self.name,
            size,
            virtual_size: None,
            checksum: hex::encode(md5.finalize()),
            sha512: hex::encode(write.sha512.clone().finish()),
        };
        let object = tokio::task::spawn_blocking(move || {
            write.object()?;
            write.object.ok_or_else(|| io::Error::other("no object"))
        });
        let object = object.await.map_err(|e| Error::internal(format!("beginning an object: {e}")))?;
        Ok((object.map_err(storage_error)?, received))
    }

    /// Gives up; when this ends nothing writes to the object any more.
    pub async fn cancel(self) {
        self.md5.cancel().await;
        self.write.cancel().await;
    }
}

/// 413 in Glance's words.
pub fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "The incoming image is too large: The provided image is too large.")
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
