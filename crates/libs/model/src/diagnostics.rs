//! What a guest uses of its host, as its hypervisor counts it.

use crate::server::PowerState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Use of a disk since the guest was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// `vda`
    pub name: String,
    /// Read requests.
    pub read_requests: i64,
    /// Bytes read.
    pub read_bytes: i64,
    /// Write requests.
    pub write_requests: i64,
    /// Bytes written.
    pub write_bytes: i64,
    /// Errors; -1: not counted.
    pub errors: i64,
}

/// Use of an interface since the guest was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicUse {
    /// `vnet0`
    pub name: String,
    /// MAC address.
    pub mac_address: String,
    /// Bytes received.
    pub rx_bytes: i64,
    /// Packets received.
    pub rx_packets: i64,
    /// Errors of reception.
    pub rx_errors: i64,
    /// Packets dropped on reception.
    pub rx_drop: i64,
    /// Bytes sent.
    pub tx_bytes: i64,
    /// Packets sent.
    pub tx_packets: i64,
    /// Errors of sending.
    pub tx_errors: i64,
    /// Packets dropped on sending.
    pub tx_drop: i64,
}

/// What a guest uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Only a running guest has more than this.
    pub state: PowerState,
    /// `kvm` or `qemu`.
    pub hypervisor: String,
    /// Nanoseconds that each virtual CPU has run.
    pub cpus: Vec<u64>,
    /// Memory the guest may have, KiB.
    pub memory_kib: u64,
    /// Memory the guest has now, KiB.
    pub memory_used_kib: u64,
    /// What the balloon tells, by libvirt's names, KiB or counts.
    pub memory: BTreeMap<String, u64>,
    /// Disks in order.
    pub disks: Vec<DiskUse>,
    /// Interfaces in order.
    pub nics: Vec<NicUse>,
}

impl Diagnostics {
    /// Of a guest that does not run.
    pub fn of_state(state: PowerState, hypervisor: &str) -> Self {
        Self {
            state,
            hypervisor: hypervisor.to_owned(),
            cpus: Vec::new(),
            memory_kib: 0,
            memory_used_kib: 0,
            memory: BTreeMap::new(),
            disks: Vec::new(),
            nics: Vec::new(),
        }
    }
}
