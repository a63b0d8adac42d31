//! What the host can hold and what it is.

use crate::connection::Connection;
use crate::hardware::Offers;
use crate::xml::{self, capabilities::Capabilities, domain_capabilities::DomainCapabilities};
use ferrostack_hypervisor::HostInfo;
use ferrostack_model::{Error, Result};
use serde_json::{Value, json};
use std::path::Path;
use virt::error::ErrorNumber;

/// libvirt's capabilities.
pub async fn capabilities(connection: &Connection) -> Result<Capabilities> {
    let xml =
        connection.call("reading the host's capabilities", |connect| Ok(connect.capabilities()?)).await?;
    xml::from_str("capabilities", &xml)
}

/// The hardware that guests of this machine type can have. Where libvirt cannot tell, nothing out of the ordinary is
/// offered: no UEFI, no TPM.
pub async fn offers(
    connection: &Connection,
    capabilities: &Capabilities,
    machine: &str,
    kvm: bool,
) -> Result<Offers> {
    let arch = capabilities.host.cpu.arch.clone();
    let guest = capabilities.guest(&arch);
    let machines = guest.map(|g| g.machine.iter().map(|m| m.name.clone()).collect()).unwrap_or_default();
    let emulator = guest.map(|g| g.emulator.clone()).filter(|path| !path.is_empty());
    let machine = machine.to_owned();
    let xml = connection
        .call("reading what guests can have", move |connect| {
            let kind = if kvm { "kvm" } else { "qemu" };
            let told =
                connect.domain_capabilities(emulator.as_deref(), Some(&arch), Some(&machine), Some(kind), 0);
            match told {
                Err(e) if e.code().is(ErrorNumber::NoSupport) => Ok(None),
                told => Ok(Some(told?)),
            }
        })
        .await?;
    let Some(xml) = xml else { return Ok(Offers { machines, ..Offers::default() }) };
    let domain: DomainCapabilities = xml::from_str("domain capabilities", &xml)?;
    let emulated = domain.devices.tpm.has("backendModel", "emulator");
    Ok(Offers {
        machines,
        efi: domain.efi(),
        secure_boot: domain.efi() && domain.os.loader.has("secure", "yes"),
        tpm_models: if emulated { domain.devices.tpm.values("model").to_vec() } else { Vec::new() },
        // Only libvirt from 8.6 on names the versions.
        tpm_versions: domain.devices.tpm.values("backendVersion").to_vec(),
        video: domain.devices.video.values("modelType").to_vec(),
    })
}

/// Capacity and identity; `capabilities` do not change while libvirtd runs.
pub async fn info(
    connection: &Connection,
    capabilities: &Capabilities,
    instances: &Path,
) -> Result<HostInfo> {
    let (node, hostname, kind, version) = connection
        .call("reading the host's resources", |connect| {
            Ok((connect.node_info()?, connect.hostname()?, connect.driver_type()?, connect.hyp_version()?))
        })
        .await?;
    let disk = nix::sys::statvfs::statvfs(instances)
        .map_err(|e| Error::internal(format!("statvfs of {}: {e}", instances.display())))?;
    // The type of these fields differs between systems.
    #[allow(clippy::useless_conversion)]
    let disk_bytes = u64::from(disk.blocks()).saturating_mul(u64::from(disk.fragment_size()));
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    Ok(HostInfo {
        hypervisor_hostname: hostname,
        hypervisor_type: kind,
        hypervisor_version: i64::from(version),
        arch: capabilities.host.cpu.arch.clone(),
        vcpus: i64::from(node.cpus),
        memory_mb: number(node.memory / 1024),
        local_gb: number(disk_bytes >> 30),
        cpu_info: cpu_info(capabilities, &node),
        uptime_seconds: uptime(),
    })
}

/// Nova's `cpu_info` (nova/virt/libvirt/driver.py, `_get_cpu_info`).
fn cpu_info(capabilities: &Capabilities, node: &virt::connect::NodeInfo) -> Value {
    let cpu = &capabilities.host.cpu;
    let features: Vec<&str> = cpu.feature.iter().map(|f| f.name.as_str()).collect();
    let (sockets, cores, threads) = match &cpu.topology {
        Some(t) => (t.sockets, t.cores, t.threads),
        None => (node.sockets, node.cores, node.threads),
    };
    json!({
        "arch": cpu.arch,
        "model": cpu.model,
        "vendor": cpu.vendor,
        "topology": {"cells": node.nodes, "sockets": sockets, "cores": cores, "threads": threads},
        "features": features,
    })
}

/// Seconds since this host started; 0 if the kernel does not say.
fn uptime() -> i64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}
