//! Snapshots on their way to the image service: files that never outlive their order.

use super::{directory, file_error};
use ferrostack_client::{ImageRecord, ServiceClient, image_has, image_record, upload_image};
use ferrostack_model::{Error, ErrorKind, Result, id};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

/// How long an upload is tried again while the image service does not take it.
const PATIENCE: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The directory of snapshots, and where they go.
pub struct Snapshots {
    directory: PathBuf,
    client: ServiceClient,
    /// The image service, if not from the catalog.
    url: Option<String>,
}

/// A snapshot's file; it goes away with this value, and with it everything that was made beside it.
pub struct SnapshotFile {
    path: PathBuf,
}

impl SnapshotFile {
    /// Where the hypervisor writes it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name()) {
            remove(directory, &name.to_string_lossy());
        }
    }
}

/// Removes what is named so, or so with a dot and more behind it.
fn remove(directory: &Path, name: &str) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        if (found == name || found.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
            && let Err(error) = fs::remove_file(entry.path())
        {
            // The next start sweeps it.
            tracing::warn!(file = %entry.path().display(), %error, "snapshot file not removed");
        }
    }
}

impl Snapshots {
    /// The directory below the agent's state, empty: what is in it was left by a process that is dead.
    pub fn open(path: PathBuf, client: ServiceClient, url: &str) -> Result<Self> {
        // QEMU's user passes through to its file; nobody lists them.
        directory(&path, 0o711)?;
        for entry in fs::read_dir(&path).map_err(|e| file_error(&path, e))?.flatten() {
            tracing::info!(file = %entry.path().display(), "snapshot of an earlier process removed");
            fs::remove_file(entry.path()).map_err(|e| file_error(&entry.path(), e))?;
        }
        let url = (!url.is_empty()).then(|| url.to_owned());
        Ok(Self { directory: path, client, url })
    }

    /// A name nobody else has.
    pub fn file(&self) -> SnapshotFile {
        SnapshotFile { path: self.directory.join(id::hex()) }
    }

    async fn base(&self) -> Result<String> {
        match &self.url {
            Some(url) => Ok(url.clone()),
            None => self.client.endpoint("image").await,
        }
    }

    /// The image that gets the data.
    pub async fn image(&self, image_id: &str, request_id: Option<&str>) -> Result<ImageRecord> {
        if !id::is_uuid_like(image_id) {
            return Err(Error::bad_request("The image's id is not a UUID."));
        }
        image_record(&self.client, &self.base().await?, image_id, request_id)
            .await
            .map_err(|e| gone(e, image_id))
    }

    /// Sends the file, again where the service was away or an earlier upload is not yet given up there, until the
    /// image is active with exactly these data.
    pub async fn upload(&self, image_id: &str, file: &SnapshotFile, request_id: Option<&str>) -> Result<()> {
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.try_upload(image_id, file, request_id).await {
                Ok(()) => return Ok(()),
                Err(error) => gone(error, image_id),
            };
            let again = error.kind.retryable() || error.kind == ErrorKind::Conflict;
            if !again || begin.elapsed() > PATIENCE {
                return Err(error);
            }
            tracing::warn!(image = image_id, request_id, error = error.for_log(), "upload is tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_upload(&self, image_id: &str, file: &SnapshotFile, request_id: Option<&str>) -> Result<()> {
        let base = self.base().await?;
        let error = match upload_image(&self.client, &base, image_id, file.path(), request_id).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // The answer to an upload that succeeded may have been lost.
        if error.kind != ErrorKind::NotFound
            && image_has(&self.client, &base, image_id, file.path(), request_id).await?
        {
            return Ok(());
        }
        Err(error)
    }
}

/// The image service answers in many words that there is no such image.
fn gone(error: Error, image_id: &str) -> Error {
    if error.kind != ErrorKind::NotFound {
        return error;
    }
    let log = error.for_log();
    Error::not_found(format!("Image {image_id} could not be found.")).with_internal(log)
}
