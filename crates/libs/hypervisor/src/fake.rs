//! A hypervisor whose guests exist only as records: thousands of guests and hosts, delays and faults.

mod migrate;

use crate::{Guest, HostInfo, Hypervisor, PowerEvent, SnapshotWish, snapshot::fake_disk};
mod interfaces;
mod moves;
mod rebuild;
mod states;

use async_trait::async_trait;
use ferrostack_model::{Error, ErrorKind, Result, guest::WantedPower, host::GuestState, server::PowerState};
use parking_lot::Mutex;
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, broadcast};

/// Console text kept of a guest, bytes.
const CONSOLE_KEPT: usize = 64 * 1024;
/// Events a slow receiver may be behind.
const EVENTS: usize = 64;

/// What a fake host is.
#[derive(Clone, Debug)]
pub struct FakeOptions {
    /// The hypervisor's name of the host.
    pub host: String,
    /// Physical CPUs.
    pub vcpus: i64,
    /// MiB.
    pub memory_mb: i64,
    /// GiB.
    pub local_gb: i64,
    /// How long each operation takes.
    pub delay: Duration,
    /// Share of [`Hypervisor::ensure`] calls that fail, 0.0 to 1.0.
    pub failure_rate: f64,
    /// Where guests are kept, one file each, so that they outlive the process as real ones would; memory if none.
    pub directory: Option<PathBuf>,
}

impl Default for FakeOptions {
    fn default() -> Self {
        Self {
            host: "fake".into(),
            vcpus: 64,
            memory_mb: 262_144,
            local_gb: 4096,
            delay: Duration::ZERO,
            failure_rate: 0.0,
            directory: None,
        }
    }
}

/// An operation that a fault may hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Hypervisor::ensure`]
    Ensure,
    /// [`Hypervisor::start`]
    Start,
    /// [`Hypervisor::stop`]
    Stop,
    /// Both reboots.
    Reboot,
    /// [`Hypervisor::destroy`]
    Destroy,
    /// [`Hypervisor::snapshot`]
    Snapshot,
    /// Those of [`crate::States`].
    State,
    /// [`crate::LiveMigration::check`]
    MigrateCheck,
    /// [`crate::LiveMigration::receive`]
    MigrateReceive,
    /// [`crate::LiveMigration::send`]
    MigrateSend,
    /// [`crate::LiveMigration::abort`]
    MigrateAbort,
    /// [`crate::LiveMigration::settle`]
    MigrateSettle,
    /// [`crate::Rebuilds::rebuild`]
    Rebuild,
    /// Those of [`crate::Moves`].
    Move,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fails without an effect.
    Fail(ErrorKind),
    /// Has its effect, then fails: the answer got lost on its way.
    FailAfter(ErrorKind),
    /// Waits for [`FakeHypervisor::release`] before it begins.
    Hang,
    /// Has its effect, then waits for [`FakeHypervisor::release`] before it answers.
    HangAfter,
}

/// What still happens to a call after its effect.
#[derive(Default)]
enum After {
    #[default]
    Answer,
    Fail(ErrorKind),
    Hang,
}

/// How often each operation had its effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of ensure that came to their effect.
    pub ensures: u64,
    /// Guests that an ensure made anew.
    pub created: u64,
    /// Calls of destroy.
    pub destroys: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FakeGuest {
    generation: i64,
    power: PowerState,
    name: String,
    hostname: String,
    boots: u64,
    console: String,
    /// Bytes of the root disk.
    #[serde(default)]
    disk: u64,
    /// Its memory is on disk.
    #[serde(default)]
    saved: bool,
    /// Number of the rescue it runs from.
    #[serde(default)]
    rescue: Option<i64>,
    /// The image of its root disk.
    #[serde(default)]
    image: String,
    /// The generation that its second disk was made in.
    #[serde(default)]
    ephemeral: i64,
    /// MAC addresses of its interfaces.
    #[serde(default)]
    nics: Vec<String>,
    /// What is on the root disk: drawn when it was made, and moved with it.
    #[serde(default)]
    content: String,
    /// Bytes and content of the root disk that a resize keeps aside.
    #[serde(default)]
    kept: Option<(u64, String)>,
}

impl FakeGuest {
    fn say(&mut self, line: &str) {
        self.console.push_str(line);
        self.console.push('\n');
        if self.console.len() > CONSOLE_KEPT {
            let mut cut = self.console.len() - CONSOLE_KEPT / 2;
            while !self.console.is_char_boundary(cut) {
                cut += 1;
            }
            self.console.drain(..cut);
        }
    }
    fn boot(&mut self) {
        self.boots += 1;
        self.saved = false;
        self.power = PowerState::Running;
        let (boots, name) = (self.boots, self.name.clone());
        self.say(&format!("[    0.000000] fake guest {name}, boot {boots}"));
        let hostname = self.hostname.clone();
        self.say(&format!("{hostname} login:"));
    }
    fn off(&mut self) {
        self.saved = false;
        self.power = PowerState::Shutdown;
        self.say("[  999.000000] reboot: Power down");
    }
}

/// A [`Hypervisor`] without guests' code.
pub struct FakeHypervisor {
    options: FakeOptions,
    guests: Mutex<BTreeMap<String, FakeGuest>>,
    faults: Mutex<HashMap<Operation, VecDeque<Fault>>>,
    released: Notify,
    reachable: AtomicBool,
    started: Instant,
    ensures: AtomicU64,
    created: AtomicU64,
    destroys: AtomicU64,
    events: broadcast::Sender<PowerEvent>,
    moves: migrate::Moves,
}

impl FakeHypervisor {
    /// A host as `options` say, with the guests that its directory holds. A file that cannot be read is left
    /// out, with a warning.
    pub fn new(options: FakeOptions) -> Arc<Self> {
        let guests = options.directory.as_deref().map(load).unwrap_or_default();
        let made = Arc::new(Self {
            moves: migrate::Moves::new(),
            options,
            guests: Mutex::new(guests),
            faults: Mutex::default(),
            released: Notify::new(),
            reachable: AtomicBool::new(true),
            started: Instant::now(),
            ensures: AtomicU64::new(0),
            created: AtomicU64::new(0),
            destroys: AtomicU64::new(0),
            events: broadcast::Sender::new(EVENTS),
        });
        migrate::register(&made);
        made
    }

    /// Lets the next call of `operation` (that has no earlier fault waiting) meet `fault`.
    pub fn inject(&self, operation: Operation, fault: Fault) {
        self.faults.lock().entry(operation).or_default().push_back(fault);
    }

    /// Lets every hanging call go on.
    pub fn release(&self) {
        self.released.notify_waiters();
    }

    /// Whether the hypervisor answers at all; if not every call is `Unavailable`.
    pub fn set_reachable(&self, reachable: bool) {
        self.reachable.store(reachable, Ordering::SeqCst);
    }

    /// The guest crashes by itself. `false` if there is no such guest.
    pub fn crash(&self, server_id: &str) -> bool {
        self.happen(server_id, PowerState::Crashed)
    }

    /// The guest shuts itself down. `false` if there is no such guest.
    pub fn shut_down(&self, server_id: &str) -> bool {
        self.happen(server_id, PowerState::Shutdown)
    }

    /// The guest vanishes without an event, as after the loss of a disk. `false` if there is no such guest.
    pub fn lose(&self, server_id: &str) -> bool {
        self.forget(server_id)
    }

    /// How often each operation had its effect since this object was made.
    pub fn counts(&self) -> Counts {
        Counts {
            ensures: self.ensures.load(Ordering::SeqCst),
            created: self.created.load(Ordering::SeqCst),
            destroys: self.destroys.load(Ordering::SeqCst),
        }
    }

    /// How many guests there are.
    pub fn guest_count(&self) -> usize {
        self.guests.lock().len()
    }

    fn happen(&self, server_id: &str, power: PowerState) -> bool {
        let known = self.change(server_id, |guest| {
            guest.power = power;
            guest.say("[  999.000000] power lost");
        });
        if known.is_ok() {
            // Nobody listening is not an error.
            let _ = self.events.send(PowerEvent { server_id: server_id.to_owned(), power });
        }
        known.is_ok()
    }

    /// Waits and fails as told before the effect; what it returns is for [`Self::after`] it.
    async fn before(&self, operation: Operation) -> Result<After> {
        if !self.reachable.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the fake hypervisor does not answer"));
        }
        if !self.options.delay.is_zero() {
            tokio::time::sleep(self.options.delay).await;
        }
        let fault = self.faults.lock().get_mut(&operation).and_then(VecDeque::pop_front);
        match fault {
            None => Ok(After::Answer),
            Some(Fault::Fail(kind)) => Err(broken(kind)),
            Some(Fault::FailAfter(kind)) => Ok(After::Fail(kind)),
            Some(Fault::HangAfter) => Ok(After::Hang),
            Some(Fault::Hang) => {
                self.released.notified().await;
                Ok(After::Answer)
            }
        }
    }

    /// The answer to a call that had its effect.
    async fn after<T>(&self, after: After, result: T) -> Result<T> {
        match after {
            After::Answer => Ok(result),
            After::Fail(kind) => Err(broken(kind)),
            After::Hang => {
                self.released.notified().await;
                Ok(result)
            }
        }
    }

    fn path(&self, server_id: &str) -> Option<PathBuf> {
        // Ids are UUIDs; anything else stays out of the file system.
        uuid::Uuid::try_parse(server_id).ok()?;
        Some(self.options.directory.as_ref()?.join(format!("{server_id}.json")))
    }

    fn change(&self, server_id: &str, with: impl FnOnce(&mut FakeGuest)) -> Result<PowerState> {
        let mut guests = self.guests.lock();
        let guest = guests.get_mut(server_id).ok_or_else(|| absent(server_id))?;
        with(guest);
        self.save(server_id, guest)?;
        Ok(guest.power)
    }

    fn save(&self, server_id: &str, guest: &FakeGuest) -> Result<()> {
        let Some(path) = self.path(server_id) else { return Ok(()) };
        write(&path, guest).map_err(|e| Error::internal(format!("{}: {e}", path.display())))
    }

    fn forget(&self, server_id: &str) -> bool {
        let mut guests = self.guests.lock();
        let known = guests.remove(server_id).is_some();
        if let Some(path) = self.path(server_id)
            && let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "fake guest's file not removed");
        }
        known
    }
}

fn broken(kind: ErrorKind) -> Error {
    Error::new(kind, "The fake hypervisor was told to fail.").with_internal("injected fault")
}

fn write(path: &Path, guest: &FakeGuest) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(guest)?)?;
    std::fs::rename(new, path)
}

fn load(directory: &Path) -> BTreeMap<String, FakeGuest> {
    let mut guests = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return guests };
    for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")) {
        let read = std::fs::read(&path).map_err(|e| e.to_string());
        match read.and_then(|b| serde_json::from_slice(&b).map_err(|e| e.to_string())) {
            Ok(guest) => {
                let id = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
                guests.insert(id, guest);
            }
            Err(error) => tracing::warn!(path = %path.display(), error, "fake guest left out"),
        }
    }
    guests
}

#[async_trait]
impl Hypervisor for FakeHypervisor {
    fn needs_files(&self) -> bool {
        false
    }

    async fn host_info(&self) -> Result<HostInfo> {
        if !self.reachable.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the fake hypervisor does not answer"));
        }
        Ok(HostInfo {
            hypervisor_hostname: self.options.host.clone(),
            hypervisor_type: "fake".into(),
            hypervisor_version: 1_000_000,
            arch: "x86_64".into(),
            vcpus: self.options.vcpus,
            memory_mb: self.options.memory_mb,
            local_gb: self.options.local_gb,
            cpu_info: json!({
                "arch": "x86_64", "model": "Fake", "vendor": "Ferrostack",
                "topology": {"cells": 1, "sockets": 1, "cores": self.options.vcpus, "threads": 1},
                "features": ["fpu", "sse2"],
            }),
            uptime_seconds: i64::try_from(self.started.elapsed().as_secs()).unwrap_or(i64::MAX),
        })
    }

    async fn ensure(&self, guest: &Guest) -> Result<PowerState> {
        let spec = &guest.spec;
        let after = self.before(Operation::Ensure).await?;
        if self.options.failure_rate > 0.0 && rand::rng().random::<f64>() < self.options.failure_rate {
            return Err(Error::internal("the fake hypervisor fails at random"));
        }
        let power = {
            let mut guests = self.guests.lock();
            let known = guests.get(&spec.server_id);
            // A newer spec is in force.
            if let Some(newer) = known.filter(|g| g.generation > spec.generation) {
                return Ok(newer.power);
            }
            if known.is_none() {
                self.created.fetch_add(1, Ordering::SeqCst);
            }
            let entry = guests.entry(spec.server_id.clone()).or_insert_with(|| FakeGuest {
                generation: spec.generation,
                nics: Vec::new(),
                power: PowerState::Shutdown,
                name: spec.instance_name.clone(),
                hostname: spec.hostname.clone(),
                boots: 0,
                console: String::new(),
                disk: match spec.flavor.root_gb {
                    0 => spec.image.virtual_size.max(spec.image.size).max(1 << 20),
                    gib => gib.saturating_mul(1 << 30),
                },
                saved: false,
                rescue: None,
                image: spec.image.id.clone(),
                ephemeral: spec.generation,
                content: uuid::Uuid::new_v4().to_string(),
                kept: None,
            });
            entry.generation = spec.generation;
            entry.hostname.clone_from(&spec.hostname);
            entry.nics = spec.nics.iter().map(|nic| nic.mac_address.clone()).collect();
            match (spec.power, entry.power) {
                (WantedPower::Running, PowerState::Running) => {}
                (WantedPower::Running, _) => entry.boot(),
                (WantedPower::Stopped, PowerState::Shutdown) => {}
                (WantedPower::Stopped, _) => entry.off(),
            }
            self.save(&spec.server_id, entry)?;
            entry.power
        };
        self.ensures.fetch_add(1, Ordering::SeqCst);
        self.after(after, power).await
    }

    async fn start(&self, server_id: &str) -> Result<PowerState> {
        let after = self.before(Operation::Start).await?;
        let power = self.change(server_id, |guest| {
            if guest.power != PowerState::Running {
                guest.wake();
            }
        })?;
        self.after(after, power).await
    }

    async fn stop(&self, server_id: &str, _timeout_seconds: u32) -> Result<PowerState> {
        let after = self.before(Operation::Stop).await?;
        let power = self.change(server_id, |guest| {
            if guest.power != PowerState::Shutdown || guest.saved {
                guest.off();
            }
        })?;
        self.after(after, power).await
    }

    async fn reboot_soft(&self, server_id: &str, _timeout_seconds: u32) -> Result<PowerState> {
        let after = self.before(Operation::Reboot).await?;
        let power = self.change(server_id, FakeGuest::boot)?;
        self.after(after, power).await
    }

    async fn reboot_hard(&self, guest: &Guest) -> Result<PowerState> {
        let after = self.before(Operation::Reboot).await?;
        let power = self.change(&guest.spec.server_id, |known| {
            known.generation = known.generation.max(guest.spec.generation);
            known.boot();
        })?;
        self.after(after, power).await
    }

    async fn destroy(&self, server_id: &str) -> Result<()> {
        let after = self.before(Operation::Destroy).await?;
        self.forget(server_id);
        self.moves.forget(server_id);
        self.destroys.fetch_add(1, Ordering::SeqCst);
        self.after(after, ()).await
    }

    async fn snapshot(&self, server_id: &str, wish: &SnapshotWish) -> Result<PowerState> {
        let after = self.before(Operation::Snapshot).await?;
        let guest = self.guests.lock().get(server_id).cloned().ok_or_else(|| absent(server_id))?;
        let bytes =
            fake_disk(wish.format, guest.disk, &format!("fake guest {}, boot {}\n", guest.name, guest.boots));
        if wish.max_bytes > 0 && bytes.len() as u64 > wish.max_bytes {
            return Err(Error::new(ErrorKind::TooLarge, "The snapshot is larger than this host allows."));
        }
        tokio::fs::write(&wish.to, bytes)
            .await
            .map_err(|e| Error::internal(format!("{}: {e}", wish.to.display())))?;
        self.after(after, guest.power).await
    }

    async fn list(&self) -> Result<Vec<GuestState>> {
        if !self.reachable.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the fake hypervisor does not answer"));
        }
        let guests = self.guests.lock();
        Ok(guests
            .iter()
            .map(|(id, g)| GuestState { server_id: id.clone(), generation: g.generation, power: g.power })
            .collect())
    }

    async fn console_output(&self, server_id: &str, max_bytes: usize) -> Result<Vec<u8>> {
        let guests = self.guests.lock();
        let guest = guests.get(server_id).ok_or_else(|| absent(server_id))?;
        let bytes = guest.console.as_bytes();
        Ok(bytes[bytes.len().saturating_sub(max_bytes)..].to_vec())
    }

    fn live_migration(&self) -> Option<&dyn crate::LiveMigration> {
        Some(self)
    }

    fn events(&self) -> broadcast::Receiver<PowerEvent> {
        self.events.subscribe()
    }
}

fn absent(server_id: &str) -> Error {
    Error::not_found(format!("Guest {server_id} does not exist on this host."))
}

/// A guest for tests: one CPU, 64 MiB, a 1 GiB root disk, no networks, running.
pub fn sample_guest(server_id: &str, generation: i64) -> Guest {
    use ferrostack_model::{
        guest::{GuestFlavor, GuestSpec},
        image::ImageSource,
    };
    Guest {
        spec: GuestSpec {
            server_id: server_id.to_owned(),
            generation,
            instance_name: format!("instance-{}", server_id.get(..8).unwrap_or(server_id)),
            display_name: "sample".into(),
            hostname: "sample".into(),
            project_id: "0123456789abcdef0123456789abcdef".into(),
            user_id: "fedcba9876543210fedcba9876543210".into(),
            launch_index: 0,
            reservation_id: "r-sample00".into(),
            availability_zone: "nova".into(),
            flavor: GuestFlavor {
                name: "m1.sample".into(),
                vcpus: 1,
                ram_mb: 64,
                root_gb: 1,
                ephemeral_gb: 0,
                swap_mb: 0,
                extra_specs: BTreeMap::new(),
            },
            image: ImageSource {
                id: "11111111-2222-4333-8444-555555555555".into(),
                disk_format: "qcow2".into(),
                size: 0,
                virtual_size: 0,
                sha512: String::new(),
                properties: BTreeMap::new(),
            },
            kernel: None,
            ramdisk: None,
            nics: Vec::new(),
            metadata: BTreeMap::new(),
            key_name: None,
            public_key: None,
            user_data: None,
            admin_pass: None,
            personality: Vec::new(),
            config_drive: false,
            power: WantedPower::Running,
        },
        base: None,
        kernel: None,
        ramdisk: None,
        config_drive: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::contract::hypervisor_contract;

    #[tokio::test]
    async fn passes_the_contract() {
        let directory = std::env::temp_dir().join(format!("fake-{}", uuid::Uuid::new_v4()));
        for directory in [None, Some(directory)] {
            let fake = FakeHypervisor::new(FakeOptions { directory, ..FakeOptions::default() });
            hypervisor_contract(&*fake, sample_guest).await;
        }
    }

    #[tokio::test]
    async fn moves_disks_by_the_contract() {
        let [from, to] = [0, 1].map(|_| FakeHypervisor::new(FakeOptions::default()));
        crate::contract::moves_contract(&*from, &*to, sample_guest).await;
    }

    #[tokio::test]
    async fn guests_outlive_the_process_and_a_broken_file_does_not_stop_it() {
        let directory = std::env::temp_dir().join(format!("fake-{}", uuid::Uuid::new_v4()));
        let options = FakeOptions { directory: Some(directory.clone()), ..FakeOptions::default() };
        let id = uuid::Uuid::new_v4().to_string();
        let first = FakeHypervisor::new(options.clone());
        first.ensure(&sample_guest(&id, 3)).await.unwrap();
        std::fs::write(directory.join("broken.json"), b"{").unwrap();
        let again = FakeHypervisor::new(options);
        let expected = GuestState { server_id: id.clone(), generation: 3, power: PowerState::Running };
        assert_eq!(again.list().await.unwrap(), [expected]);
        again.destroy(&id).await.unwrap();
        assert!(!directory.join(format!("{id}.json")).exists());
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn faults_hit_as_told() {
        let fake = FakeHypervisor::new(FakeOptions::default());
        let id = uuid::Uuid::new_v4().to_string();
        let guest = sample_guest(&id, 1);
        fake.inject(Operation::Ensure, Fault::Fail(ErrorKind::Internal));
        assert_eq!(fake.ensure(&guest).await.unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(fake.guest_count(), 0);
        fake.inject(Operation::Ensure, Fault::FailAfter(ErrorKind::Unavailable));
        assert_eq!(fake.ensure(&guest).await.unwrap_err().kind, ErrorKind::Unavailable);
        assert_eq!(fake.guest_count(), 1);
        let mut events = fake.events();
        assert!(fake.crash(&id));
        assert_eq!(
            events.recv().await.unwrap(),
            PowerEvent { server_id: id.clone(), power: PowerState::Crashed }
        );
        fake.inject(Operation::Start, Fault::Hang);
        let (started, ()) = tokio::join!(fake.start(&id), async {
            while !fake.faults.lock()[&Operation::Start].is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(fake.list().await.unwrap()[0].power, PowerState::Crashed);
            fake.release();
        });
        assert_eq!(started.unwrap(), PowerState::Running);
        fake.set_reachable(false);
        assert_eq!(fake.host_info().await.unwrap_err().kind, ErrorKind::Unavailable);
    }
}
