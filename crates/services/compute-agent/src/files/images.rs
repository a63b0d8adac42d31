//! The image cache: each image once, whole, verified and read-only.

use super::{directory, file_error, inspect};
use crate::store::Ledger;
use aws_lc_rs::digest;
use ferrostack_client::{ServiceClient, answer_error, transport_error};
use ferrostack_hypervisor::BaseImage;
use ferrostack_model::{Error, ErrorKind, Result, id, image::ImageSource};
use futures_util::StreamExt;
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};
use tokio::io::AsyncWriteExt;

/// Names of files that are not whole yet begin so.
const PARTIAL: &str = ".part-";
/// Hex digits of the checksum in a file's name.
const SUM_DIGITS: usize = 16;
/// Written to disk in pieces of so many bytes.
const WRITE_BUFFER: usize = 1 << 20;
/// An image used so lately is not removed.
const SAFE_AFTER_USE: Duration = Duration::from_secs(600);

/// Images on this host's disk.
pub struct Images {
    directory: PathBuf,
    limit: u64,
    client: ServiceClient,
    /// The image service, if not from the catalog.
    url: Option<String>,
    ledger: Ledger,
    /// Held while an image is found or removed.
    evicting: Arc<Mutex<()>>,
    /// One download per image at a time; whoever else wants it waits.
    flights: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// The file name of an image: its id and the beginning of its checksum, so that another content is another file.
pub fn file_name(source: &ImageSource) -> Result<String> {
    let is_sum = source.sha512.len() == 128 && source.sha512.bytes().all(|b| b.is_ascii_hexdigit());
    if !id::is_uuid_like(&source.id) || !is_sum {
        return Err(Error::bad_request(format!(
            "Image {} has no valid id and sha512 checksum.",
            source.id.chars().take(64).collect::<String>()
        )));
    }
    Ok(format!("{}-{}", source.id, source.sha512[..SUM_DIGITS].to_ascii_lowercase()))
}

impl Images {
    /// The cache in `directory` of at most `limit` bytes. Removes what downloads of an earlier process left.
    pub fn open(
        directory: PathBuf,
        limit: u64,
        client: ServiceClient,
        url: &str,
        ledger: Ledger,
    ) -> Result<Self> {
        // QEMU's user reads the images; nobody lists them.
        self::directory(&directory, 0o711)?;
        for entry in fs::read_dir(&directory).map_err(|e| file_error(&directory, e))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_file(entry.path()).map_err(|e| file_error(&entry.path(), e))?;
            }
        }
        let url = (!url.is_empty()).then(|| url.trim_end_matches('/').to_owned());
        Ok(Self {
            directory,
            limit,
            client,
            url,
            ledger,
            evicting: Arc::default(),
            flights: Mutex::default(),
        })
    }

    /// The base of a disk.
    pub async fn disk(&self, source: &ImageSource, request_id: Option<&str>) -> Result<BaseImage> {
        let path = self.file(source, request_id).await?;
        let (opened, format) = (path.clone(), source.disk_format.clone());
        let disk = blocking(move || {
            let mut file = fs::File::open(&opened).map_err(|e| file_error(&opened, e))?;
            inspect::disk(&mut file, &format)
        })
        .await?;
        Ok(BaseImage { path, format: disk.format.into(), virtual_size: disk.virtual_size })
    }

    /// Any image as a file: kernels and ramdisks.
    pub async fn file(&self, source: &ImageSource, request_id: Option<&str>) -> Result<PathBuf> {
        let name = file_name(source)?;
        let path = self.directory.join(&name);
        let flight = self.flight(&name);
        let _flight = flight.lock().await;
        if self.take(&path) {
            return Ok(path);
        }
        self.make_room(source.size).await?;
        let partial = Partial(self.directory.join(format!("{PARTIAL}{}", id::hex())));
        self.download(source, &partial.0, request_id).await?;
        let (from, to, directory) = (partial.0.clone(), path.clone(), self.directory.clone());
        let format = source.disk_format.clone();
        blocking(move || {
            // A kernel is whatever the boot loader takes; everything else is a disk.
            if !matches!(format.as_str(), "aki" | "ari") {
                inspect::disk(&mut fs::File::open(&from).map_err(|e| file_error(&from, e))?, &format)?;
            }
            fs::set_permissions(&from, fs::Permissions::from_mode(0o444))
                .map_err(|e| file_error(&from, e))?;
            fs::rename(&from, &to).map_err(|e| file_error(&to, e))?;
            let parent = fs::File::open(&directory).map_err(|e| file_error(&directory, e))?;
            parent.sync_all().map_err(|e| file_error(&directory, e))
        })
        .await?;
        Ok(path)
    }

    fn flight(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(name).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, f| f.strong_count() > 0);
        let flight = Arc::new(tokio::sync::Mutex::new(()));
        flights.insert(name.to_owned(), Arc::downgrade(&flight));
        flight
    }

    async fn download(&self, source: &ImageSource, to: &Path, request_id: Option<&str>) -> Result<()> {
        let base = match &self.url {
            Some(url) => url.clone(),
            None => self.client.endpoint("image").await?,
        };
        let url = format!("{base}/v2/images/{}/file", source.id);
        let response = self.client.send(Method::GET, &url, request_id, |r| r).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::NO_CONTENT => {
                return Err(Error::not_found(format!("Image {} has no data.", source.id)));
            }
            _ => return Err(answer_error(response).await),
        }
        let file = tokio::fs::File::create_new(to).await.map_err(|e| file_error(to, e))?;
        let mut file = tokio::io::BufWriter::with_capacity(WRITE_BUFFER, file);
        let mut sum = digest::Context::new(&digest::SHA512);
        let mut size: u64 = 0;
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            // A stream that ends too early is an error here as well: the image service may be restarting.
            let chunk = chunk.map_err(transport_error)?;
            size = size.saturating_add(chunk.len() as u64);
            if size > source.size {
                return Err(wrong(source, format!("more than {} bytes came", source.size)));
            }
            crate::metrics::DOWNLOADED.inc_by(chunk.len() as u64);
            sum.update(&chunk);
            file.write_all(&chunk).await.map_err(|e| file_error(to, e))?;
        }
        file.flush().await.map_err(|e| file_error(to, e))?;
        if size < source.size {
            return Err(Error::unavailable(format!("{url} ended after {size} of {} bytes", source.size)));
        }
        if hex::encode(sum.finish()) != source.sha512.to_ascii_lowercase() {
            return Err(wrong(source, "the sha512 checksum differs".into()));
        }
        file.get_ref().sync_all().await.map_err(|e| file_error(to, e))
    }

    /// Whether the image is there; if so it is safe from [`Self::make_room`] until its guest is in the ledger.
    fn take(&self, path: &Path) -> bool {
        let _evicting = self.evicting.lock();
        let there = path.is_file();
        if there {
            touch(path);
        }
        there
    }

    /// Names of the images that guests of this agent use or are about to use.
    async fn used(&self) -> Result<HashSet<String>> {
        let specs = self.ledger.wanted().await?;
        let sources = specs.iter().flat_map(|s| [Some(&s.image), s.kernel.as_ref(), s.ramdisk.as_ref()]);
        Ok(sources.flatten().filter_map(|s| file_name(s).ok()).collect())
    }

    /// Removes images that no guest uses, the longest unused first, until `size` more bytes fit. What is being
    /// downloaded is not counted: the limit is soft.
    async fn make_room(&self, size: u64) -> Result<()> {
        let (directory, limit, used) = (self.directory.clone(), self.limit, self.used().await?);
        let evicting = self.evicting.clone();
        blocking(move || make_room(&directory, limit, size, &used, &evicting)).await
    }
}

fn wrong(source: &ImageSource, detail: String) -> Error {
    Error::new(ErrorKind::BadRequest, format!("Image {} is not what was registered: {detail}.", source.id))
}

fn make_room(
    directory: &Path,
    limit: u64,
    size: u64,
    used: &HashSet<String>,
    evicting: &Mutex<()>,
) -> Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(|e| file_error(directory, e))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let (Ok(meta), false) = (entry.metadata(), name.starts_with(PARTIAL)) {
            files.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), name, entry.path()));
        }
    }
    let mut total = files.iter().map(|f| f.1).sum::<u64>().saturating_add(size);
    files.sort();
    for (_, bytes, name, path) in files {
        if total <= limit {
            break;
        }
        let _evicting = evicting.lock();
        if !used.contains(&name) && !used_lately(&path) {
            fs::remove_file(&path).map_err(|e| file_error(&path, e))?;
            tracing::info!(image = name, bytes, "unused image removed from the cache");
            total -= bytes;
        }
    }
    if total > limit {
        tracing::warn!(
            total,
            limit,
            "the image cache is above agent.image_cache_bytes: guests use all of it"
        );
    }
    Ok(())
}

/// Somebody may have found it just now and not be in the ledger we read.
fn used_lately(path: &Path) -> bool {
    let modified = path.metadata().and_then(|m| m.modified());
    modified.is_ok_and(|m| m.elapsed().is_ok_and(|e| e < SAFE_AFTER_USE))
}

/// The time of the last use; that it cannot be written only makes the choice of what to remove worse.
fn touch(path: &Path) {
    let touched = fs::File::open(path).and_then(|f| f.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(path = %path.display(), %error, "time of use not written");
    }
}

/// A file that goes away with this value, unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs what blocks where it may.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("file work: {e}")))?
}
