//! Disks of guests on their way to another host or another size.

use crate::{Guest, unsupported};
use async_trait::async_trait;
use bytes::Bytes;
use ferrostack_model::{Result, server::PowerState};
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncSeek};

/// A file of a guest's disk as the host that keeps it names it. The name is a word both drivers know, never a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFile {
    /// `disk`, `disk.eph0`, …
    pub name: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Differs once the file may have changed.
    pub stamp: String,
}

/// A disk file that is read from anywhere in it.
pub trait DiskReader: AsyncRead + AsyncSeek + Send + Unpin {}
impl<T: AsyncRead + AsyncSeek + Send + Unpin> DiskReader for T {}

/// The disks of a guest on another host, as its agent gives them out.
#[async_trait]
pub trait DiskSource: Send + Sync + 'static {
    /// The files.
    async fn disks(&self) -> Result<Vec<DiskFile>>;
    /// The bytes of one, verified, in order, exactly as many as it has; an error ends the stream.
    fn read(&self, disk: &DiskFile) -> BoxStream<'static, Result<Bytes>>;
}

/// Cold moves. What a driver does not override it does not support.
#[async_trait]
pub trait Moves: Send + Sync + 'static {
    /// The disk files of a guest that is off. `Conflict` while it runs, `NotFound` if there is none.
    async fn disks(&self, _server_id: &str) -> Result<Vec<DiskFile>> {
        Err(unsupported("moving disks"))
    }

    /// One of them. `Conflict` while the guest runs, `NotFound` if there is no such file.
    async fn open_disk(&self, _server_id: &str, _name: &str) -> Result<Box<dyn DiskReader>> {
        Err(unsupported("moving disks"))
    }

    /// Makes the guest with the disks of `source`, grown to its flavor. Dropping the call ends the copying; what it
    /// leaves is removed by [`crate::Hypervisor::destroy`] or taken up again by another call.
    async fn receive(&self, _guest: &Guest, _source: Arc<dyn DiskSource>) -> Result<PowerState> {
        Err(unsupported("moving disks"))
    }

    /// Gives a guest, which it shuts off if need be, another size; its disks are kept aside as they were.
    async fn resize(&self, _guest: &Guest) -> Result<PowerState> {
        Err(unsupported("resizing"))
    }

    /// Takes [`Self::resize`] back: the kept disks are the guest's again, with all that was on them.
    async fn revert(&self, _guest: &Guest) -> Result<PowerState> {
        Err(unsupported("resizing"))
    }

    /// Removes the kept disks. Success if there are none.
    async fn forget(&self, _server_id: &str) -> Result<()> {
        Err(unsupported("resizing"))
    }
}
