//! A guest's domain definition: from what the control plane wants to libvirt's XML.

pub mod rescue;

use crate::files::GuestFiles;
use crate::hardware::{Bus, is_q35, unsupported};
pub use crate::hardware::{Hardware, HostTraits};
use crate::xml::domain::*;
use crate::xml::metadata::{GuestMeta, Metadata};
use crate::xml::{self, clean};
use ferrostack_hypervisor::Guest;
use ferrostack_model::network::NicSpec;
use ferrostack_model::{Error, Result};

/// libvirt's filter that lets a guest send from its own MAC and IP addresses only.
pub const CLEAN_TRAFFIC: &str = "clean-traffic";

/// Command line of a direct kernel boot whose image has no `os_command_line`.
pub const DEFAULT_CMDLINE: &str = "root=/dev/vda console=tty0 console=ttyS0";

/// PCIe root ports of a q35 guest beyond what its devices take, for what is plugged in later.
const SPARE_PORTS: u32 = 4;

/// A domain's name, made of what cannot leave a file name or a command line.
pub fn domain_name(guest: &Guest) -> Result<String> {
    let name = &guest.spec.instance_name;
    let fine = !name.is_empty()
        && name.len() <= 100
        && !name.starts_with(['-', '.'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fine {
        Ok(name.clone())
    } else {
        Err(Error::bad_request("The instance name is not a valid domain name."))
    }
}

/// The domain XML of a guest; `networks` are the names of the libvirt networks of its NICs, in order.
///
/// # Errors
/// `BadRequest` naming what in the spec or the image cannot be had.
pub fn domain_xml(
    guest: &Guest,
    files: &GuestFiles,
    networks: &[String],
    traits: &HostTraits,
) -> Result<String> {
    xml::to_string("domain", &domain(guest, files, networks, traits)?)
}

fn domain(guest: &Guest, files: &GuestFiles, networks: &[String], traits: &HostTraits) -> Result<Domain> {
    let spec = &guest.spec;
    if spec.flavor.vcpus == 0 || spec.flavor.ram_mb == 0 {
        return Err(Error::bad_request("The flavor has no vcpus or no memory."));
    }
    let hardware = Hardware::of(spec, traits)?;
    let id = crate::files::canonical_id(&spec.server_id)?;
    Ok(Domain {
        kind: if traits.kvm { "kvm" } else { "qemu" },
        name: domain_name(guest)?,
        uuid: id.clone(),
        metadata: Metadata { guest: GuestMeta::of(spec, files.instances()) },
        memory: Quantity { unit: "MiB", value: spec.flavor.ram_mb },
        vcpu: spec.flavor.vcpus,
        sysinfo: sysinfo(&id),
        os: os(guest, files, &hardware, traits),
        features: features(&hardware, traits),
        cpu: cpu(&hardware, traits),
        clock: clock(&hardware, traits),
        on_poweroff: "destroy",
        on_reboot: "restart",
        on_crash: "destroy",
        devices: devices(guest, files, networks, &hardware, traits)?,
    })
}

/// Only values of the instance: host identity would leak (OSSN-0028). cloud-init knows us by the product.
fn sysinfo(id: &str) -> SysInfo {
    let entry = |name, value: &str| Entry { name, value: value.to_owned() };
    SysInfo {
        kind: "smbios",
        system: SysInfoSystem {
            entry: vec![
                entry("manufacturer", "Ferrostack"),
                entry("product", "OpenStack Nova"),
                entry("version", env!("CARGO_PKG_VERSION")),
                entry("serial", id),
                entry("uuid", id),
                entry("family", "Virtual Machine"),
            ],
        },
    }
}

fn os(guest: &Guest, files: &GuestFiles, hardware: &Hardware, traits: &HostTraits) -> Os {
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let direct = guest.kernel.is_some();
    let cmdline = guest.spec.image.properties.get("os_command_line").map(|line| clean(line));
    Os {
        firmware: hardware.efi.then_some("efi"),
        kind: OsType { arch: traits.arch.clone(), machine: hardware.machine.clone(), kind: "hvm" },
        kernel: direct.then(|| text(files.kernel())),
        initrd: (direct && guest.ramdisk.is_some()).then(|| text(files.ramdisk())),
        cmdline: direct.then(|| cmdline.unwrap_or_else(|| DEFAULT_CMDLINE.into())),
        firmware_features: hardware.secure_boot.then(|| Firmware {
            feature: ["enrolled-keys", "secure-boot"]
                .map(|name| FirmwareFeature { enabled: "yes", name })
                .to_vec(),
        }),
        boot: match direct {
            true => Vec::new(),
            false => vec![Dev { dev: if hardware.cdrom.is_some() { "cdrom" } else { "hd" } }],
        },
        bootmenu: hardware.boot_menu.then_some(Enable { enable: "yes" }),
        smbios: Mode { mode: "sysinfo" },
    }
}

fn features(hardware: &Hardware, traits: &HostTraits) -> Features {
    // As Nova gives Windows guests; emulation has no enlightenments.
    let hyperv = (hardware.windows && traits.kvm).then_some(HyperV {
        relaxed: State { state: "on" },
        vapic: State { state: "on" },
        spinlocks: Spinlocks { state: "on", retries: 8191 },
    });
    let tcg = (!traits.kvm).then_some(Tcg { tb_cache: Quantity { unit: "MiB", value: 64 } });
    let kvm = (hardware.hidden && traits.kvm).then_some(KvmFeatures { hidden: State { state: "on" } });
    let pmu = hardware.pmu.filter(|_| traits.kvm).map(|on| State { state: if on { "on" } else { "off" } });
    Features { acpi: Empty {}, apic: Empty {}, hyperv, kvm, pmu, tcg }
}

fn cpu(hardware: &Hardware, traits: &HostTraits) -> Cpu {
    let ferrostack_model::guest_hardware::Topology { sockets, cores, threads } = hardware.topology;
    let topology = Topology { sockets, cores, threads };
    // Emulated, every feature there is: QEMU's default (qemu64) is too old for distributions that ask for x86-64-v2.
    Cpu { mode: if traits.kvm { "host-model" } else { "maximum" }, topology }
}

fn clock(hardware: &Hardware, traits: &HostTraits) -> Clock {
    let mut timer = Vec::new();
    let tick = |name, policy| Timer { name, tickpolicy: Some(policy), present: None };
    let present = |name, present| Timer { name, tickpolicy: None, present: Some(present) };
    if traits.kvm {
        timer.extend([tick("pit", "delay"), tick("rtc", "catchup")]);
    }
    // Off unless the image wants it, as in Nova: guests keep better time without it.
    if traits.kvm || hardware.hpet.is_some() {
        timer.push(present("hpet", if hardware.hpet == Some(true) { "yes" } else { "no" }));
    }
    if traits.kvm && hardware.windows {
        timer.push(present("hypervclock", "yes"));
    }
    Clock { offset: if hardware.windows { "localtime" } else { "utc" }, timer }
}

fn devices(
    guest: &Guest,
    files: &GuestFiles,
    networks: &[String],
    hardware: &Hardware,
    traits: &HostTraits,
) -> Result<Devices> {
    let disk = disks(guest, files, hardware, traits)?;
    let interface = interfaces(guest, networks, hardware, traits)?;
    Ok(Devices {
        controller: controllers(disk.len() + interface.len(), hardware),
        disk,
        interface,
        serial: (0..hardware.serial_ports)
            .map(|port| Serial {
                kind: "pty",
                log: (port == 0)
                    .then(|| Log { file: files.console_log().to_string_lossy().into_owned(), append: "on" }),
                target: Port { port },
            })
            .collect(),
        console: Console { kind: "pty", target: ConsoleTarget { kind: "serial", port: 0 } },
        channel: match hardware.guest_agent {
            true => vec![Channel {
                kind: "unix",
                target: ChannelTarget { kind: "virtio", name: "org.qemu.guest_agent.0" },
            }],
            false => Vec::new(),
        },
        tpm: hardware.tpm.map(|tpm| Tpm {
            model: tpm.model,
            backend: TpmBackend { kind: "emulator", version: tpm.version },
        }),
        input: inputs(hardware),
        graphics: Graphics { kind: "vnc", port: -1, autoport: "yes", listen: traits.vnc_listen.to_string() },
        video: Video {
            model: VideoModel { kind: hardware.video, vram: hardware.video_ram.map(|mib| mib * 1024) },
        },
        watchdog: hardware.watchdog.map(|action| Watchdog { model: "i6300esb", action }),
        rng: hardware.entropy.map(|entropy| Rng {
            model: "virtio",
            rate: entropy.rate.map(|(bytes, period)| RngRate { bytes, period }),
            backend: RngBackend { model: "random", device: "/dev/urandom" },
        }),
        memballoon: Balloon { model: "virtio", stats: Period { period: 10 } },
    })
}

fn interfaces(
    guest: &Guest,
    networks: &[String],
    hardware: &Hardware,
    traits: &HostTraits,
) -> Result<Vec<Interface>> {
    if networks.len() != guest.spec.nics.len() {
        return Err(Error::internal("a NIC has no libvirt network"));
    }
    let interface = |(nic, network): (&NicSpec, &String)| Interface {
        kind: "network",
        mac: Mac { address: nic.mac_address.to_ascii_lowercase() },
        source: NetworkSource { network: network.clone() },
        model: Model { kind: hardware.vif },
        driver: hardware.queues.map(|queues| Queues { queues }),
        mtu: Size { size: nic.network.mtu },
        filterref: traits.filters.then(|| filter(nic)),
    };
    Ok(guest.spec.nics.iter().zip(networks).map(interface).collect())
}

/// The interfaces of a guest, each alone as libvirt plugs it in, with their MAC addresses.
pub fn interfaces_xml(
    guest: &Guest,
    networks: &[String],
    traits: &HostTraits,
) -> Result<Vec<(String, String)>> {
    let hardware = Hardware::of(&guest.spec, traits)?;
    interfaces(guest, networks, &hardware, traits)?
        .into_iter()
        .map(|nic| Ok((nic.mac.address.clone(), xml::to_string("interface", &nic)?)))
        .collect()
}

/// As Neutron's port security: a guest that could take a neighbour's address would be given the neighbour's metadata.
fn filter(nic: &NicSpec) -> FilterRef {
    let addresses = nic.fixed_ips.iter().filter(|fixed| fixed.ip_address.is_ipv4());
    let parameter: Vec<Parameter> =
        addresses.map(|fixed| Parameter { name: "IP", value: fixed.ip_address.to_string() }).collect();
    // Without a known address libvirt would believe the first one it sees.
    FilterRef { filter: if parameter.is_empty() { "no-mac-spoofing" } else { CLEAN_TRAFFIC }, parameter }
}

fn inputs(hardware: &Hardware) -> Vec<Input> {
    let mut all = Vec::new();
    if let Some(bus) = hardware.tablet {
        all.push(Input { kind: "tablet", bus });
    }
    if let Some(bus) = hardware.keyboard {
        all.push(Input { kind: "keyboard", bus });
    }
    all
}

/// Gives each disk the next name on its bus.
#[derive(Default)]
struct Names(std::collections::BTreeMap<&'static str, u8>);

impl Names {
    fn target(&mut self, bus: Bus) -> Result<DiskTarget> {
        // Buses share prefixes: an `sda` on SATA and one on USB would be the same name.
        let next = self.0.entry(bus.prefix).or_default();
        if usize::from(*next) >= bus.room {
            return Err(unsupported("hw_disk_bus", bus.name));
        }
        let dev = format!("{}{}", bus.prefix, char::from(b'a' + *next));
        *next += 1;
        Ok(DiskTarget { dev, bus: bus.name })
    }
}

/// The disks in Nova's order: root, ephemeral, swap, and the config drive as the last of the bus.
fn disks(guest: &Guest, files: &GuestFiles, hardware: &Hardware, traits: &HostTraits) -> Result<Vec<Disk>> {
    let flavor = &guest.spec.flavor;
    let bus = hardware.bus;
    let mut names = Names::default();
    // The format is always said: what a guest writes at the beginning of its disk must never be looked at.
    let mut disk = |path: std::path::PathBuf, format, device, bus: Bus| {
        let cdrom = device == "cdrom";
        Ok::<_, Error>(Disk {
            kind: "file",
            device,
            driver: DiskDriver {
                name: "qemu",
                format,
                cache: traits.disk_cache,
                discard: (!cdrom).then_some("unmap"),
            },
            source: FileSource { file: path.to_string_lossy().into_owned() },
            target: names.target(bus)?,
            readonly: cdrom.then_some(Empty {}),
            boot: None,
        })
    };
    let mut disks = vec![match hardware.cdrom {
        Some(bus) => disk(files.root_disk(), "qcow2", "cdrom", bus)?,
        None => disk(files.root_disk(), "qcow2", "disk", bus)?,
    }];
    if flavor.ephemeral_gb > 0 {
        disks.push(disk(files.ephemeral(), "raw", "disk", bus)?);
    }
    if flavor.swap_mb > 0 {
        disks.push(disk(files.swap(), "raw", "disk", bus)?);
    }
    if guest.config_drive.is_some() {
        // virtio-blk rather than a CD on SATA, which cloud kernels have no driver for.
        let mut drive = disk(files.config_drive(), "raw", "disk", bus)?;
        if bus.name == "virtio" {
            drive.target.dev = format!("{}z", bus.prefix);
        }
        drive.driver.discard = None;
        // IDE and SATA disks cannot be read-only in QEMU.
        drive.readonly = matches!(bus.name, "virtio" | "scsi" | "usb").then_some(Empty {});
        disks.push(drive);
    }
    Ok(disks)
}

fn controllers(devices: usize, hardware: &Hardware) -> Vec<Controller> {
    let controller = |kind, index, model| Controller { kind, index, model };
    let mut all = Vec::new();
    if is_q35(&hardware.machine) {
        all.push(controller("pci", 0, "pcie-root"));
        // Every virtio device takes a port: disks, NICs, serial (guest agent), rng, balloon, a SCSI controller, input.
        let taken = u32::try_from(devices).unwrap_or(20).min(20)
            + 3
            + u32::from(hardware.scsi.is_some())
            + if hardware.keyboard == Some("virtio") { 2 } else { 0 };
        all.extend((1..=taken + SPARE_PORTS).map(|i| controller("pci", i, "pcie-root-port")));
    }
    if let Some(model) = hardware.scsi {
        all.push(controller("scsi", 0, model));
    }
    // A USB controller nobody uses wakes the host and lengthens the boot.
    all.push(controller("usb", 0, if hardware.usb() { "qemu-xhci" } else { "none" }));
    all
}
