//! The driver: `Hypervisor` on libvirt.

mod interfaces;
mod job;
mod migrate;
mod moves;
mod rebuild;
mod rescue;
mod states;

use crate::connection::{Connection, RECONNECT, optional};
use crate::definition::{self, CLEAN_TRAFFIC, HostTraits};
use crate::events::EventSink;
use crate::files::{self, GuestFiles, Instances, Record, canonical_id};
use crate::locks::Locks;
use crate::network::{METADATA_ADDRESS, Networks};
use crate::options::{LibvirtOptions, VirtType};
use crate::xml::capabilities::Capabilities;
use crate::xml::metadata::GuestMeta;
use crate::{console, disks, guests, host, power, snapshot};
use async_trait::async_trait;
use ferrostack_hypervisor::{Guest, HostInfo, Hypervisor, PowerEvent, SnapshotWish};
use ferrostack_model::guest::WantedPower;
use ferrostack_model::host::GuestState;
use ferrostack_model::server::PowerState;
use ferrostack_model::{Error, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;
use virt::error::ErrorNumber;

/// How long a guest has to shut down when a spec says that it is to be off.
const DEFAULT_STOP_SECONDS: u32 = 60;
/// A guest that has not finished booting ignores the power button: it is pressed again (as Nova does).
const PRESS_AGAIN: Duration = Duration::from_secs(10);
/// How often the state is read while waiting, in case an event is lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often the connection that brings events is looked at.
const LISTENING: Duration = Duration::from_secs(30);
/// How often console logs are checked for rotation.
const ROTATE: Duration = Duration::from_secs(5);

/// Guests on libvirt. Cheap to clone; background tasks end when the last clone is dropped. Guests run on.
#[derive(Clone)]
pub struct LibvirtHypervisor {
    shared: Arc<Shared>,
    /// Ends the background tasks when the last driver is gone.
    _tasks: Arc<Tasks>,
}

struct Tasks(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

struct Shared {
    options: LibvirtOptions,
    connection: Connection,
    sink: Arc<EventSink>,
    instances: Instances,
    networks: Networks,
    traits: HostTraits,
    capabilities: Capabilities,
    guests: Arc<Locks>,
    /// What was last answered or told of each of our guests: events tell only what differs.
    known: Mutex<HashMap<String, PowerState>>,
    events: broadcast::Sender<PowerEvent>,
    moves: migrate::Moves,
}

impl LibvirtHypervisor {
    /// Connects, finds out how guests can run here, and starts the background tasks.
    ///
    /// # Errors
    /// Says what cannot be used: the URI, the state directory, KVM.
    pub async fn connect(options: LibvirtOptions) -> Result<Self> {
        crate::events::start_loop().map_err(|e| Error::internal(format!("libvirt's event loop: {e}")))?;
        let instances = Instances::open(&options.state_dir)?;
        let sink = EventSink::new();
        // Before the connection is made, so that nothing between is missed.
        let changed = sink.subscribe();
        let connection = Connection::new(&options.uri, options.max_calls, sink.clone());
        connection.listen().await?;
        let capabilities = host::capabilities(&connection).await?;
        if let Some((uid, gid)) = capabilities.qemu_user()
            && let Some(dir) = files::impassable(instances.root(), uid, gid)
        {
            return Err(Error::internal(format!(
                "QEMU runs as user {uid} and cannot pass through {} to {}: chmod a+x it, or choose another state directory",
                dir.display(),
                instances.root().display()
            )));
        }
        let arch = capabilities.host.cpu.arch.clone();
        let kvm = match options.virt_type {
            VirtType::Kvm => true,
            VirtType::Qemu => false,
            VirtType::Auto => crate::probe::kvm_works(&options, &connection, &capabilities).await,
        };
        let machine = options.machine_type.clone().unwrap_or_else(|| default_machine(&arch, kvm).into());
        let offers = host::offers(&connection, &capabilities, &machine, kvm).await?;
        let traits = HostTraits {
            kvm,
            arch,
            machine,
            offers,
            disk_cache: disks::cache_mode(instances.root()),
            vnc_listen: options.vnc_listen,
            filters: options.filters && filters(&connection).await?,
        };
        tracing::info!(uri = %options.uri, kvm, machine = %traits.machine, cache = traits.disk_cache, "hypervisor ready");
        let shared = Arc::new(Shared {
            networks: Networks::new(options.metadata_address),
            connection,
            sink,
            instances,
            traits,
            capabilities,
            guests: Arc::default(),
            known: Mutex::default(),
            events: broadcast::Sender::new(1024),
            moves: migrate::Moves::default(),
            options,
        });
        shared.list().await?;
        let ours = shared.instances.clone();
        let end = move |connect: &virt::connect::Connect| snapshot::abort_all(connect, &ours);
        shared.connection.call("ending copies of disks", end).await?;
        let tasks = vec![
            tokio::spawn(watch_guests(shared.clone(), changed)),
            tokio::spawn(watch_connection(shared.clone())),
            tokio::spawn(rotate_logs(shared.clone())),
        ];
        Ok(Self { shared, _tasks: Arc::new(Tasks(tasks)) })
    }

    /// Whether guests run under KVM.
    pub fn uses_kvm(&self) -> bool {
        self.shared.traits.kvm
    }

    /// Addresses that the agent's metadata server must listen on, at port 80; guests are told apart by their source
    /// address, which is the port's fixed address.
    ///
    /// The address exists once the first network does: bind with [`Self::metadata_listener`].
    pub fn metadata_listen(&self) -> Vec<IpAddr> {
        if self.shared.options.metadata_address { vec![IpAddr::V4(METADATA_ADDRESS)] } else { Vec::new() }
    }

    /// A listening socket at 169.254.169.254:`port` in the network namespace of the guests' bridges; the caller
    /// itself stays in its own. Works before the address exists.
    ///
    /// # Errors
    /// The system's: no permission, or the port is taken.
    pub fn metadata_listener(&self, port: u16) -> std::io::Result<std::net::TcpListener> {
        crate::metadata::listen(METADATA_ADDRESS, port, self.shared.options.netns.as_deref())
    }

    /// Runs an operation on a guest under its lock, to its end even if the caller goes away.
    async fn run<T, F>(&self, server_id: &str, operation: impl FnOnce(Arc<Shared>, String) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let id = canonical_id(server_id)?;
        let shared = self.shared.clone();
        let work = operation(shared.clone(), id.clone());
        tokio::spawn(async move {
            let _lock = shared.guests.lock(&id).await;
            work.await
        })
        .await
        .map_err(|e| Error::internal(format!("a hypervisor operation ended abnormally: {e}")))?
    }
}

/// Whether libvirt knows the filters against forged addresses; they come with its package of filter definitions.
async fn filters(connection: &Connection) -> Result<bool> {
    let there = connection
        .call("looking for network filters", |connect| {
            match connect.lookup_nwfilter_by_name(CLEAN_TRAFFIC) {
                Ok(_) => Ok(true),
                // No such filter, or no driver for filters at all.
                Err(e) if e.code().is(ErrorNumber::NoNwfilter) || e.code().is(ErrorNumber::NoSupport) => {
                    Ok(false)
                }
                Err(e) => Err(e.into()),
            }
        })
        .await?;
    if !there {
        tracing::warn!("libvirt has no filter clean-traffic: guests can forge addresses of their neighbours");
    }
    Ok(there)
}

fn default_machine(arch: &str, kvm: bool) -> &'static str {
    match (arch, kvm) {
        ("x86_64", true) => "q35",
        ("x86_64", false) => "pc",
        _ => "virt",
    }
}

impl Shared {
    fn files(&self, id: &str) -> Result<GuestFiles> {
        self.instances.guest(id)
    }

    fn remember(&self, id: &str, power: PowerState) -> PowerState {
        self.known.lock().insert(id.to_owned(), power);
        power
    }

    async fn power(&self, id: &str) -> Result<PowerState> {
        let id = id.to_owned();
        self.connection
            .call(format!("reading the state of guest {id}"), move |connect| {
                Ok(power::of_domain(&guests::get(connect, &id)?)?)
            })
            .await
    }

    async fn is_active(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        self.connection
            .call(format!("reading the state of guest {id}"), move |connect| {
                Ok(guests::get(connect, &id)?.is_active()?)
            })
            .await
    }

    async fn ensure(&self, guest: &Guest, id: &str) -> Result<PowerState> {
        let spec = &guest.spec;
        // What is impossible is refused before anything is made.
        let hardware = definition::Hardware::of(spec, &self.traits)?;
        definition::domain_name(guest)?;
        let there = {
            let (id, instances) = (id.to_owned(), self.instances.clone());
            self.connection
                .call(format!("looking for guest {id}"), move |connect| {
                    let Some(domain) = guests::find(connect, &id)? else { return Ok(None) };
                    let mark = guests::mark(&domain, instances.root())?.ok_or_else(|| {
                        Error::conflict("A domain with the server's id exists that is not ours.")
                    })?;
                    Ok(Some((mark.generation, power::of_domain(&domain)?)))
                })
                .await?
        };
        if let Some((generation, power)) = there
            && generation > spec.generation
        {
            tracing::info!(server_id = id, generation, stale = spec.generation, "a newer spec is in force");
            return Ok(self.remember(id, power));
        }
        let files = self.files(id)?;
        files.prepare()?;
        let wanted = Record::of(spec);
        let older = files.record()?;
        files.write_record(&wanted.clone().join(older.clone()))?;
        files.own(self.host_id())?;
        let mut networks = Vec::with_capacity(spec.nics.len());
        for nic in &spec.nics {
            networks.push(self.networks.ensure(&self.connection, nic).await?);
        }
        disks::ensure(guest, &files, &hardware).await?;
        let domain_xml = definition::domain_xml(guest, &files, &networks, &self.traits)?;
        let metadata_xml = GuestMeta::of(spec, files.instances()).bare_xml()?;
        let start = spec.power == WantedPower::Running;
        let power = self
            .connection
            .call(format!("defining guest {id}"), move |connect| {
                let domain = guests::define(connect, &domain_xml, &metadata_xml)?;
                if start { guests::start(&domain) } else { Ok(power::of_domain(&domain)?) }
            })
            .await?;
        // Ports that the newer spec no longer has.
        for port in
            older.into_iter().flat_map(|older| older.ports).filter(|port| !wanted.ports.contains(port))
        {
            self.networks.release(&self.connection, &self.instances, id, &port).await?;
        }
        self.remember(id, power);
        if !start && self.is_active(id).await? {
            return self.stop(id, DEFAULT_STOP_SECONDS).await;
        }
        Ok(power)
    }

    async fn start(&self, id: &str) -> Result<PowerState> {
        self.is_active(id).await?;
        let files = self.files(id)?;
        files.prepare()?;
        let ports = files.record()?.unwrap_or_default().ports;
        self.networks.start(&self.connection, &ports).await?;
        let domain = id.to_owned();
        let power = self
            .connection
            .call(format!("starting guest {id}"), move |connect| {
                guests::start(&guests::get(connect, &domain)?)
            })
            .await?;
        Ok(self.remember(id, power))
    }

    /// Presses the power button until the guest is off or the time is over; whether it is off.
    async fn shut_down(&self, id: &str, timeout: Duration) -> Result<bool> {
        let end = Instant::now() + timeout;
        let mut changes = self.sink.subscribe();
        let mut pressed: Option<Instant> = None;
        loop {
            if !self.is_active(id).await? {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= end {
                return Ok(false);
            }
            if pressed.is_none_or(|at| now >= at + PRESS_AGAIN) {
                let domain = id.to_owned();
                let press = self.connection.call(format!("shutting down guest {id}"), move |connect| {
                    let domain = guests::get(connect, &domain)?;
                    let flags = virt::sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN;
                    Ok(crate::connection::already(domain.shutdown_flags(flags), || {
                        domain.is_active().map(|on| !on)
                    })?)
                });
                if let Err(e) = press.await {
                    // A paused or hung guest cannot be asked: the plug follows when the time is over.
                    tracing::info!(server_id = id, error = %e.for_log(), "the power button did not work");
                    if e.kind.retryable() {
                        return Err(e);
                    }
                    return Ok(false);
                }
                pressed = Some(now);
            }
            let until = end.min(now + LOOK_AGAIN);
            // Any change of any guest wakes; only ours is asked for again.
            let own = async {
                while let Ok(changed) = changes.recv().await {
                    if changed == id {
                        return;
                    }
                }
                std::future::pending().await
            };
            let _ = tokio::time::timeout_at(until, own).await;
        }
    }

    async fn plug(&self, id: &str) -> Result<()> {
        let domain = id.to_owned();
        self.connection
            .call(format!("stopping guest {id}"), move |connect| {
                guests::plug(&guests::get(connect, &domain)?)
            })
            .await
    }

    async fn stop(&self, id: &str, timeout_seconds: u32) -> Result<PowerState> {
        let off = timeout_seconds > 0
            && self.shut_down(id, Duration::from_secs(u64::from(timeout_seconds))).await?;
        if !off {
            self.plug(id).await?;
        }
        let power = self.power(id).await?;
        Ok(self.remember(id, power))
    }

    async fn reboot_soft(&self, id: &str, timeout_seconds: u32) -> Result<PowerState> {
        if !self.is_active(id).await? {
            return self.start(id).await;
        }
        if self.shut_down(id, Duration::from_secs(u64::from(timeout_seconds))).await? {
            return self.start(id).await;
        }
        let domain = id.to_owned();
        let power = self
            .connection
            .call(format!("resetting guest {id}"), move |connect| {
                let domain = guests::get(connect, &domain)?;
                match domain.reset() {
                    Ok(()) => Ok(power::of_domain(&domain)?),
                    // It went down at the last moment.
                    Err(e) if domain.is_active()? => Err(e.into()),
                    Err(_) => guests::start(&domain),
                }
            })
            .await?;
        Ok(self.remember(id, power))
    }

    async fn destroy(&self, id: &str) -> Result<()> {
        let files = self.files(id)?;
        let (domain, instances) = (id.to_owned(), self.instances.clone());
        self.connection
            .call(format!("stopping guest {id}"), move |connect| match guests::find(connect, &domain)? {
                Some(domain) if guests::mark(&domain, instances.root())?.is_some() => guests::plug(&domain),
                Some(_) => {
                    Err(Error::conflict("A domain with the server's id exists that is not ours.").into())
                }
                None => Ok(()),
            })
            .await?;
        // The definition goes when nothing that it needs is left, the files with the record last of all: whatever
        // interrupts this, another run finds what remains.
        for port in files.record()?.unwrap_or_default().ports {
            self.networks.release(&self.connection, &self.instances, id, &port).await?;
        }
        let domain = id.to_owned();
        self.connection
            .call(format!("removing guest {id}"), move |connect| match guests::find(connect, &domain)? {
                Some(domain) => guests::undefine(&domain),
                None => Ok(()),
            })
            .await?;
        if self.belongs_elsewhere(&files)? {
            tracing::info!(server_id = id, "the guest's files are another host's now: left alone");
            self.known.lock().remove(id);
            return Ok(());
        }
        let remove = files.clone();
        tokio::task::spawn_blocking(move || remove.remove())
            .await
            .map_err(|e| Error::internal(format!("removing files: {e}")))??;
        self.known.lock().remove(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<GuestState>> {
        let instances = self.instances.clone();
        let all = self
            .connection
            .call("listing guests", move |connect| {
                let mut all = Vec::new();
                for domain in connect.list_all_domains(0)? {
                    // One that vanishes meanwhile is not listed.
                    let Some(mark) = guests::mark(&domain, instances.root())? else { continue };
                    let Some(power) = optional(power::of_domain(&domain))? else {
                        continue;
                    };
                    let server_id = domain.uuid_string()?;
                    all.push(GuestState { server_id, generation: mark.generation, power });
                }
                Ok(all)
            })
            .await?;
        let mut known = self.known.lock();
        for guest in &all {
            known.entry(guest.server_id.clone()).or_insert(guest.power);
        }
        Ok(all)
    }

    /// Tells of a guest's power state if it is not what was last known. Waits for an operation on the guest to end.
    async fn report(&self, id: &str) {
        let _lock = self.guests.lock(id).await;
        // Only now: an operation that makes the guest known may have been under way.
        if !self.known.lock().contains_key(id) {
            return;
        }
        let power = match self.power(id).await {
            Ok(power) => power,
            Err(e) if e.kind == ferrostack_model::ErrorKind::NotFound => PowerState::NoState,
            Err(e) => {
                tracing::debug!(server_id = id, error = %e.for_log(), "a changed guest cannot be read now");
                return;
            }
        };
        let differs = match self.known.lock().get_mut(id) {
            Some(known) if *known != power => {
                *known = power;
                true
            }
            _ => false,
        };
        if differs {
            tracing::info!(server_id = id, ?power, "a guest's power changed");
            // Nobody listening is no error.
            let _ = self.events.send(PowerEvent { server_id: id.to_owned(), power });
        }
    }

    async fn report_all(&self) {
        let ids: Vec<String> = self.known.lock().keys().cloned().collect();
        for id in ids {
            self.report(&id).await;
        }
    }
}

async fn watch_guests(shared: Arc<Shared>, mut changed: broadcast::Receiver<String>) {
    use broadcast::error::RecvError;
    loop {
        match changed.recv().await {
            Ok(id) => {
                let shared = shared.clone();
                // A task of its own: an operation on this guest may hold its lock for long.
                tokio::spawn(async move { shared.report(&id).await });
            }
            Err(RecvError::Lagged(_)) => shared.report_all().await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// Reconnects as soon as the connection is lost, so that events come again, and tells what changed meanwhile.
async fn watch_connection(shared: Arc<Shared>) {
    loop {
        match shared.connection.listen().await {
            Ok(fresh) => {
                if fresh {
                    shared.report_all().await;
                }
                // A close that libvirt does not tell of is found by looking.
                let _ = tokio::time::timeout(LISTENING, shared.sink.connection_lost()).await;
            }
            Err(e) => {
                tracing::debug!(error = %e.for_log(), "libvirt is away");
                tokio::time::sleep(RECONNECT).await;
            }
        }
    }
}

async fn rotate_logs(shared: Arc<Shared>) {
    let mut timer = tokio::time::interval(ROTATE);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let (instances, options) = (shared.instances.clone(), &shared.options);
        let (limit, kept) = (options.console_log_bytes, options.console_logs_kept);
        let work = tokio::task::spawn_blocking(move || console::rotate_all(&instances, limit, kept));
        if let Err(e) = work.await {
            tracing::warn!(error = %e, "rotating console logs ended abnormally");
        }
    }
}

#[async_trait]
impl Hypervisor for LibvirtHypervisor {
    fn needs_files(&self) -> bool {
        true
    }

    async fn host_info(&self) -> Result<HostInfo> {
        let shared = &self.shared;
        host::info(&shared.connection, &shared.capabilities, shared.instances.root()).await
    }

    async fn ensure(&self, guest: &Guest) -> Result<PowerState> {
        let guest = guest.clone();
        let id = guest.spec.server_id.clone();
        self.run(&id, |shared, id| async move { shared.ensure(&guest, &id).await }).await
    }

    async fn start(&self, server_id: &str) -> Result<PowerState> {
        self.run(server_id, |shared, id| async move { shared.start(&id).await }).await
    }

    async fn stop(&self, server_id: &str, timeout_seconds: u32) -> Result<PowerState> {
        self.run(server_id, move |shared, id| async move { shared.stop(&id, timeout_seconds).await }).await
    }

    async fn reboot_soft(&self, server_id: &str, timeout_seconds: u32) -> Result<PowerState> {
        self.run(server_id, move |shared, id| async move { shared.reboot_soft(&id, timeout_seconds).await })
            .await
    }

    async fn reboot_hard(&self, guest: &Guest) -> Result<PowerState> {
        let mut guest = guest.clone();
        guest.spec.power = WantedPower::Running;
        let id = guest.spec.server_id.clone();
        self.run(&id, |shared, id| async move {
            match shared.plug(&id).await {
                Err(e) if e.kind != ferrostack_model::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            shared.ensure(&guest, &id).await
        })
        .await
    }

    async fn destroy(&self, server_id: &str) -> Result<()> {
        self.run(server_id, |shared, id| async move { shared.destroy(&id).await }).await
    }

    async fn snapshot(&self, server_id: &str, wish: &SnapshotWish) -> Result<PowerState> {
        let (shared, id) = (&self.shared, canonical_id(server_id)?);
        // Not under the guest's lock: this may take long, and a stop or a destroy must not wait for it.
        shared.is_active(&id).await?;
        snapshot::take(&shared.connection, &shared.guests, &shared.files(&id)?, &id, wish).await?;
        shared.power(&id).await
    }

    async fn list(&self) -> Result<Vec<GuestState>> {
        self.shared.list().await
    }

    async fn console_output(&self, server_id: &str, max_bytes: usize) -> Result<Vec<u8>> {
        let files = self.shared.files(server_id)?;
        tokio::task::spawn_blocking(move || console::tail(&files, max_bytes))
            .await
            .map_err(|e| Error::internal(format!("reading a console log: {e}")))?
    }

    fn live_migration(&self) -> Option<&dyn ferrostack_hypervisor::LiveMigration> {
        Some(self)
    }

    fn events(&self) -> broadcast::Receiver<PowerEvent> {
        self.shared.events.subscribe()
    }
}
