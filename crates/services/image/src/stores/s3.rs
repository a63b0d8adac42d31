//! A bucket behind the S3 protocol, through `object_store`.
//!
//! Small objects are sent at once, larger ones in parts of which some are under way at a time; an object appears when
//! the last is there. Parts that never became an object are found by [`Uploads`] and count as begun objects.

mod sending;
mod uploads;

use super::{Opened, Remote, Store, Writer, cache::Cache, is_ours, pipe::pipe};
use crate::inspect::ReadAt;
use bytes::Bytes;
use ferrostack_settings::ImageStore;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use sending::Sending;
use serde_json::{Value, json};
use std::{collections::HashSet, future::Future, io, ops::Range, sync::Arc, time::Duration};
use tokio::runtime::Handle;
use uploads::Uploads;
use url::Url;

/// Bytes of a part unless the settings say otherwise.
const PART: u64 = 8 << 20;
/// S3's smallest part.
const SMALLEST_PART: u64 = 5 << 20;
/// Parts of an object that are under way at once.
const PARALLEL: usize = 3;
/// How long the store may take to say that it is there.
const PING: Duration = Duration::from_secs(10);

struct Bucket {
    s3: AmazonS3,
    uploads: Uploads,
    /// Where everything happens, whatever thread asks: connections live as long as the process.
    runtime: Handle,
    prefix: String,
    /// Of the bucket, without secrets.
    base: Url,
    part: u64,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct S3Store(Arc<Bucket>);

impl S3Store {
    /// Reads the settings and the credentials; nothing is sent yet. The error is for the operator.
    pub fn open(settings: &ImageStore) -> Result<Self, String> {
        let runtime = Handle::try_current().map_err(|e| e.to_string())?;
        let bucket = settings.bucket.as_deref().filter(|b| !b.is_empty()).ok_or("needs a bucket")?;
        let region = settings.region.as_deref().unwrap_or("us-east-1");
        let base = base(settings, bucket, region)?;
        let prefix = settings.prefix.clone().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if !prefix.chars().all(plain)
            || prefix.starts_with('/')
            || prefix.contains("//")
            || prefix.contains("..")
        {
            return Err("the prefix has letters, digits and -_./ only, and does not begin with /".into());
        }
        let part = if settings.part_bytes == 0 { PART } else { settings.part_bytes };
        if part < SMALLEST_PART {
            return Err(format!("part_bytes must be {SMALLEST_PART} at least"));
        }
        let options = ClientOptions::new()
            .with_allow_http(base.scheme() == "http")
            .with_connect_timeout(Duration::from_secs(10))
            .with_timeout(Duration::from_secs(300));
        let mut builder = match &settings.access_key_id {
            None => AmazonS3Builder::from_env(),
            Some(id) => {
                let file = settings.secret_access_key_file.as_ref();
                let file = file.ok_or("access_key_id needs a secret_access_key_file")?;
                let secret = std::fs::read_to_string(file)
                    .map_err(|e| format!("secret_access_key_file {}: {e}", file.display()))?;
                AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret.trim())
            }
        };
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let s3 = builder
            .with_bucket_name(bucket)
            .with_region(region)
            .with_virtual_hosted_style_request(settings.virtual_hosted)
            .with_client_options(options.clone())
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..Default::default() },
                max_retries: 4,
                retry_timeout: Duration::from_secs(60),
            })
            .build()
            .map_err(|e| e.to_string())?;
        let uploads = Uploads::new(&s3, &options, &base, region)?;
        Ok(Self(Arc::new(Bucket { s3, uploads, runtime, prefix, base, part })))
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.runtime.block_on(work)
    }

    fn key(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.0.prefix))
    }

    /// The object's name if the key is one of ours.
    fn name(&self, key: &str) -> Option<String> {
        key.strip_prefix(self.0.prefix.as_str()).filter(|name| is_ours(name)).map(str::to_owned)
    }

    async fn get(&self, name: &str, part: Range<u64>) -> io::Result<Bytes> {
        self.0.s3.get_range(&self.key(name), part).await.map_err(failed)
    }
}

/// The bucket's URL.
fn base(settings: &ImageStore, bucket: &str, region: &str) -> Result<Url, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !bucket.chars().all(plain) || !region.chars().all(plain) {
        return Err("bucket and region have letters, digits and -._ only".into());
    }
    let text = match (&settings.endpoint, settings.virtual_hosted) {
        (Some(endpoint), true) => endpoint.clone(),
        (Some(endpoint), false) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
    };
    let url = Url::parse(&text).map_err(|e| format!("endpoint: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err("the endpoint is an http or https URL without a user".into());
    }
    Ok(url)
}

/// What the crate says, in terms of files: its text names the URL, and no secret.
fn failed(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        other => {
            let text = other.to_string();
            let full = ["QuotaExceeded", "StorageFull", "507 Insufficient"];
            if full.iter().any(|word| text.contains(word)) {
                io::ErrorKind::StorageFull
            } else {
                io::ErrorKind::Other
            }
        }
    };
    io::Error::new(kind, error)
}

impl Store for S3Store {
    fn create(&self, name: &str) -> io::Result<Box<dyn Writer>> {
        Ok(Box::new(Sending::new(self.clone(), name)))
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        let meta = self.wait(self.0.s3.head(&self.key(name))).map_err(failed)?;
        Ok(Opened::Remote(Box::new(Object::new(self.clone(), name, meta.size))))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let key = self.key(name);
        self.wait(async {
            match self.0.s3.delete(&key).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
            for upload in self.0.uploads.list(key.as_ref()).await? {
                if upload.key == key.as_ref() {
                    self.0.uploads.abort(&self.0.s3, &upload).await?;
                }
            }
            Ok(())
        })
    }

    fn list(&self) -> io::Result<HashSet<String>> {
        self.wait(async {
            let mut names = HashSet::new();
            // A prefix of the crate ends with a slash, ours may be part of a name.
            let folder = self.0.prefix.rsplit_once('/').map(|(folder, _)| Path::from(folder));
            let mut objects = self.0.s3.list(folder.as_ref());
            while let Some(object) = objects.next().await {
                names.extend(self.name(object.map_err(failed)?.location.as_ref()));
            }
            for upload in self.0.uploads.list(&self.0.prefix).await? {
                names.extend(self.name(&upload.key));
            }
            Ok(names)
        })
    }

    fn ping(&self) -> io::Result<()> {
        let probe = self.key("ping");
        let answer = self.wait(async { tokio::time::timeout(PING, self.0.s3.head(&probe)).await });
        match answer {
            Ok(Ok(_) | Err(Error::NotFound { .. })) => Ok(()),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn url(&self, name: &str) -> String {
        format!("s3+{}/{}{name}", self.0.base.as_str().trim_end_matches('/'), self.0.prefix)
    }

    fn properties(&self) -> Value {
        json!({
            "s3_store_large_object_size": self.0.part >> 20,
            "s3_store_large_object_chunk_size": self.0.part >> 20,
            "s3_store_thread_pools": PARALLEL,
        })
    }
}

/// A whole object in the bucket.
struct Object {
    store: S3Store,
    name: String,
    size: u64,
    cache: Cache,
}

impl Object {
    fn new(store: S3Store, name: &str, size: u64) -> Self {
        Self { store, name: name.to_owned(), size, cache: Cache::default() }
    }
}

impl ReadAt for Object {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.cache.read(buffer, offset, self.size, |part| self.store.wait(self.store.get(&self.name, part)))
    }
}

impl Remote for Object {
    fn size(&self) -> u64 {
        self.size
    }

    fn stream(&self, part: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
        let (store, key) = (self.store.clone(), self.store.key(&self.name));
        pipe(&self.store.0.runtime, async move {
            if part.is_empty() {
                return Ok(stream::empty().boxed());
            }
            let options = GetOptions { range: Some(part.into()), ..Default::default() };
            let got = store.0.s3.get_opts(&key, options).await.map_err(failed)?;
            Ok(got.into_stream().map_err(failed).boxed())
        })
    }
}
