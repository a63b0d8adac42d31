//! An object on its way into the bucket.

use super::{Object, PARALLEL, S3Store, failed};
use crate::stores::{Opened, Writer};
use bytes::Bytes;
use object_store::{
    MultipartId, ObjectStoreExt, PutPayload,
    multipart::{MultipartStore, PartId},
};
use std::{collections::BTreeMap, io};
use tokio::task::JoinSet;

/// S3's most parts of an object.
const MOST_PARTS: usize = 10_000;
/// After so many parts they grow by the size of the first, so that 10,000 hold 55 times as much.
const GROW_EVERY: usize = 1000;

/// Bytes that have not filled a part, and parts under way.
pub struct Sending {
    store: S3Store,
    name: String,
    chunks: Vec<Bytes>,
    buffered: u64,
    size: u64,
    /// Set with the first part.
    upload: Option<MultipartId>,
    running: JoinSet<io::Result<(usize, PartId)>>,
    sent: BTreeMap<usize, PartId>,
    next: usize,
}

impl Sending {
    /// Nothing is sent before the first part is full.
    pub fn new(store: S3Store, name: &str) -> Self {
        Self {
            store,
            name: name.to_owned(),
            chunks: Vec::new(),
            buffered: 0,
            size: 0,
            upload: None,
            running: JoinSet::new(),
            sent: BTreeMap::new(),
            next: 0,
        }
    }

    /// Bytes of the part that is being filled.
    fn part(&self) -> u64 {
        self.store.0.part * (1 + self.next / GROW_EVERY) as u64
    }

    fn add(&mut self, mut chunk: Bytes) -> io::Result<()> {
        while !chunk.is_empty() {
            let room = usize::try_from(self.part() - self.buffered).unwrap_or(usize::MAX);
            let now = chunk.split_to(room.min(chunk.len()));
            self.buffered += now.len() as u64;
            self.size += now.len() as u64;
            self.chunks.push(now);
            if self.buffered >= self.part() {
                self.send()?;
            }
        }
        Ok(())
    }

    fn take(&mut self) -> PutPayload {
        self.buffered = 0;
        std::mem::take(&mut self.chunks).into_iter().collect()
    }

    /// Sends what there is as the next part; waits while too many are under way.
    fn send(&mut self) -> io::Result<()> {
        if self.next >= MOST_PARTS {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let store = self.store.clone();
        let key = store.key(&self.name);
        let id = match &self.upload {
            Some(id) => id.clone(),
            None => {
                let id = store.wait(store.0.s3.create_multipart(&key)).map_err(failed)?;
                self.upload.insert(id).clone()
            }
        };
        while self.running.len() >= PARALLEL {
            self.settle()?;
        }
        let (number, payload) = (self.next, self.take());
        self.next += 1;
        let runtime = store.0.runtime.clone();
        let work = async move {
            let part = store.0.s3.put_part(&key, &id, number, payload).await.map_err(failed)?;
            Ok((number, part))
        };
        self.running.spawn_on(work, &runtime);
        Ok(())
    }

    /// Waits for one of the parts under way.
    fn settle(&mut self) -> io::Result<()> {
        let runtime = self.store.0.runtime.clone();
        if let Some(done) = runtime.block_on(self.running.join_next()) {
            let (number, part) = done.map_err(io::Error::other)??;
            self.sent.insert(number, part);
        }
        Ok(())
    }
}

impl Writer for Sending {
    fn write(&mut self, batch: &[Bytes]) -> io::Result<()> {
        batch.iter().try_for_each(|chunk| self.add(chunk.clone()))
    }

    fn publish(mut self: Box<Self>) -> io::Result<Opened> {
        let store = self.store.clone();
        let key = store.key(&self.name);
        if self.upload.is_none() {
            let payload = self.take();
            store.wait(store.0.s3.put(&key, payload)).map_err(failed)?;
        } else {
            if self.buffered > 0 {
                self.send()?;
            }
            while !self.running.is_empty() {
                self.settle()?;
            }
            let parts: Vec<PartId> = std::mem::take(&mut self.sent).into_values().collect();
            if let Some(id) = &self.upload {
                store.wait(store.0.s3.complete_multipart(&key, id, parts)).map_err(failed)?;
            }
            self.upload = None;
        }
        Ok(Opened::Remote(Box::new(Object::new(store, &self.name, self.size))))
    }
}

impl Drop for Sending {
    /// What is not whole is given up at once; if that fails, or the process dies, the sweep does it.
    fn drop(&mut self) {
        self.running.abort_all();
        if let Some(id) = self.upload.take() {
            let (store, key) = (self.store.clone(), self.store.key(&self.name));
            let runtime = store.0.runtime.clone();
            runtime.spawn(async move {
                if let Err(error) = store.0.s3.abort_multipart(&key, &id).await {
                    tracing::warn!(%error, "parts of an object left to the sweep");
                }
            });
        }
    }
}
