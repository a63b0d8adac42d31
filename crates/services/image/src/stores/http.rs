//! What lies behind a URL that a client gave: only read, and only by the fetcher with its rules.

use super::{Opened, Remote, Store, Writer, cache::Cache, pipe::pipe};
use crate::{
    fetch::{Ask, Body, Failure, Fetched, Fetcher},
    inspect::ReadAt,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::HashSet, future::Future, io, ops::Range};
use tokio::runtime::Handle;

/// The store. Names of its objects are URLs.
#[derive(Clone)]
pub struct HttpStore {
    fetcher: Fetcher,
    runtime: Handle,
    limit: u64,
}

impl HttpStore {
    /// Objects of more than `limit` bytes are refused. The error is for the operator.
    pub fn open(fetcher: Fetcher, limit: u64) -> Result<Self, String> {
        Ok(Self { fetcher, runtime: Handle::try_current().map_err(|e| e.to_string())?, limit })
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    async fn ask(&self, url: &str, head: bool, range: Option<Range<u64>>) -> io::Result<Fetched> {
        let url =
            self.fetcher.read(url).map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, why))?;
        let ask = Ask { head, range, limit: self.limit };
        self.fetcher.get(&url, &ask).await.map_err(failed)
    }

    /// The bytes `part`, from a server that knows ranges or from one that does not.
    async fn part(&self, url: &str, part: Range<u64>) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let fetched = self.ask(url, false, Some(part.clone())).await?;
        let (mut skip, mut left) =
            (if fetched.status == 206 { 0 } else { part.start }, part.end - part.start);
        let chunks = bytes_of(fetched.body).map_ok(move |mut chunk| {
            let gone = skip.min(chunk.len() as u64);
            skip -= gone;
            chunk = chunk.slice(usize::try_from(gone).unwrap_or(usize::MAX)..);
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= chunk.len() as u64;
            (chunk, left)
        });
        // The rest of a body that is too long is not waited for.
        let mut ended = false;
        let wanted = chunks.take_while(move |item| {
            let go = !ended;
            ended = matches!(item, Ok((_, 0)) | Err(_));
            std::future::ready(go)
        });
        Ok(wanted.map_ok(|(chunk, _)| chunk).boxed())
    }
}

fn bytes_of(body: Body) -> BoxStream<'static, io::Result<Bytes>> {
    body.map_err(failed).boxed()
}

fn failed(failure: Failure) -> io::Error {
    let kind = match &failure {
        Failure::Status(404 | 410) => io::ErrorKind::NotFound,
        Failure::TooLarge(_) => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, ferrostack_model::Error::from(failure).for_log())
}

impl Store for HttpStore {
    fn create(&self, _: &str) -> io::Result<Box<dyn Writer>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the store is only read"))
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        let fetched = self.wait(self.ask(name, false, None))?;
        let unknown =
            || io::Error::new(io::ErrorKind::InvalidData, "the server does not say how long the data is");
        let (size, whole) = match fetched.size {
            Some(size) => (size, Some(fetched.body)),
            None => {
                // A server may answer one request after the other.
                drop(fetched);
                (self.wait(self.ask(name, true, None))?.size.ok_or_else(unknown)?, None)
            }
        };
        let whole = Mutex::new(whole);
        Ok(Opened::Remote(Box::new(Object {
            store: self.clone(),
            url: name.to_owned(),
            size,
            whole,
            cache: Cache::default(),
        })))
    }

    /// The data is not ours to remove.
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<HashSet<String>> {
        Ok(HashSet::new())
    }

    fn ping(&self) -> io::Result<()> {
        Ok(())
    }

    fn url(&self, name: &str) -> String {
        name.to_owned()
    }

    fn properties(&self) -> Value {
        json!({})
    }
}

struct Object {
    store: HttpStore,
    url: String,
    size: u64,
    /// The answer to the first request, whose body is not used yet.
    whole: Mutex<Option<Body>>,
    cache: Cache,
}

impl ReadAt for Object {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.cache.read(buffer, offset, self.size, |part| {
            self.store.wait(async {
                let chunks: Vec<Bytes> = self.store.part(&self.url, part).await?.try_collect().await?;
                Ok(chunks.concat().into())
            })
        })
    }
}

impl Remote for Object {
    fn size(&self) -> u64 {
        self.size
    }

    fn stream(&self, part: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        let (store, url) = (self.store.clone(), self.url.clone());
        let whole = self.whole.lock().take().filter(|_| part == (0..self.size));
        pipe(&self.store.runtime, async move {
            match whole {
                Some(body) => Ok(bytes_of(body)),
                None if part.is_empty() => Ok(futures_util::stream::empty().boxed()),
                None => store.part(&url, part).await,
            }
        })
    }
}
