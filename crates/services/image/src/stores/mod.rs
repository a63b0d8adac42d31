//! Where image data lies: one trait, its back ends, and the registry of those that are configured.
//!
//! Objects are named `<image id>.<token>` in every store. Which of them count is said by the database alone: what
//! it does not name is swept.

mod cache;
pub mod file;
mod http;
mod pipe;
mod registry;
mod s3;

pub use file::FileStore;
pub use http::HttpStore;
pub use registry::{Backend, Stores};
pub use s3::S3Store;

use crate::{inspect::ReadAt, store::location::Claim};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use serde_json::Value;
use std::{collections::HashSet, fs::File, io, ops::Range, os::unix::fs::FileExt};

/// What a store is, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    File,
    /// A bucket behind the S3 protocol.
    S3,
    /// Whatever a URL names; only read.
    Http,
}

impl Kind {
    /// As in the settings and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Http => "http",
        }
    }
    /// Whether nothing can be put there.
    pub fn read_only(self) -> bool {
        self == Self::Http
    }
}

/// A back end. All calls block: they are made on blocking threads.
pub trait Store: Send + Sync + 'static {
    /// Begins an object. Nothing has its name before [`Writer::publish`], but [`Store::list`] shows it.
    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>>;
    /// Opens a finished object; `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Opened>;
    /// Removes an object, finished or begun; it is fine if there is none.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names of all objects of ours, finished or begun. What others put there is never touched.
    fn list(&self) -> io::Result<HashSet<String>>;
    /// Whether the store can be reached.
    fn ping(&self) -> io::Result<()>;
    /// What the API calls the place of an object. Holds no secret. Does not block.
    fn url(&self, name: &str) -> String;
    /// What administrators are told about the store. Holds no secret. Does not block.
    fn properties(&self) -> Value;
}

/// An object that grows. Dropped before it is published, it may leave something that the sweep finds.
pub trait Writer: Send {
    /// Appends `batch`.
    fn write(&mut self, batch: &[Bytes]) -> io::Result<()>;
    /// Makes what was written durable and gives it its name.
    fn publish(self: Box<Self>) -> io::Result<Opened>;
}

/// An object elsewhere. [`ReadAt`] blocks.
pub trait Remote: ReadAt + Send + Sync {
    /// Bytes.
    fn size(&self) -> u64;
    /// The bytes `part` in order. An error ends the stream.
    fn stream(&self, part: Range<u64>) -> BoxStream<'static, io::Result<Bytes>>;
}

/// An object opened for reading.
pub enum Opened {
    /// A file of ours, and its bytes: read at places, and in any way the kernel offers.
    File(File, u64),
    /// Something elsewhere.
    Remote(Box<dyn Remote>),
}

impl Opened {
    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(_, size) => *size,
            Self::Remote(remote) => remote.size(),
        }
    }
}

impl ReadAt for Opened {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file, _) => FileExt::read_exact_at(file, buffer, offset),
            Self::Remote(remote) => remote.read_exact_at(buffer, offset),
        }
    }
}

/// The name of the object that `token` writes for an image.
pub fn object_name(image_id: &str, token: &str) -> String {
    format!("{image_id}.{token}")
}

/// Which of `names` no record and no upload knows.
pub fn orphans(names: HashSet<String>, claims: &[Claim]) -> Vec<String> {
    let wanted: HashSet<String> = claims.iter().flat_map(Claim::names).collect();
    names.into_iter().filter(|name| !wanted.contains(name)).collect()
}

/// `<uuid>.<32 hex digits>`
pub fn is_ours(name: &str) -> bool {
    name.split_once('.').is_some_and(|(id, token)| {
        id.len() == 36
            && uuid::Uuid::try_parse(id).is_ok()
            && token.len() == 32
            && token.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: &str = "70a599e0-31e7-49b7-b260-868f441e862b";

    #[test]
    fn only_objects_without_a_claim_are_orphans() {
        let name = |c: char| object_name(ID, &c.to_string().repeat(32));
        let claim = |file: Option<char>, token: Option<char>| Claim {
            image_id: ID.into(),
            name: file.map(name),
            token: token.map(|c| c.to_string().repeat(32)),
        };
        let claims = [claim(Some('a'), None), claim(None, Some('b')), claim(Some('e'), Some('f'))];
        let there = ['a', 'b', 'c', 'd', 'e', 'f'].map(name).into_iter().collect();
        let mut orphans = orphans(there, &claims);
        orphans.sort();
        assert_eq!(orphans, [name('c'), name('d')]);
    }

    #[test]
    fn names_of_ours() {
        assert!(is_ours(&object_name(ID, &"a".repeat(32))));
        for other in ["README", "a.b", ID, &format!("{ID}."), &format!("{ID}.{}", "g".repeat(32))] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
