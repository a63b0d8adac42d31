//! Guests that move to another host's libvirtd while they run.
//!
//! The source's libvirtd talks to the destination's (peer to peer) over TLS or ssh, and memory and disks go through TLS or
//! inside that connection: never plainly (OSSN-0007, OSSN-0089). libvirt decides who has the guest in the end; what is done
//! here after an interruption only looks where it is.

use super::{LibvirtHypervisor, Shared};
use crate::connection::CallResult;
use crate::definition;
use crate::files::{GuestFiles, Record, canonical_id};
use crate::xml::metadata::GuestMeta;
use crate::xml::migratable::{self, Change};
use crate::{disks, guests, power};
use async_trait::async_trait;
use ferrostack_hypervisor::{Guest, LiveMigration, block_fits};
use ferrostack_model::live_migration::{Offer, Progress};
use ferrostack_model::server::PowerState;
use ferrostack_model::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use virt::connect::Connect;
use virt::domain::{Domain, MigrateParameters};
use virt::error::Error as VirtError;
use virt::sys;

/// How often a migration that another process began is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long a guest that is arriving is waited for.
const ARRIVING: Duration = Duration::from_secs(30);
/// How long a migration has to end once it was told to.
const ABORTING: Duration = Duration::from_secs(60);

/// Guests on their way from here, with how it ended.
#[derive(Default)]
pub(super) struct Moves(Mutex<HashMap<String, watch::Receiver<Option<Result<()>>>>>);

/// Where a guest stands at this libvirtd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is no such domain.
    Absent,
    /// It is defined and does not run.
    Off,
    /// It is being received.
    Arriving,
    /// It is here.
    Here(PowerState),
}

impl Shared {
    /// The id that libvirt knows this host by.
    pub(super) fn host_id(&self) -> &str {
        &self.capabilities.host.uuid
    }

    /// Whether the files were taken over by another host that shares them.
    pub(super) fn belongs_elsewhere(&self, files: &GuestFiles) -> Result<bool> {
        Ok(files.owner()?.is_some_and(|owner| owner != self.host_id()))
    }

    async fn standing(&self, id: &str) -> Result<Standing> {
        let (domain, instances) = (id.to_owned(), self.instances.clone());
        self.connection
            .call(format!("looking for guest {id}"), move |connect| {
                let Some(domain) = guests::find(connect, &domain)? else { return Ok(Standing::Absent) };
                if guests::mark(&domain, instances.root())?.is_none() {
                    return Err(
                        Error::conflict("A domain with the server's id exists that is not ours.").into()
                    );
                }
                standing(&domain)
            })
            .await
    }

    fn offer(&self, shared: bool) -> Result<Offer> {
        let uri = self.options.migration_uri.clone().ok_or_else(|| {
            Error::new(ErrorKind::NotImplemented, "The host does not receive running guests.")
                .with_internal("agent.migration_uri is not set")
        })?;
        Ok(Offer {
            address: Way::of(&uri)?.host,
            uri,
            instances: self.instances.root().to_string_lossy().into_owned(),
            vnc_listen: self.options.vnc_listen.to_string(),
            shared,
        })
    }

    async fn check(&self, id: &str, marker: &str) -> Result<()> {
        match self.standing(id).await? {
            Standing::Absent => return Err(Error::not_found("The guest is not defined on this host.")),
            Standing::Here(PowerState::Running | PowerState::Paused) => {}
            _ => return Err(Error::conflict("The guest does not run.")),
        }
        let files = self.files(id)?;
        if self.belongs_elsewhere(&files)? {
            return Err(Error::conflict("The guest's files belong to another host."));
        }
        files.own(self.host_id())?;
        let marker = files.marker(marker)?;
        std::fs::File::create(&marker)
            .and_then(|file| file.sync_all())
            .map_err(|e| Error::internal(format!("making {}: {e}", marker.display())))
    }

    async fn receive(&self, guest: &Guest, id: &str, marker: &str, block: Option<bool>) -> Result<Offer> {
        let spec = &guest.spec;
        let hardware = definition::Hardware::of(spec, &self.traits)?;
        if self.standing(id).await? != Standing::Absent {
            return Err(Error::conflict("The guest is on this host already."));
        }
        let files = self.files(id)?;
        let shared = files.marker(marker)?.exists();
        block_fits(block, shared)?;
        let offer = self.offer(shared)?;
        let mut older = None;
        if !shared && files.exist() {
            // What an earlier attempt left. Another's files are never touched, nor those of nobody.
            if files.owner()?.as_deref() != Some(self.host_id()) {
                return Err(Error::conflict("Files of the guest are in its way on the destination.")
                    .with_internal(files.dir().display().to_string()));
            }
            older = files.record()?;
            files.remove()?;
        }
        if !shared {
            files.prepare()?;
            files.own(self.host_id())?;
            files.write_record(&Record::of(spec).join(older))?;
        }
        for nic in &spec.nics {
            self.networks.ensure(&self.connection, nic).await?;
        }
        if !shared {
            disks::ensure(guest, &files, &hardware).await?;
        }
        Ok(offer)
    }

    /// Waits for the migration under way, of ours or of a process before us; whether there was one and how it ended, where
    /// that is known.
    async fn under_way(&self, id: &str) -> Result<Option<Result<()>>> {
        let known = self.moves.0.lock().get(id).cloned();
        if let Some(mut ended) = known {
            let result = match ended.wait_for(Option::is_some).await {
                Ok(result) => result.clone().unwrap_or(Ok(())),
                Err(_) => Err(Error::internal("the thread of a migration ended abnormally")),
            };
            let mut moves = self.moves.0.lock();
            if moves.get(id).is_some_and(|other| other.same_channel(&ended)) {
                moves.remove(id);
            }
            return Ok(Some(result));
        }
        let mut seen = false;
        while self.job(id).await?.is_some() {
            seen = true;
            tokio::time::sleep(LOOK).await;
        }
        Ok(seen.then_some(Ok(())))
    }

    /// Counters of libvirt's job that sends the guest.
    async fn job(&self, id: &str) -> Result<Option<Progress>> {
        let domain = id.to_owned();
        self.connection
            .call(format!("looking at the migration of guest {id}"), move |connect| {
                let Some(domain) = guests::find(connect, &domain)? else { return Ok(None) };
                super::job::sending(&domain)
            })
            .await
    }

    /// Begins to send the guest on a thread of its own: it may take hours, and calls are few and short.
    fn begin(self: &Arc<Self>, id: &str, offer: &Offer) -> Result<()> {
        let way = Way::of(&offer.uri)?;
        let (ended, end) = watch::channel(None);
        self.moves.0.lock().insert(id.to_owned(), end);
        let (shared, id, offer) = (self.clone(), id.to_owned(), offer.clone());
        tokio::task::spawn_blocking(move || {
            let result = shared.transfer(&id, &offer, &way);
            if let Err(error) = &result {
                tracing::warn!(server_id = id, error = error.for_log(), "a guest was not sent");
            }
            // Nobody waiting is no error: who comes later looks where the guest is.
            let _ = ended.send(Some(result));
        });
        Ok(())
    }

    fn transfer(&self, id: &str, offer: &Offer, way: &Way) -> Result<()> {
        let fail = |e: VirtError| {
            Error::new(ErrorKind::Internal, "The guest could not be sent to its new host.")
                .with_internal(format!("migrating guest {id}: {e}"))
        };
        // Not one of the connections for calls: it would be missing there for as long as this takes.
        let connect = Connect::open(Some(&self.options.uri)).map_err(fail)?;
        let domain = connect.lookup_domain_by_uuid_string(id).map_err(fail)?;
        let xml =
            domain.xml_desc(sys::VIR_DOMAIN_XML_MIGRATABLE | sys::VIR_DOMAIN_XML_SECURE).map_err(fail)?;
        let change = Change {
            from: &self.instances.root().to_string_lossy(),
            to: &offer.instances,
            vnc_listen: &offer.vnc_listen,
        };
        let xml = migratable::elsewhere(&xml, change)?;
        let parameters = MigrateParameters {
            dest_xml: Some(xml.clone()),
            // What it will be started from is what runs: not what this host had written down (OSSA-2020-006).
            persist_xml: Some(xml),
            uri: (!way.tunnelled(offer.shared) && !offer.address.is_empty())
                .then(|| format!("tcp:{}", bracketed(&offer.address))),
            ..MigrateParameters::default()
        };
        let safe = self.traits.disk_cache == "none";
        domain.migrate_to_uri3(Some(&offer.uri), parameters, way.flags(offer.shared, safe)).map_err(fail)
    }

    async fn send(self: &Arc<Self>, id: &str, offer: &Offer, force: bool) -> Result<PowerState> {
        match self.standing(id).await? {
            Standing::Absent => return Ok(PowerState::NoState),
            Standing::Off => return Err(Error::conflict("The guest does not run.")),
            Standing::Arriving | Standing::Here(_) => {}
        }
        let known = self.moves.0.lock().contains_key(id);
        if !known && self.job(id).await?.is_none() {
            self.begin(id, offer)?;
        }
        if force {
            self.pause(id).await?;
        }
        let ended = self.under_way(id).await?;
        match self.standing(id).await? {
            Standing::Absent => {
                self.known.lock().remove(id);
                Ok(PowerState::NoState)
            }
            // It has left, and its definition did not go with it.
            Standing::Off if matches!(ended, Some(Ok(()))) => {
                self.undefine(id).await?;
                Ok(PowerState::NoState)
            }
            _ => Err(match ended {
                Some(Err(error)) => error,
                _ => Error::internal("the guest stayed though its migration has ended"),
            }),
        }
    }

    async fn pause(&self, id: &str) -> Result<()> {
        let domain = id.to_owned();
        let paused = self.connection.call(format!("pausing guest {id}"), move |connect| {
            let Some(domain) = guests::find(connect, &domain)? else { return Ok(()) };
            Ok(crate::connection::already(domain.suspend(), || domain.is_active().map(|on| !on))?)
        });
        match paused.await {
            // It left at this moment.
            Err(e) if e.kind == ErrorKind::Conflict || e.kind == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn undefine(&self, id: &str) -> Result<()> {
        let domain = id.to_owned();
        self.connection
            .call(format!("removing the definition of guest {id}"), move |connect| {
                match guests::find(connect, &domain)? {
                    Some(domain) if !domain.is_active()? => guests::undefine(&domain),
                    _ => Ok(()),
                }
            })
            .await?;
        self.known.lock().remove(id);
        Ok(())
    }

    async fn abort(&self, id: &str, resume: bool) -> Result<PowerState> {
        let end = Instant::now() + ABORTING;
        // Told again and again: it may not have begun when it was told first.
        while self.moves.0.lock().get(id).is_some_and(|ended| ended.borrow().is_none())
            || self.job(id).await?.is_some()
        {
            let domain = id.to_owned();
            let told = self.connection.call(format!("ending the migration of guest {id}"), move |connect| {
                let Some(domain) = guests::find(connect, &domain)? else { return Ok(()) };
                // SAFETY: the domain's pointer is valid while `domain` lives.
                if unsafe { sys::virDomainAbortJob(domain.as_ptr()) } < 0 {
                    tracing::debug!(error = %VirtError::last_error(), "nothing to end yet, or any more");
                }
                Ok(())
            });
            told.await?;
            if Instant::now() > end {
                return Err(Error::unavailable("a migration does not end"));
            }
            tokio::time::sleep(LOOK).await;
        }
        self.moves.0.lock().remove(id);
        let domain = id.to_owned();
        let power = self
            .connection
            .call(format!("looking for guest {id}"), move |connect| {
                let Some(domain) = guests::find(connect, &domain)? else { return Ok(PowerState::NoState) };
                let power = power::of_domain(&domain)?;
                // Paused by force, or by a migration that broke.
                if resume && power == PowerState::Paused {
                    domain.resume()?;
                }
                Ok(power::of_domain(&domain)?)
            })
            .await?;
        // Markers and other half-made files.
        if power != PowerState::NoState {
            self.files(id)?.prepare()?;
            self.remember(id, power);
        }
        Ok(power)
    }

    async fn settle(&self, guest: &Guest, id: &str) -> Result<PowerState> {
        let end = Instant::now() + ARRIVING;
        let standing = loop {
            match self.standing(id).await? {
                // Who ended it now might end the only one: the source may be letting go at this moment.
                Standing::Arriving if Instant::now() < end => tokio::time::sleep(LOOK).await,
                Standing::Arriving => return Err(Error::unavailable("the guest is still arriving")),
                other => break other,
            }
        };
        let files = self.files(id)?;
        let Standing::Here(power) = standing else {
            if standing == Standing::Off {
                return Err(Error::conflict("The guest is on this host and does not run."));
            }
            if !files.exist() || !self.belongs_elsewhere(&files)? {
                self.destroy(id).await?;
                return Ok(PowerState::NoState);
            }
            // Shared: the files stay, the networks go.
            for nic in &guest.spec.nics {
                let port = crate::files::PortRecord {
                    network_id: nic.network.id.clone(),
                    mac: nic.mac_address.to_ascii_lowercase(),
                };
                self.networks.release(&self.connection, &self.instances, id, &port).await?;
            }
            return Ok(PowerState::NoState);
        };
        files.own(self.host_id())?;
        files.prepare()?;
        files.write_record(&Record::of(&guest.spec))?;
        let metadata = GuestMeta::of(&guest.spec, files.instances()).bare_xml()?;
        let domain = id.to_owned();
        self.connection
            .call(format!("taking guest {id} over"), move |connect| {
                let domain = guests::get(connect, &domain)?;
                guests::keep(connect, &domain, &metadata)
            })
            .await?;
        Ok(self.remember(id, power))
    }
}

fn standing(domain: &Domain) -> CallResult<Standing> {
    if !domain.is_active()? {
        return Ok(Standing::Off);
    }
    let (mut state, mut reason) = (0, 0);
    // SAFETY: the domain's pointer is valid while `domain` lives, and both numbers are ours.
    if unsafe { sys::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) } < 0 {
        return Err(VirtError::last_error().into());
    }
    let is = |number: i32, constant: u32| u32::try_from(number).is_ok_and(|number| number == constant);
    let migrating =
        is(reason, sys::VIR_DOMAIN_PAUSED_MIGRATION) || is(reason, sys::VIR_DOMAIN_PAUSED_STARTING_UP);
    if is(state, sys::VIR_DOMAIN_PAUSED) && migrating {
        return Ok(Standing::Arriving);
    }
    Ok(Standing::Here(power::of_domain(domain)?))
}

/// An address as the host part of a URI.
fn bracketed(address: &str) -> String {
    match address.contains(':') && !address.starts_with('[') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    }
}

/// How the source's libvirtd reaches the destination's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    tls: bool,
    host: String,
}

impl Way {
    /// # Errors
    /// `Internal` for what would not be encrypted, or is no URI.
    fn of(uri: &str) -> Result<Self> {
        let bad = |why: &str| Error::internal(format!("agent.migration_uri {uri:?}: {why}"));
        let parsed = url::Url::parse(uri).map_err(|e| bad(&e.to_string()))?;
        let host = parsed.host_str().unwrap_or("").trim_matches(['[', ']']).to_owned();
        match parsed.scheme() {
            "qemu+tls" if !host.is_empty() => Ok(Self { tls: true, host }),
            "qemu+ssh" | "qemu+libssh" | "qemu+libssh2" if !host.is_empty() => Ok(Self { tls: false, host }),
            // The other libvirtd's own socket, for two of them on one machine.
            "qemu+unix" => Ok(Self { tls: false, host: String::new() }),
            _ => Err(bad(
                "guests move through TLS or ssh only: qemu+tls://HOST/system or qemu+ssh://HOST/system",
            )),
        }
    }

    /// Whether memory goes inside the connection between the libvirtds. Disks cannot.
    fn tunnelled(&self, shared: bool) -> bool {
        !self.tls && shared
    }

    fn flags(&self, shared: bool, safe: bool) -> u32 {
        let mut flags = sys::VIR_MIGRATE_LIVE
            | sys::VIR_MIGRATE_PEER2PEER
            | sys::VIR_MIGRATE_PERSIST_DEST
            | sys::VIR_MIGRATE_UNDEFINE_SOURCE
            | sys::VIR_MIGRATE_AUTO_CONVERGE;
        flags |= if self.tunnelled(shared) { sys::VIR_MIGRATE_TUNNELLED } else { sys::VIR_MIGRATE_TLS };
        if !shared {
            flags |= sys::VIR_MIGRATE_NON_SHARED_INC;
        } else if safe {
            // The marker has shown that the files are the same; libvirt knows only some file systems. Without a cache on
            // either side that is all it worries about.
            flags |= sys::VIR_MIGRATE_UNSAFE;
        }
        flags
    }
}

#[async_trait]
impl LiveMigration for LibvirtHypervisor {
    async fn check(&self, server_id: &str, marker: &str) -> Result<()> {
        let marker = marker.to_owned();
        self.run(server_id, |shared, id| async move { shared.check(&id, &marker).await }).await
    }

    async fn receive(&self, guest: &Guest, marker: &str, block: Option<bool>) -> Result<Offer> {
        let (guest, marker) = (guest.clone(), marker.to_owned());
        let id = guest.spec.server_id.clone();
        self.run(&id, move |shared, id| async move { shared.receive(&guest, &id, &marker, block).await })
            .await
    }

    async fn send(&self, server_id: &str, offer: &Offer, force: bool) -> Result<PowerState> {
        // Not under the guest's lock: this may take long, and a stop or a destroy must not wait for it.
        self.shared.send(&canonical_id(server_id)?, offer, force).await
    }

    async fn progress(&self, server_id: &str) -> Result<Option<Progress>> {
        self.shared.job(&canonical_id(server_id)?).await
    }

    async fn abort(&self, server_id: &str, resume: bool) -> Result<PowerState> {
        self.run(server_id, move |shared, id| async move { shared.abort(&id, resume).await }).await
    }

    async fn settle(&self, guest: &Guest) -> Result<PowerState> {
        let guest = guest.clone();
        let id = guest.spec.server_id.clone();
        self.run(&id, |shared, id| async move { shared.settle(&guest, &id).await }).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// OSSN-0007, OSSN-0089: no way that is not encrypted is taken.
    #[test]
    fn nothing_goes_plainly() {
        for uri in [
            "qemu+tcp://192.0.2.1/system",
            "qemu://192.0.2.1/system",
            "qemu+ssh:///system",
            "qemu+tls:///system",
            "xen+tls://192.0.2.1/system",
            "tcp://192.0.2.1",
            "",
            "nonsense",
        ] {
            assert!(Way::of(uri).is_err(), "{uri}");
        }
        for (uri, host) in [
            ("qemu+tls://192.0.2.1/system", "192.0.2.1"),
            ("qemu+tls://[2001:db8::1]/system", "2001:db8::1"),
            ("qemu+ssh://nova@h2.example/system?keyfile=/k", "h2.example"),
            ("qemu+unix:///system?socket=/run/x", ""),
        ] {
            let way = Way::of(uri).unwrap();
            assert_eq!(way.host, host);
            for shared in [true, false] {
                let flags = way.flags(shared, true);
                let tunnelled = flags & sys::VIR_MIGRATE_TUNNELLED != 0;
                assert_ne!(tunnelled, flags & sys::VIR_MIGRATE_TLS != 0, "one or the other: {uri}");
                assert_eq!(flags & sys::VIR_MIGRATE_NON_SHARED_INC != 0, !shared);
            }
        }
        assert_eq!(Way::of("qemu+tls://h/system").unwrap().flags(true, false) & sys::VIR_MIGRATE_UNSAFE, 0);
    }
}
