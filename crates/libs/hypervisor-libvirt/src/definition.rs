//! A guest's domain definition: from what the control plane wants to libvirt's XML.

use crate::files::GuestFiles;
use crate::xml::domain::*;
use crate::xml::metadata::{GuestMeta, Metadata};
use crate::xml::{self, clean};
use ferrostack_hypervisor::Guest;
use ferrostack_model::network::NicSpec;
use ferrostack_model::{Error, Result};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What of the host decides how guests are defined.
#[derive(Clone, Debug)]
pub struct HostTraits {
    /// Hardware virtualisation is in use.
    pub kvm: bool,
    /// `x86_64`
    pub arch: String,
    /// Machine type of guests whose image does not say.
    pub machine: String,
    /// Cache mode of disks: `none` where the file system of the instances knows O_DIRECT.
    pub disk_cache: &'static str,
    /// Where VNC listens.
    pub vnc_listen: IpAddr,
    /// libvirt has the filters against forged addresses.
    pub filters: bool,
}

/// libvirt's filter that lets a guest send from its own MAC and IP addresses only.
pub const CLEAN_TRAFFIC: &str = "clean-traffic";

/// Command line of a direct kernel boot whose image has no `os_command_line`.
pub const DEFAULT_CMDLINE: &str = "root=/dev/vda console=tty0 console=ttyS0";

/// PCIe root ports of a q35 guest beyond what its devices take, for what is plugged in later.
const SPARE_PORTS: u32 = 4;

/// Which bus the disks are on, with its device name prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bus {
    name: &'static str,
    prefix: &'static str,
    /// Devices that fit.
    room: usize,
}

/// Image properties that the driver obeys, checked.
#[derive(Clone, Debug)]
pub struct Hardware {
    machine: String,
    bus: Bus,
    vif: &'static str,
    video: &'static str,
    windows: bool,
    tablet: bool,
    efi: bool,
}

/// `value` if it is one of `known`.
fn choose(property: &str, value: &str, known: &[&'static str]) -> Result<&'static str> {
    known.iter().copied().find(|k| *k == value).ok_or_else(|| unsupported(property, value))
}

fn unsupported(property: &str, value: &str) -> Error {
    let value: String = clean(value).chars().take(64).collect();
    Error::bad_request(format!("Image property {property}={value} is not supported by this hypervisor."))
}

impl Hardware {
    /// Reads the image's properties.
    ///
    /// # Errors
    /// `BadRequest` naming a property with a value that cannot be had.
    pub fn of(properties: &BTreeMap<String, String>, traits: &HostTraits) -> Result<Self> {
        let get = |key: &str| properties.get(key).map(String::as_str).filter(|v| !v.is_empty());
        let machine = match get("hw_machine_type") {
            // A machine type goes into QEMU's command line.
            Some(m) if m.len() <= 64 && m.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) => {
                m.to_owned()
            }
            Some(m) => return Err(unsupported("hw_machine_type", m)),
            None => traits.machine.clone(),
        };
        let q35 = is_q35(&machine);
        let bus = match get("hw_disk_bus").unwrap_or("virtio") {
            "virtio" => Bus { name: "virtio", prefix: "vd", room: 20 },
            "scsi" => Bus { name: "scsi", prefix: "sd", room: 20 },
            "usb" => Bus { name: "usb", prefix: "sd", room: 8 },
            "sata" => Bus { name: "sata", prefix: "sd", room: 6 },
            // q35 has no IDE; its SATA controller is what such a guest can use.
            "ide" if q35 => Bus { name: "sata", prefix: "sd", room: 6 },
            "ide" => Bus { name: "ide", prefix: "hd", room: 4 },
            other => return Err(unsupported("hw_disk_bus", other)),
        };
        let vif = get("hw_vif_model").unwrap_or("virtio");
        let vif = choose(
            "hw_vif_model",
            vif,
            &["virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3"],
        )?;
        let video = get("hw_video_model").unwrap_or("vga");
        let video = choose("hw_video_model", video, &["vga", "cirrus", "virtio", "bochs", "none"])?;
        let efi = choose("hw_firmware_type", get("hw_firmware_type").unwrap_or("bios"), &["bios", "uefi"])?
            == "uefi";
        Ok(Self {
            efi,
            machine,
            bus,
            vif,
            video,
            windows: get("os_type") == Some("windows"),
            tablet: get("hw_pointer_model") == Some("usbtablet"),
        })
    }

    /// Whether the guest is a Windows.
    pub fn is_windows(&self) -> bool {
        self.windows
    }
}

fn is_q35(machine: &str) -> bool {
    machine == "q35" || machine.starts_with("pc-q35")
}

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
    let hardware = Hardware::of(&spec.image.properties, traits)?;
    if spec.flavor.vcpus == 0 || spec.flavor.ram_mb == 0 {
        return Err(Error::bad_request("The flavor has no vcpus or no memory."));
    }
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
        cpu: cpu(spec.flavor.vcpus, traits),
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
        boot: if direct { Vec::new() } else { vec![Dev { dev: "hd" }] },
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
    Features { acpi: Empty {}, apic: Empty {}, hyperv, tcg }
}

fn cpu(vcpus: u32, traits: &HostTraits) -> Cpu {
    let topology = Topology { sockets: vcpus, cores: 1, threads: 1 };
    // Emulated, every feature there is: QEMU's default (qemu64) is too old for distributions that ask for x86-64-v2.
    Cpu { mode: if traits.kvm { "host-model" } else { "maximum" }, topology }
}

fn clock(hardware: &Hardware, traits: &HostTraits) -> Clock {
    let mut timer = Vec::new();
    if traits.kvm {
        let tick = |name, policy| Timer { name, tickpolicy: Some(policy), present: None };
        let present = |name, present| Timer { name, tickpolicy: None, present: Some(present) };
        timer = vec![tick("pit", "delay"), tick("rtc", "catchup"), present("hpet", "no")];
        if hardware.windows {
            timer.push(present("hypervclock", "yes"));
        }
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
    let interface: Vec<Interface> = guest
        .spec
        .nics
        .iter()
        .zip(networks)
        .map(|(nic, network)| Interface {
            kind: "network",
            mac: Mac { address: nic.mac_address.to_ascii_lowercase() },
            source: NetworkSource { network: network.clone() },
            model: Model { kind: hardware.vif },
            mtu: Size { size: nic.network.mtu },
            filterref: traits.filters.then(|| filter(nic)),
        })
        .collect();
    if interface.len() != guest.spec.nics.len() {
        return Err(Error::internal("a NIC has no libvirt network"));
    }
    Ok(Devices {
        controller: controllers(disk.len() + interface.len(), hardware),
        disk,
        interface,
        serial: Serial {
            kind: "pty",
            log: Log { file: files.console_log().to_string_lossy().into_owned(), append: "on" },
            target: Port { port: 0 },
        },
        console: Console { kind: "pty", target: ConsoleTarget { kind: "serial", port: 0 } },
        channel: Channel {
            kind: "unix",
            target: ChannelTarget { kind: "virtio", name: "org.qemu.guest_agent.0" },
        },
        input: if hardware.tablet { vec![Input { kind: "tablet", bus: "usb" }] } else { Vec::new() },
        graphics: Graphics { kind: "vnc", port: -1, autoport: "yes", listen: traits.vnc_listen.to_string() },
        video: Video { model: Model { kind: hardware.video } },
        rng: Rng { model: "virtio", backend: RngBackend { model: "random", device: "/dev/urandom" } },
        memballoon: Balloon { model: "virtio", stats: Period { period: 10 } },
    })
}

/// As Neutron's port security: a guest that could take a neighbour's address would be given the neighbour's metadata.
fn filter(nic: &NicSpec) -> FilterRef {
    let addresses = nic.fixed_ips.iter().filter(|fixed| fixed.ip_address.is_ipv4());
    let parameter: Vec<Parameter> =
        addresses.map(|fixed| Parameter { name: "IP", value: fixed.ip_address.to_string() }).collect();
    // Without a known address libvirt would believe the first one it sees.
    FilterRef { filter: if parameter.is_empty() { "no-mac-spoofing" } else { CLEAN_TRAFFIC }, parameter }
}

/// The disks in Nova's order: root, ephemeral, swap, and the config drive as the last of the bus.
fn disks(guest: &Guest, files: &GuestFiles, hardware: &Hardware, traits: &HostTraits) -> Result<Vec<Disk>> {
    let flavor = &guest.spec.flavor;
    let mut wanted = vec![(files.root_disk(), "qcow2")];
    if flavor.ephemeral_gb > 0 {
        wanted.push((files.ephemeral(), "raw"));
    }
    if flavor.swap_mb > 0 {
        wanted.push((files.swap(), "raw"));
    }
    let bus = hardware.bus;
    let config = guest.config_drive.is_some();
    if wanted.len() + usize::from(config) > bus.room {
        return Err(unsupported("hw_disk_bus", bus.name));
    }
    let target = |i: usize| DiskTarget {
        dev: format!("{}{}", bus.prefix, char::from(b'a' + u8::try_from(i).unwrap_or(25))),
        bus: bus.name,
    };
    let mut disks: Vec<Disk> = wanted
        .into_iter()
        .enumerate()
        .map(|(i, (path, format))| Disk {
            kind: "file",
            device: "disk",
            driver: DiskDriver { name: "qemu", format, cache: traits.disk_cache, discard: Some("unmap") },
            source: FileSource { file: path.to_string_lossy().into_owned() },
            target: target(i),
            readonly: None,
        })
        .collect();
    if config {
        // virtio-blk rather than a CD on SATA, which cloud kernels have no driver for.
        let last = if bus.name == "virtio" { 25 } else { disks.len() };
        disks.push(Disk {
            kind: "file",
            device: "disk",
            driver: DiskDriver { name: "qemu", format: "raw", cache: traits.disk_cache, discard: None },
            source: FileSource { file: files.config_drive().to_string_lossy().into_owned() },
            target: target(last),
            // IDE and SATA disks cannot be read-only in QEMU.
            readonly: matches!(bus.name, "virtio" | "scsi" | "usb").then_some(Empty {}),
        });
    }
    Ok(disks)
}

fn controllers(devices: usize, hardware: &Hardware) -> Vec<Controller> {
    let controller = |kind, index, model| Controller { kind, index, model };
    let mut all = Vec::new();
    if is_q35(&hardware.machine) {
        all.push(controller("pci", 0, "pcie-root"));
        // Every virtio device takes a port: disks, NICs, serial (guest agent), rng, balloon, a SCSI controller.
        let taken = u32::try_from(devices).unwrap_or(20).min(20) + 3 + u32::from(hardware.bus.name == "scsi");
        all.extend((1..=taken + SPARE_PORTS).map(|i| controller("pci", i, "pcie-root-port")));
    }
    if hardware.bus.name == "scsi" {
        all.push(controller("scsi", 0, "virtio-scsi"));
    }
    let usb = hardware.tablet || hardware.bus.name == "usb";
    // A USB controller nobody uses wakes the host and lengthens the boot.
    all.push(controller("usb", 0, if usb { "qemu-xhci" } else { "none" }));
    all
}
