//! Guests into and out of rescue.

use super::Shared;
use crate::files::GuestFiles;
use crate::xml::metadata::GuestMeta;
use crate::{definition, disks, guests, power};
use ferrostack_hypervisor::{BaseImage, Guest, Rescue};
use ferrostack_model::guest::WantedPower;
use ferrostack_model::server::PowerState;
use ferrostack_model::{Error, Result};

impl Shared {
    /// The power state of a guest that runs with a file whose path holds `part`, or, if not `with`, without any such.
    async fn runs(&self, id: &str, part: String, with: bool) -> Result<Option<PowerState>> {
        let domain = id.to_owned();
        self.connection
            .call(format!("reading the definition of guest {id}"), move |connect| {
                let domain = guests::get(connect, &domain)?;
                let so = domain.is_active()? && domain.xml_desc(0)?.contains(&part) == with;
                Ok(if so { Some(power::of_domain(&domain)?) } else { None })
            })
            .await
    }

    /// See [`ferrostack_hypervisor::States::rescue`].
    pub(super) async fn rescue(&self, guest: &Guest, rescue: &Rescue, id: &str) -> Result<PowerState> {
        let files = self.files(id)?;
        let disk = files.rescue(rescue.tag, "disk");
        if let Some(power) = self.runs(id, disk.to_string_lossy().into_owned(), true).await? {
            return Ok(self.remember(id, power));
        }
        // What is impossible is refused before the guest is stopped.
        let mut networks = Vec::with_capacity(guest.spec.nics.len());
        for nic in &guest.spec.nics {
            networks.push(self.networks.ensure(&self.connection, nic).await?);
        }
        let domain_xml = definition::rescue::domain_xml(guest, rescue, &files, &networks, &self.traits)?;
        self.stop(id, rescue.timeout_seconds).await?;
        files.prepare()?;
        files.remove_rescue()?;
        rescue_files(guest, rescue, &files).await?;
        let metadata_xml = GuestMeta::of(&guest.spec, files.instances()).bare_xml()?;
        let power = self
            .connection
            .call(format!("starting guest {id} in rescue"), move |connect| {
                guests::start(&guests::define(connect, &domain_xml, &metadata_xml)?)
            })
            .await?;
        Ok(self.remember(id, power))
    }

    /// See [`ferrostack_hypervisor::States::unrescue`].
    pub(super) async fn unrescue(&self, guest: &Guest, id: &str) -> Result<PowerState> {
        let files = self.files(id)?;
        // Every file of a rescue, and no other of the guest's, begins like this.
        let any = format!("/{id}/rescue-");
        if self.runs(id, any, false).await?.is_none() {
            self.plug(id).await?;
        }
        let mut guest = guest.clone();
        guest.spec.power = WantedPower::Running;
        let power = self.ensure(&guest, id).await?;
        files.remove_rescue()?;
        Ok(power)
    }
}

/// Puts what the rescue needs among the guest's own files: the image cache may forget the image meanwhile.
async fn rescue_files(guest: &Guest, rescue: &Rescue, files: &GuestFiles) -> Result<()> {
    let base = rescue.base.as_ref().ok_or_else(|| Error::internal("the rescue has no base image file"))?;
    let path = files.rescue(rescue.tag, "base");
    files.link(&base.path, &path)?;
    let base = BaseImage { path, ..base.clone() };
    disks::overlay(&base, base.virtual_size, files, &files.rescue(rescue.tag, "disk")).await?;
    for (source, what) in [(&rescue.kernel, "kernel"), (&rescue.ramdisk, "ramdisk")] {
        if let Some(source) = source {
            files.link(source, &files.rescue(rescue.tag, what))?;
        }
    }
    if let Some(drive) = &guest.config_drive {
        // With the rescue system's password; made anew when the guest comes back.
        files.copy(drive, &files.config_drive())?;
    }
    Ok(())
}
