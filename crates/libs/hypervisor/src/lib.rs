//! The hypervisor trait, its contract suite and the fake.
//!
//! Everything is level-triggered and idempotent: a call describes the wanted end, and calling it again
//! after success changes nothing. A driver keeps no state of its own beside what the hypervisor holds.

pub mod contract;
pub mod fake;
mod interfaces;
mod migrate;
mod moves;
mod rebuild;
mod rescue;
mod snapshot;
mod states;

pub use interfaces::Interfaces;
pub use migrate::{LiveMigration, block_fits};
pub use moves::{DiskFile, DiskReader, DiskSource, Moves};
pub use rebuild::Rebuilds;
pub use rescue::Rescue;
pub use snapshot::{Compression, SnapshotWish, blank_qcow2};
pub use states::{States, unsupported};

use async_trait::async_trait;
use ferrostack_model::{Result, guest::GuestSpec, host::GuestState, server::PowerState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// A file that a guest's disk starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseImage {
    /// Verified, read-only file in the agent's image cache.
    pub path: PathBuf,
    /// `qcow2` or `raw`: as inspected, never probed.
    pub format: String,
    /// Size of the disk inside, bytes.
    pub virtual_size: u64,
}

/// A guest with everything on this host that it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// What the control plane wants.
    pub spec: GuestSpec,
    /// Base of the root disk; `None` only where [`Hypervisor::needs_files`] is false.
    pub base: Option<BaseImage>,
    /// Kernel for a direct boot.
    pub kernel: Option<PathBuf>,
    /// Initial ramdisk for a direct boot.
    pub ramdisk: Option<PathBuf>,
    /// The config drive's image, made by the agent.
    pub config_drive: Option<PathBuf>,
}

/// What a host can hold and what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostInfo {
    /// The hypervisor's name of the host.
    pub hypervisor_hostname: String,
    /// `QEMU`, `KVM` or `fake`.
    pub hypervisor_type: String,
    /// `major*1000000 + minor*1000 + release`.
    pub hypervisor_version: i64,
    /// `x86_64`
    pub arch: String,
    /// Physical CPUs.
    pub vcpus: i64,
    /// MiB.
    pub memory_mb: i64,
    /// GiB where guests' disks are.
    pub local_gb: i64,
    /// Nova's `cpu_info` object: arch, model, vendor, topology, features.
    pub cpu_info: Value,
    /// Seconds since the host started.
    pub uptime_seconds: i64,
}

/// A change of power that nobody ordered (the guest shut itself down, crashed, was started by hand).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerEvent {
    /// Server id.
    pub server_id: String,
    /// The state now.
    pub power: PowerState,
}

/// A host that runs guests.
#[async_trait]
pub trait Hypervisor: Interfaces + Moves + Rebuilds + States {
    /// Whether image files, kernels and config drives must be on disk before [`Self::ensure`].
    fn needs_files(&self) -> bool;

    /// Capacity and identity of the host. `Unavailable` while the hypervisor cannot be reached.
    async fn host_info(&self) -> Result<HostInfo>;

    /// Brings the guest's networks, disks and definition into being and the guest to `spec.power`.
    /// A guest that exists with the same or an older generation is updated, not made anew; its disks are kept.
    async fn ensure(&self, guest: &Guest) -> Result<PowerState>;

    /// Starts the guest if it is off. `NotFound` if it is not defined.
    async fn start(&self, server_id: &str) -> Result<PowerState>;

    /// Shuts the guest down: ACPI, and the plug after `timeout_seconds` (0: at once).
    async fn stop(&self, server_id: &str, timeout_seconds: u32) -> Result<PowerState>;

    /// ACPI reboot; a guest that has not gone down after `timeout_seconds` is reset.
    async fn reboot_soft(&self, server_id: &str, timeout_seconds: u32) -> Result<PowerState>;

    /// Destroys the running guest and starts it from its definition, whatever its state.
    async fn reboot_hard(&self, guest: &Guest) -> Result<PowerState>;

    /// Removes the guest, its disks, its console log and what only it used. Success if there is none.
    async fn destroy(&self, server_id: &str) -> Result<()>;

    /// Writes the guest's root disk as it is at one moment, flattened, to a new file; the power state after it. A guest
    /// that runs goes on running. Dropping the call ends the work; what it leaves of the file is the caller's to
    /// remove. `NotFound` if there is no such guest.
    async fn snapshot(&self, server_id: &str, wish: &SnapshotWish) -> Result<PowerState>;

    /// Every guest of ours on this host (others' domains are left alone).
    async fn list(&self) -> Result<Vec<GuestState>>;

    /// The last bytes of the serial console, rotated logs joined, at most `max_bytes`.
    async fn console_output(&self, server_id: &str, max_bytes: usize) -> Result<Vec<u8>>;

    /// How its guests move while they run; none if they cannot.
    fn live_migration(&self) -> Option<&dyn LiveMigration> {
        None
    }

    /// Unordered power changes; a lagging receiver asks [`Self::list`].
    fn events(&self) -> tokio::sync::broadcast::Receiver<PowerEvent>;
}
