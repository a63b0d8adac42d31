//! Cold moves: disks given out, received, resized in place, taken back.

use super::{LibvirtHypervisor, Shared};
use crate::definition;
use crate::files::canonical_id;
use crate::{guests, moves, power};
use async_trait::async_trait;
use ferrostack_hypervisor::{DiskFile, DiskReader, DiskSource, Guest, Moves};
use ferrostack_model::server::PowerState;
use ferrostack_model::{Error, ErrorKind, Result};
use std::sync::Arc;

impl Shared {
    /// 409 while the guest runs, 404 if it is not defined here.
    async fn off(&self, id: &str) -> Result<()> {
        if self.is_active(id).await? {
            return Err(Error::conflict("The guest's disks cannot be moved while it runs."));
        }
        Ok(())
    }

    /// The generation of our guest here, and its power.
    async fn defined_at(&self, id: &str) -> Result<Option<(i64, PowerState)>> {
        let (domain, instances) = (id.to_owned(), self.instances.clone());
        self.connection
            .call(format!("looking for guest {id}"), move |connect| {
                let Some(domain) = guests::find(connect, &domain)? else { return Ok(None) };
                let mark = guests::mark(&domain, instances.root())?.ok_or_else(|| {
                    Error::conflict("A domain with the server's id exists that is not ours.")
                })?;
                Ok(Some((mark.generation, power::of_domain(&domain)?)))
            })
            .await
    }

    async fn plug_if_there(&self, id: &str) -> Result<()> {
        match self.plug(id).await {
            Err(e) if e.kind != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    async fn resize(&self, guest: &Guest, id: &str) -> Result<PowerState> {
        if let Some((generation, power)) = self.defined_at(id).await?
            && generation > guest.spec.generation
        {
            return Ok(power);
        }
        definition::Hardware::of(&guest.spec, &self.traits)?;
        self.plug(id).await?;
        let files = self.files(id)?;
        files.prepare()?;
        moves::keep(&files).await?;
        moves::grow(guest, &files).await?;
        self.ensure(guest, id).await
    }

    async fn revert(&self, guest: &Guest, id: &str) -> Result<PowerState> {
        let files = self.files(id)?;
        if moves::are_kept(&files) {
            self.plug_if_there(id).await?;
            moves::put_back(&files)?;
        }
        self.ensure(guest, id).await
    }
}

#[async_trait]
impl Moves for LibvirtHypervisor {
    async fn disks(&self, server_id: &str) -> Result<Vec<DiskFile>> {
        let id = canonical_id(server_id)?;
        self.shared.off(&id).await?;
        moves::list(&self.shared.files(&id)?)
    }

    async fn open_disk(&self, server_id: &str, name: &str) -> Result<Box<dyn DiskReader>> {
        let id = canonical_id(server_id)?;
        self.shared.off(&id).await?;
        Ok(Box::new(moves::open(&self.shared.files(&id)?, name).await?))
    }

    async fn receive(&self, guest: &Guest, source: Arc<dyn DiskSource>) -> Result<PowerState> {
        let (shared, id) = (&self.shared, canonical_id(&guest.spec.server_id)?);
        // What is impossible is refused before anything is copied.
        definition::Hardware::of(&guest.spec, &shared.traits)?;
        let standing = shared.defined_at(&id).await?;
        if standing.is_none_or(|(generation, _)| generation < guest.spec.generation) {
            {
                let _lock = shared.guests.lock(&id).await;
                shared.plug_if_there(&id).await?;
                shared.files(&id)?.prepare()?;
            }
            // Not under the guest's lock and not to its end: a destroy must not wait for a copy.
            moves::fetch(guest, &shared.files(&id)?, &*source).await?;
        }
        let guest = guest.clone();
        self.run(&id, |shared, id| async move {
            if shared.defined_at(&id).await?.is_none_or(|(generation, _)| generation < guest.spec.generation)
            {
                moves::grow(&guest, &shared.files(&id)?).await?;
            }
            shared.ensure(&guest, &id).await
        })
        .await
    }

    async fn resize(&self, guest: &Guest) -> Result<PowerState> {
        let (guest, id) = (guest.clone(), guest.spec.server_id.clone());
        self.run(&id, |shared, id| async move { shared.resize(&guest, &id).await }).await
    }

    async fn revert(&self, guest: &Guest) -> Result<PowerState> {
        let (guest, id) = (guest.clone(), guest.spec.server_id.clone());
        self.run(&id, |shared, id| async move { shared.revert(&guest, &id).await }).await
    }

    async fn forget(&self, server_id: &str) -> Result<()> {
        self.run(server_id, |shared, id| async move { moves::forget(&shared.files(&id)?) }).await
    }
}
