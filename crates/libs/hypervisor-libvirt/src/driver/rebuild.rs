//! Rebuilds: the domain goes with all that libvirt keeps for it, the disks are removed, and the guest is made again.

use super::{LibvirtHypervisor, Shared};
use crate::guests;
use async_trait::async_trait;
use ferrostack_hypervisor::{Guest, Rebuilds};
use ferrostack_model::server::PowerState;
use ferrostack_model::{Error, Result};

impl Shared {
    async fn rebuild(&self, guest: &Guest, id: &str, preserve_ephemeral: bool) -> Result<PowerState> {
        let (domain, instances, generation) = (id.to_owned(), self.instances.clone(), guest.spec.generation);
        // Firmware variables and memory on disk belong to what was installed before.
        let gone = self
            .connection
            .call(format!("removing guest {id} before its rebuild"), move |connect| {
                let Some(domain) = guests::find(connect, &domain)? else { return Ok(true) };
                let mark = guests::mark(&domain, instances.root())?.ok_or_else(|| {
                    Error::conflict("A domain with the server's id exists that is not ours.")
                })?;
                if mark.generation > generation {
                    return Ok(false);
                }
                guests::plug(&domain)?;
                guests::undefine(&domain)?;
                Ok(true)
            })
            .await?;
        // If a newer spec is in force, ensure leaves it alone as well.
        if gone {
            let files = self.files(id)?;
            files.prepare()?;
            tokio::task::spawn_blocking(move || files.wipe(preserve_ephemeral))
                .await
                .map_err(|e| Error::internal(format!("removing disks: {e}")))??;
        }
        self.ensure(guest, id).await
    }
}

#[async_trait]
impl Rebuilds for LibvirtHypervisor {
    async fn rebuild(&self, guest: &Guest, preserve_ephemeral: bool) -> Result<PowerState> {
        let guest = guest.clone();
        self.run(&guest.spec.server_id.clone(), |shared, id| async move {
            shared.rebuild(&guest, &id, preserve_ephemeral).await
        })
        .await
    }
}
