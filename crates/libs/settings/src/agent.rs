//! `[agent]`

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};

/// Which hypervisor the agent drives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HypervisorKind {
    /// libvirt at `libvirt_uri`.
    #[default]
    Libvirt,
    /// Guests that exist only in memory, on `fake.hosts` hosts.
    Fake,
}

/// What runs the guests' code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtType {
    /// KVM if a 64-bit kernel is proven to run under it, else QEMU.
    #[default]
    Auto,
    /// Hardware virtualisation.
    Kvm,
    /// Emulation.
    Qemu,
}

/// How the data of qcow2 snapshots are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotCompression {
    /// Not at all.
    #[default]
    None,
    /// Slow; every QEMU reads it.
    Zlib,
    /// Fast; QEMU reads it since 5.1.
    Zstd,
}

/// `[agent.fake]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FakeHypervisor {
    /// Hosts in this one process, `fake-0001` …
    pub hosts: u32,
    /// Milliseconds each operation takes.
    pub delay_ms: u64,
    /// Share of builds that fail, 0.0 to 1.0.
    pub failure_rate: f64,
    /// CPUs of each host.
    pub vcpus: i64,
    /// MiB of each host.
    pub memory_mb: i64,
    /// GiB of each host.
    pub local_gb: i64,
}

impl Default for FakeHypervisor {
    fn default() -> Self {
        Self { hosts: 1, delay_ms: 0, failure_rate: 0.0, vcpus: 64, memory_mb: 262_144, local_gb: 4096 }
    }
}

/// The compute agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// Service host name; the machine's if empty. Fake hosts have names of their own.
    pub host: String,
    /// Address and port of health, metrics and console output.
    pub listen: SocketAddr,
    /// The URL under which compute-api reaches `listen`; from `listen` if empty.
    pub public_url: String,
    /// Management address shown in `os-hypervisors`.
    pub host_ip: String,
    /// Zone of this host.
    pub availability_zone: String,
    /// libvirt or fake.
    pub hypervisor: HypervisorKind,
    /// Any libvirt URI.
    pub libvirt_uri: String,
    /// How other hosts' libvirtds reach this host's, for live migrations to here: `qemu+tls://HOST/system` (both need
    /// libvirt's and QEMU's certificates) or `qemu+ssh://USER@HOST/system` (shared storage only, unless QEMU has
    /// certificates). Empty: live migrations do not come here. Plain TCP is refused.
    pub migration_uri: String,
    /// Network namespace (`/run/netns/NAME`) that libvirtd and so the guests' bridges are in, if not the agent's.
    pub libvirt_netns: Option<PathBuf>,
    /// auto, kvm or qemu.
    pub virt_type: VirtType,
    /// Ledger, image cache and guests' disks.
    pub state_directory: PathBuf,
    /// Bytes the image cache may hold before unused images go.
    pub image_cache_bytes: u64,
    /// The image service; from the catalog if empty.
    pub image_url: String,
    /// Compression of snapshots that are sent to the image service: none, zlib or zstd.
    pub snapshot_compression: SnapshotCompression,
    /// Largest file a snapshot may become, bytes; 0: as large as the disk needs.
    pub snapshot_max_bytes: u64,
    /// Where the metadata service listens; empty: nowhere.
    pub metadata_listen: Vec<SocketAddr>,
    /// Seconds between heartbeats.
    pub report_seconds: u64,
    /// Seconds between full reports of guests.
    pub guests_report_seconds: u64,
    /// Host memory kept from guests, MiB.
    pub reserved_host_memory_mb: i64,
    /// Host disk kept from guests, GiB.
    pub reserved_host_disk_gb: i64,
    /// The fake's.
    pub fake: FakeHypervisor,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            host: String::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8776)),
            public_url: String::new(),
            host_ip: "127.0.0.1".into(),
            availability_zone: "nova".into(),
            hypervisor: HypervisorKind::Libvirt,
            libvirt_uri: "qemu:///system".into(),
            migration_uri: String::new(),
            libvirt_netns: None,
            virt_type: VirtType::Auto,
            state_directory: "/var/lib/ferrostack/agent".into(),
            image_cache_bytes: 100 << 30,
            image_url: String::new(),
            snapshot_compression: SnapshotCompression::default(),
            snapshot_max_bytes: 0,
            metadata_listen: vec![SocketAddr::from(([169, 254, 169, 254], 80))],
            report_seconds: 10,
            guests_report_seconds: 60,
            reserved_host_memory_mb: 512,
            reserved_host_disk_gb: 0,
            fake: FakeHypervisor::default(),
        }
    }
}
