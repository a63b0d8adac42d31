//! Interfaces of guests that are defined: in the definition, and while they run by hot-plugging.

use super::{LibvirtHypervisor, Shared};
use crate::connection::CallResult;
use crate::files::Record;
use crate::xml::interfaces::{DomainInterfaces, LiveInterface};
use crate::xml::metadata::GuestMeta;
use crate::{definition, guests, xml};
use async_trait::async_trait;
use ferrostack_hypervisor::{Guest, Interfaces};
use ferrostack_model::server::PowerState;
use ferrostack_model::{Error, Result};
use std::time::Duration;
use tokio::time::Instant;
use virt::domain::Domain;
use virt::sys;

/// How long a guest has to let go of an interface: its kernel must agree.
const LET_GO: Duration = Duration::from_secs(60);
/// A guest that was still booting did not hear the request: it is made again.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How often the running guest is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(250);

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn live(domain: &Domain) -> CallResult<Vec<LiveInterface>> {
    if !domain.is_active()? {
        return Ok(Vec::new());
    }
    let known: DomainInterfaces = xml::from_str("domain", &domain.xml_desc(0)?)?;
    Ok(known.devices.interface)
}

/// Interfaces of the running guest that are not wanted.
fn surplus(domain: &Domain, wanted: &[String]) -> CallResult<Vec<LiveInterface>> {
    let mut all = live(domain)?;
    all.retain(|nic| !wanted.iter().any(|mac| same(mac, &nic.mac.address)));
    Ok(all)
}

impl Shared {
    async fn set_nics(&self, guest: &Guest, id: &str) -> Result<PowerState> {
        let spec = &guest.spec;
        self.is_active(id).await?;
        let files = self.files(id)?;
        files.prepare()?;
        let wanted = Record::of(spec);
        let older = files.record()?;
        files.write_record(&wanted.clone().join(older.clone()))?;
        let mut networks = Vec::with_capacity(spec.nics.len());
        for nic in &spec.nics {
            networks.push(self.networks.ensure(&self.connection, nic).await?);
        }
        let domain_xml = definition::domain_xml(guest, &files, &networks, &self.traits)?;
        let metadata_xml = GuestMeta::of(spec, files.instances()).bare_xml()?;
        let devices = definition::interfaces_xml(guest, &networks, &self.traits)?;
        let macs: Vec<String> = spec.nics.iter().map(|nic| nic.mac_address.clone()).collect();
        self.connection
            .call(format!("plugging interfaces into guest {id}"), move |connect| {
                let domain = guests::define(connect, &domain_xml, &metadata_xml)?;
                if !domain.is_active()? {
                    return Ok(());
                }
                let there = live(&domain)?;
                for (mac, device) in &devices {
                    if !there.iter().any(|nic| same(&nic.mac.address, mac)) {
                        domain.attach_device_flags(device, sys::VIR_DOMAIN_AFFECT_LIVE)?;
                    }
                }
                Ok(())
            })
            .await?;
        self.pull_out(id, macs).await?;
        for port in
            older.into_iter().flat_map(|older| older.ports).filter(|port| !wanted.ports.contains(port))
        {
            self.networks.release(&self.connection, &self.instances, id, &port).await?;
        }
        let power = self.power(id).await?;
        Ok(self.remember(id, power))
    }

    /// Takes every interface out of the running guest that is not one of `wanted`.
    async fn pull_out(&self, id: &str, wanted: Vec<String>) -> Result<()> {
        let end = Instant::now() + LET_GO;
        let mut asked: Option<Instant> = None;
        loop {
            let ask = asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN);
            let (domain, wanted) = (id.to_owned(), wanted.clone());
            let left = self
                .connection
                .call(format!("pulling interfaces out of guest {id}"), move |connect| {
                    let domain = guests::get(connect, &domain)?;
                    let left = surplus(&domain, &wanted)?;
                    for nic in left.iter().filter(|_| ask) {
                        let device = nic.device_xml()?;
                        if let Err(error) = domain.detach_device_flags(&device, sys::VIR_DOMAIN_AFFECT_LIVE) {
                            // It is asked for already, or the guest went off: what is left tells.
                            tracing::info!(%error, mac = nic.mac.address, "an interface is not let go yet");
                        }
                    }
                    Ok(surplus(&domain, &wanted)?.len())
                })
                .await?;
            if left == 0 {
                return Ok(());
            }
            if ask {
                asked = Some(Instant::now());
            }
            if Instant::now() >= end {
                return Err(Error::internal("the guest does not let go of an interface"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[async_trait]
impl Interfaces for LibvirtHypervisor {
    async fn set_nics(&self, guest: &Guest) -> Result<PowerState> {
        let guest = guest.clone();
        let id = guest.spec.server_id.clone();
        self.run(&id, |shared, id| async move { shared.set_nics(&guest, &id).await }).await
    }
}
