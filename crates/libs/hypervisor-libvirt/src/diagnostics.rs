//! What a guest uses of the host: libvirt's statistics of its domain.

use crate::connection::CallResult;
use crate::{power, xml};
use ferrostack_model::diagnostics::{Diagnostics, DiskUse, NicUse};
use ferrostack_model::server::PowerState;
use serde::Deserialize;
use virt::domain::Domain;
use virt::sys;

/// Most virtual CPUs that are told of one by one.
const MOST_CPUS: usize = 512;

#[derive(Debug, Default, Deserialize)]
struct DomainXml {
    #[serde(default)]
    devices: Devices,
}

#[derive(Debug, Default, Deserialize)]
struct Devices {
    #[serde(default)]
    disk: Vec<Device>,
    #[serde(default)]
    interface: Vec<Device>,
}

#[derive(Debug, Deserialize)]
struct Device {
    target: Option<Target>,
    mac: Option<Mac>,
}

#[derive(Debug, Deserialize)]
struct Target {
    #[serde(rename = "@dev")]
    dev: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Mac {
    #[serde(rename = "@address")]
    address: String,
}

impl Device {
    fn name(&self) -> Option<&str> {
        self.target.as_ref()?.dev.as_deref()
    }
}

/// Statistics of a domain; those that it does not have now are left out.
///
/// # Errors
/// libvirt's, where the domain cannot be read at all.
pub fn of_domain(domain: &Domain, hypervisor: &str) -> CallResult<Diagnostics> {
    let mut told = Diagnostics::of_state(power::of_domain(domain)?, hypervisor);
    if told.state != PowerState::Running {
        return Ok(told);
    }
    let info = domain.info()?;
    (told.memory_kib, told.memory_used_kib) = (info.max_mem, info.memory);
    told.cpus = cpu_times(domain, usize::try_from(info.nr_virt_cpu).unwrap_or(0).min(MOST_CPUS));
    if let Ok(stats) = domain.memory_stats(0) {
        told.memory = stats.iter().filter_map(|s| Some((memory_name(s.tag)?.to_owned(), s.val))).collect();
    }
    let devices = xml::from_str::<DomainXml>("domain", &domain.xml_desc(0)?)?.devices;
    for name in devices.disk.iter().filter_map(Device::name) {
        // A drive without a medium has none.
        let Ok(stats) = domain.block_stats(name) else { continue };
        told.disks.push(DiskUse {
            name: name.to_owned(),
            read_requests: stats.rd_req,
            read_bytes: stats.rd_bytes,
            write_requests: stats.wr_req,
            write_bytes: stats.wr_bytes,
            errors: stats.errs,
        });
    }
    for device in &devices.interface {
        let Some(name) = device.name() else { continue };
        let Ok(stats) = domain.interface_stats(name) else { continue };
        told.nics.push(NicUse {
            name: name.to_owned(),
            mac_address: device.mac.as_ref().map(|m| m.address.clone()).unwrap_or_default(),
            rx_bytes: stats.rx_bytes,
            rx_packets: stats.rx_packets,
            rx_errors: stats.rx_errs,
            rx_drop: stats.rx_drop,
            tx_bytes: stats.tx_bytes,
            tx_packets: stats.tx_packets,
            tx_errors: stats.tx_errs,
            tx_drop: stats.tx_drop,
        });
    }
    Ok(told)
}

/// Nanoseconds that each virtual CPU has run; zeros where libvirt does not count them (emulation with one thread).
fn cpu_times(domain: &Domain, count: usize) -> Vec<u64> {
    let empty = sys::virVcpuInfo { number: 0, state: 0, cpuTime: 0, cpu: 0 };
    let mut infos = vec![empty; count];
    let room = i32::try_from(count).unwrap_or(0);
    // SAFETY: the pointer is valid while `domain` lives; `infos` has room for `room` entries and no maps are asked for.
    let got =
        unsafe { sys::virDomainGetVcpus(domain.as_ptr(), infos.as_mut_ptr(), room, std::ptr::null_mut(), 0) };
    if got < 0 {
        return vec![0; count];
    }
    infos.truncate(usize::try_from(got).unwrap_or(0));
    infos.iter().map(|info| info.cpuTime).collect()
}

/// libvirt's name of a memory statistic.
fn memory_name(tag: u32) -> Option<&'static str> {
    Some(match tag {
        sys::VIR_DOMAIN_MEMORY_STAT_SWAP_IN => "swap_in",
        sys::VIR_DOMAIN_MEMORY_STAT_SWAP_OUT => "swap_out",
        sys::VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT => "major_fault",
        sys::VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT => "minor_fault",
        sys::VIR_DOMAIN_MEMORY_STAT_UNUSED => "unused",
        sys::VIR_DOMAIN_MEMORY_STAT_AVAILABLE => "available",
        sys::VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON => "actual",
        sys::VIR_DOMAIN_MEMORY_STAT_RSS => "rss",
        sys::VIR_DOMAIN_MEMORY_STAT_USABLE => "usable",
        sys::VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE => "last_update",
        sys::VIR_DOMAIN_MEMORY_STAT_DISK_CACHES => "disk_caches",
        sys::VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGALLOC => "hugetlb_pgalloc",
        sys::VIR_DOMAIN_MEMORY_STAT_HUGETLB_PGFAIL => "hugetlb_pgfail",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn devices_are_read_from_what_libvirt_writes() {
        let text = "<domain type='qemu' id='1'><name>x</name><devices><emulator>/usr/bin/qemu</emulator>\
            <disk type='file'><driver name='qemu'/><target dev='vda' bus='virtio'/></disk>\
            <controller type='usb'/><interface type='network'><mac address='fa:16:3e:00:00:01'/>\
            <target dev='vnet3'/></interface><interface type='user'><mac address='x'/></interface></devices></domain>";
        let read: DomainXml = xml::from_str("domain", text).unwrap();
        assert_eq!(read.devices.disk[0].name(), Some("vda"));
        assert_eq!(read.devices.interface[0].name(), Some("vnet3"));
        assert_eq!(read.devices.interface[1].name(), None);
        let none: DomainXml = xml::from_str("domain", "<domain><devices/></domain>").unwrap();
        assert!(none.devices.disk.is_empty());
    }
}
