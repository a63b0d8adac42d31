//! Moves of fake guests: a disk is a word of content and a size.

use super::{FakeGuest, FakeHypervisor, Operation, absent};
use crate::{DiskFile, DiskReader, DiskSource, Guest, Hypervisor, Moves};
use async_trait::async_trait;
use ferrostack_model::{Error, Result, guest::WantedPower, server::PowerState};
use futures_util::TryStreamExt;
use std::sync::Arc;

/// The only disk of a fake guest.
const DISK: &str = "disk";
/// Longest content.
const LONGEST: usize = 4096;

impl FakeGuest {
    /// The root disk becomes as large as the flavor wants it, never smaller.
    fn grow(&mut self, guest: &Guest) {
        self.disk = self.disk.max(guest.spec.flavor.root_gb.saturating_mul(1 << 30));
    }
}

impl FakeHypervisor {
    /// What is on a guest's root disk.
    pub fn content(&self, server_id: &str) -> Option<String> {
        self.guests.lock().get(server_id).map(|g| g.content.clone())
    }

    /// Bytes of a guest's root disk.
    pub fn disk_bytes(&self, server_id: &str) -> Option<u64> {
        self.guests.lock().get(server_id).map(|g| g.disk)
    }

    /// Writes to a guest's root disk. `false` if there is no such guest.
    pub fn write_content(&self, server_id: &str, content: &str) -> bool {
        self.change(server_id, |guest| content.clone_into(&mut guest.content)).is_ok()
    }

    fn off(&self, server_id: &str) -> Result<FakeGuest> {
        let guest = self.guests.lock().get(server_id).cloned().ok_or_else(|| absent(server_id))?;
        if guest.power == PowerState::Shutdown {
            return Ok(guest);
        }
        Err(Error::conflict("The guest's disks cannot be moved while it runs."))
    }
}

fn bytes(guest: &FakeGuest) -> String {
    format!("{}\n{}", guest.disk, guest.content)
}

#[async_trait]
impl Moves for FakeHypervisor {
    async fn disks(&self, server_id: &str) -> Result<Vec<DiskFile>> {
        let bytes = bytes(&self.off(server_id)?);
        Ok(vec![DiskFile { name: DISK.into(), bytes: bytes.len() as u64, stamp: bytes }])
    }

    async fn open_disk(&self, server_id: &str, name: &str) -> Result<Box<dyn DiskReader>> {
        let guest = self.off(server_id)?;
        if name != DISK {
            return Err(Error::not_found("The guest has no such disk."));
        }
        Ok(Box::new(std::io::Cursor::new(bytes(&guest).into_bytes())))
    }

    async fn receive(&self, guest: &Guest, source: Arc<dyn DiskSource>) -> Result<PowerState> {
        let after = self.before(Operation::Move).await?;
        let id = guest.spec.server_id.as_str();
        let unreadable = || Error::bad_request("The other host's disk cannot be read.");
        let disks = source.disks().await?;
        let disk = disks.iter().find(|d| d.name == DISK).ok_or_else(unreadable)?;
        let mut read = Vec::new();
        let mut stream = source.read(disk);
        while let Some(part) = stream.try_next().await? {
            read.extend_from_slice(&part);
            if read.len() > LONGEST {
                return Err(unreadable());
            }
        }
        let text = String::from_utf8(read).map_err(|_| unreadable())?;
        let (size, content) = text.split_once('\n').ok_or_else(unreadable)?;
        let size = size.parse().map_err(|_| unreadable())?;
        let mut made = guest.clone();
        made.spec.power = WantedPower::Stopped;
        self.ensure(&made).await?;
        self.change(id, |known| {
            (known.disk, known.content) = (size, content.to_owned());
            known.grow(guest);
        })?;
        let power = self.ensure(guest).await?;
        self.after(after, power).await
    }

    async fn resize(&self, guest: &Guest) -> Result<PowerState> {
        let after = self.before(Operation::Move).await?;
        self.change(&guest.spec.server_id, |known| {
            if known.power != PowerState::Shutdown {
                known.off();
            }
            known.kept.get_or_insert_with(|| (known.disk, known.content.clone()));
            known.grow(guest);
        })?;
        let power = self.ensure(guest).await?;
        self.after(after, power).await
    }

    async fn revert(&self, guest: &Guest) -> Result<PowerState> {
        let after = self.before(Operation::Move).await?;
        self.change(&guest.spec.server_id, |known| {
            if let Some((disk, content)) = known.kept.take() {
                if known.power != PowerState::Shutdown {
                    known.off();
                }
                (known.disk, known.content) = (disk, content);
            }
        })?;
        let power = self.ensure(guest).await?;
        self.after(after, power).await
    }

    async fn forget(&self, server_id: &str) -> Result<()> {
        let after = self.before(Operation::Move).await?;
        match self.change(server_id, |known| known.kept = None) {
            Err(error) if error.kind != ferrostack_model::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.after(after, ()).await
    }
}
