//! Bit rot: the bytes of a whole image are compared with its hash on their way to the client.
//!
//! The last block is held back until the hash of all is known, so that wrong bytes never make a complete answer.

use crate::{image::Image, store::location};
use aws_lc_rs::digest;
use bytes::Bytes;
use ferrostack_db::Db;
use ferrostack_model::Timestamp;
use futures_util::{
    StreamExt, stream,
    stream::{BoxStream, Fuse},
};
use md5::{Digest, Md5};
use prometheus::IntCounter;
use std::{io, sync::LazyLock};
use tokio::task::JoinHandle;

/// A way that the bytes of images take through the service.
pub struct Way {
    /// What users call it.
    pub name: &'static str,
    /// What the sha512 of the bytes is compared with.
    pub compared_with: &'static str,
    /// Where the bytes are read, below `src`.
    pub sources: &'static [&'static str],
}

/// Every way, and where the hash is compared on it. One that is not here fails a test, which tries each of these.
pub const WAYS: &[Way] = &[
    Way { name: "download", compared_with: "the image's hash", sources: &["download.rs"] },
    Way {
        name: "glance-direct",
        compared_with: "the hash of what was staged",
        sources: &["jobs/import/check.rs", "jobs/import/store.rs"],
    },
    Way {
        name: "unpacked on import",
        compared_with: "the hash of what was staged",
        sources: &["jobs/import/convert.rs"],
    },
    Way {
        name: "converted on import",
        compared_with: "the hash of what was staged, by the step before",
        sources: &["jobs/import/check.rs", "jobs/import/convert.rs"],
    },
    Way {
        name: "web-download",
        compared_with: "nothing as it comes: the web has no hashes. From then on the hash of what came",
        sources: &["jobs/import/fetch.rs", "jobs/import/check.rs"],
    },
    Way {
        name: "glance-download",
        compared_with: "the hash in the other cloud's record",
        sources: &["jobs/import/fetch.rs", "jobs/import/remote.rs"],
    },
    Way { name: "copy-image", compared_with: "the image's hash", sources: &["jobs/import/store.rs"] },
    Way {
        name: "location",
        compared_with: "the hash that its owner says",
        sources: &["jobs/location.rs", "locations.rs"],
    },
];

/// Copies of images that were found damaged by this process.
static DAMAGED: LazyLock<IntCounter> = LazyLock::new(|| {
    let made = IntCounter::new(
        "ferrostack_image_damaged_total",
        "Copies of images whose bytes were not the image's.",
    );
    #[allow(clippy::expect_used)] // a fixed name
    let counter = made.expect("metric name");
    // A second registration (tests) would be refused; the counter counts all the same.
    let _ = prometheus::default_registry().register(Box::new(counter.clone()));
    counter
});

/// A hash that grows.
pub enum Hasher {
    /// SHA-2, or SHA-1 of an old record.
    Digest(digest::Context),
    /// Where there is nothing better.
    Md5(Md5),
}

impl Hasher {
    /// The hash of this name: `sha512`, `sha384`, `sha256`, `sha1` or `md5`.
    pub fn new(name: &str) -> Option<Self> {
        let algorithm = match name {
            "sha512" => &digest::SHA512,
            "sha384" => &digest::SHA384,
            "sha256" => &digest::SHA256,
            "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            "md5" => return Some(Self::Md5(Md5::new())),
            _ => return None,
        };
        Some(Self::Digest(digest::Context::new(algorithm)))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Digest(context) => context.update(bytes),
            Self::Md5(md5) => md5.update(bytes),
        }
    }

    /// The hash of all, hex.
    pub fn finish(self) -> String {
        match self {
            Self::Digest(context) => hex::encode(context.finish()),
            Self::Md5(md5) => hex::encode(md5.finalize()),
        }
    }
}

/// What the bytes of a location have to be.
pub struct Check {
    db: Db,
    image_id: String,
    location_id: String,
    store: String,
    algorithm: String,
    hash: String,
}

impl Check {
    /// The check for a location of `image`; `None` if nobody knows a hash.
    pub fn new(db: &Db, image: &Image, location: &location::Location) -> Option<Self> {
        let ours = image.os_hash_algo.as_deref().zip(image.os_hash_value.as_deref());
        let known = ours.filter(|(algorithm, _)| Hasher::new(algorithm).is_some());
        let (algorithm, hash) = known.or_else(|| Some(("md5", image.checksum.as_deref()?)))?;
        Some(Self {
            db: db.clone(),
            image_id: image.id.clone(),
            location_id: location.id.clone(),
            store: location.store.clone(),
            algorithm: algorithm.to_owned(),
            hash: hash.to_owned(),
        })
    }

    fn hasher(&self) -> Hasher {
        Hasher::new(&self.algorithm).unwrap_or_else(|| Hasher::Md5(Md5::new()))
    }

    /// Compares; what differs is logged, counted and noted with the location.
    async fn end(&self, found: &str) -> io::Result<()> {
        if self.hash.eq_ignore_ascii_case(found) {
            return Ok(());
        }
        damaged(&self.db, &self.image_id, &self.store, &self.location_id, "its hash is another").await;
        Err(io::Error::new(io::ErrorKind::InvalidData, "the stored data is damaged"))
    }

    /// Compares bytes in memory.
    pub async fn all(&self, blocks: &[Bytes]) -> io::Result<()> {
        let mut hasher = self.hasher();
        for block in blocks {
            hasher.update(block);
        }
        self.end(&hasher.finish()).await
    }
}

/// Logs, counts and notes that a location does not hold the image's bytes.
pub async fn damaged(db: &Db, image_id: &str, store: &str, location_id: &str, why: &str) {
    DAMAGED.inc();
    tracing::error!(image = image_id, store, location = location_id, why, "the stored data is damaged");
    if let Err(error) = location::set_damaged(db, location_id, Timestamp::now()).await {
        tracing::warn!(location = location_id, error = error.for_log(), "damage not noted");
    }
}

struct State {
    /// Is asked once more after its end.
    blocks: Fuse<BoxStream<'static, io::Result<Bytes>>>,
    /// `None` when the stream has ended.
    hashing: Option<JoinHandle<Hasher>>,
    held: Option<Bytes>,
    check: Check,
}

impl State {
    async fn hash(&mut self, block: Bytes) -> io::Result<()> {
        let mut hasher = match self.hashing.take() {
            Some(before) => before.await.map_err(io::Error::other)?,
            None => self.check.hasher(),
        };
        self.hashing = Some(tokio::task::spawn_blocking(move || {
            hasher.update(&block);
            hasher
        }));
        Ok(())
    }

    /// The next block that may go to the client.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            match self.blocks.next().await {
                Some(Ok(block)) => {
                    if let Err(error) = self.hash(block.clone()).await {
                        return Some(Err(error));
                    }
                    if let Some(before) = self.held.replace(block) {
                        return Some(Ok(before));
                    }
                }
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    let last = self.held.take()?;
                    return Some(self.end().await.map(|()| last));
                }
            }
        }
    }

    async fn end(&mut self) -> io::Result<()> {
        let Some(hashing) = self.hashing.take() else { return Ok(()) };
        let hasher = hashing.await.map_err(io::Error::other)?;
        self.check.end(&hasher.finish()).await
    }
}

/// The blocks of a whole image as they come; an error instead of the last one if they are not the image's. A block
/// is hashed on a blocking thread while the one before it is sent.
pub fn checked(
    blocks: BoxStream<'static, io::Result<Bytes>>,
    check: Check,
) -> BoxStream<'static, io::Result<Bytes>> {
    let state = State { blocks: blocks.fuse(), hashing: None, held: None, check };
    stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        let item = state.next().await?;
        let more = item.is_ok().then_some(state);
        Some((item, more))
    })
    .boxed()
}
