//! The hardware of a guest as this host can give it: what flavor and image ask for, against what libvirt and QEMU have.
//!
//! What no libvirt host has is refused for good (400); what this host lacks, another one may have (501: the build goes
//! elsewhere).

use crate::xml::clean;
use ferrostack_model::guest::GuestSpec;
use ferrostack_model::guest_hardware::{Entropy, GuestHardware, MAX_SERIAL_PORTS, Topology, Tpm};
use ferrostack_model::{Error, ErrorKind, Result};
use std::net::IpAddr;

/// Most queues of a NIC: what a tap device can have.
const MAX_QUEUES: u32 = 256;

/// What of the host decides how guests are defined.
#[derive(Clone, Debug)]
pub struct HostTraits {
    /// Hardware virtualisation is in use.
    pub kvm: bool,
    /// `x86_64`
    pub arch: String,
    /// Machine type of guests whose image does not say.
    pub machine: String,
    /// What guests can have.
    pub offers: Offers,
    /// Cache mode of disks: `none` where the file system of the instances knows O_DIRECT.
    pub disk_cache: &'static str,
    /// Where VNC listens.
    pub vnc_listen: IpAddr,
    /// libvirt has the filters against forged addresses.
    pub filters: bool,
}

/// Hardware that not every host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Machine types; empty if libvirt does not tell.
    pub machines: Vec<String>,
    /// UEFI firmware.
    pub efi: bool,
    /// UEFI firmware that checks signatures.
    pub secure_boot: bool,
    /// Models of emulated TPMs; none without swtpm.
    pub tpm_models: Vec<String>,
    /// Versions of TPMs; empty if libvirt does not tell.
    pub tpm_versions: Vec<String>,
    /// Video cards; empty if libvirt does not tell.
    pub video: Vec<String>,
}

/// Which bus disks are on, with its device name prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bus {
    /// libvirt's name.
    pub name: &'static str,
    /// `vd`
    pub prefix: &'static str,
    /// Devices that fit.
    pub room: usize,
}

/// A guest's hardware, checked.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Machine type.
    pub machine: String,
    /// Of the disks.
    pub bus: Bus,
    /// Of the root disk where it is a CD: the image is an ISO.
    pub cdrom: Option<Bus>,
    /// SCSI controller.
    pub scsi: Option<&'static str>,
    /// Network card.
    pub vif: &'static str,
    /// Its queues, where there are several.
    pub queues: Option<u32>,
    /// Video card.
    pub video: &'static str,
    /// MiB of video memory.
    pub video_ram: Option<u64>,
    /// Local time and hints for Windows.
    pub windows: bool,
    /// Bus of the tablet.
    pub tablet: Option<&'static str>,
    /// Bus of the keyboard, where it is not the PC's own.
    pub keyboard: Option<&'static str>,
    /// UEFI instead of BIOS.
    pub efi: bool,
    /// UEFI checks what it boots.
    pub secure_boot: bool,
    /// The firmware shows a boot menu.
    pub boot_menu: bool,
    /// The image wants, or does not want, the HPET.
    pub hpet: Option<bool>,
    /// The channel of the guest agent.
    pub guest_agent: bool,
    /// KVM hides itself.
    pub hidden: bool,
    /// CPU events; the hypervisor's choice if none.
    pub pmu: Option<bool>,
    /// TPM.
    pub tpm: Option<Tpm>,
    /// Watchdog's action.
    pub watchdog: Option<&'static str>,
    /// Entropy.
    pub entropy: Option<Entropy>,
    /// Serial ports.
    pub serial_ports: u32,
    /// CPUs.
    pub topology: Topology,
}

/// `value` if it is one of `known`.
fn choose(property: &str, value: &str, known: &[&'static str]) -> Result<&'static str> {
    known.iter().copied().find(|k| *k == value).ok_or_else(|| unsupported(property, value))
}

fn text(property: &str, value: &str, by: &str) -> String {
    let value: String = clean(value).chars().take(64).collect();
    format!("Image property {property}={value} is not supported by {by}.")
}

/// No host of this kind has it.
pub fn unsupported(property: &str, value: &str) -> Error {
    Error::bad_request(text(property, value, "this hypervisor"))
}

/// This host does not have it.
fn lacking(property: &str, value: &str) -> Error {
    Error::new(ErrorKind::NotImplemented, text(property, value, "the host"))
}

/// Whether a machine type is QEMU's q35.
pub fn is_q35(machine: &str) -> bool {
    machine == "q35" || machine.starts_with("pc-q35")
}

pub(crate) fn disk_bus(property: &str, name: &str, q35: bool) -> Result<Bus> {
    Ok(match name {
        "virtio" => Bus { name: "virtio", prefix: "vd", room: 20 },
        "scsi" => Bus { name: "scsi", prefix: "sd", room: 20 },
        "usb" => Bus { name: "usb", prefix: "sd", room: 8 },
        "sata" => Bus { name: "sata", prefix: "sd", room: 6 },
        // q35 has no IDE; its SATA controller is what such a guest can use.
        "ide" if q35 => Bus { name: "sata", prefix: "sd", room: 6 },
        "ide" => Bus { name: "ide", prefix: "hd", room: 4 },
        other => return Err(unsupported(property, other)),
    })
}

fn machine(wanted: Option<&str>, traits: &HostTraits) -> Result<String> {
    let Some(machine) = wanted.filter(|m| !m.is_empty()) else { return Ok(traits.machine.clone()) };
    // A machine type goes into QEMU's command line.
    if machine.len() > 64 || !machine.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        return Err(unsupported("hw_machine_type", machine));
    }
    let known = &traits.offers.machines;
    if !known.is_empty() && !known.iter().any(|k| k == machine) {
        return Err(lacking("hw_machine_type", machine));
    }
    Ok(machine.to_owned())
}

impl Hardware {
    /// What `spec` asks for.
    ///
    /// # Errors
    /// `BadRequest` naming a property with a value that cannot be had, `NotImplemented` if this host lacks it.
    pub fn of(spec: &GuestSpec, traits: &HostTraits) -> Result<Self> {
        // The API refuses empty values as Nova does; guests that are older than that keep starting.
        let set = spec.image.properties.iter().filter(|(_, value)| !value.is_empty());
        let set = set.map(|(name, value)| (name.clone(), value.clone())).collect();
        let wish = GuestHardware::of(&spec.flavor, &set)?;
        let properties = &wish.properties;
        let x86 = traits.arch == "x86_64";
        if let Some(arch) = properties.choice("hw_architecture")
            && arch != traits.arch
            && !(x86 && arch == "i686")
        {
            return Err(lacking("hw_architecture", arch));
        }
        if let Some(arch) = properties.choice("hw_emulation_architecture").filter(|a| *a != traits.arch) {
            return Err(lacking("hw_emulation_architecture", arch));
        }
        if let Some(kind) = properties.choice("img_hv_type").filter(|k| !matches!(*k, "qemu" | "kvm")) {
            return Err(lacking("img_hv_type", kind));
        }
        if let Some(mode) = properties.choice("hw_vm_mode").filter(|m| *m != "hvm") {
            return Err(lacking("hw_vm_mode", mode));
        }
        // Promises of secrecy are kept or refused.
        if wish.memory_encryption {
            return Err(lacking("hw_mem_encryption", "true"));
        }
        if properties.flag("hw_ephemeral_encryption") == Some(true) {
            return Err(lacking("hw_ephemeral_encryption", "true"));
        }
        let machine = machine(properties.text("hw_machine_type"), traits)?;
        let q35 = is_q35(&machine);
        let bus = disk_bus("hw_disk_bus", properties.choice("hw_disk_bus").unwrap_or("virtio"), q35)?;
        let cdrom = if spec.image.disk_format == "iso" {
            let usual = if x86 { "ide" } else { "scsi" };
            let name = properties.choice("hw_cdrom_bus").unwrap_or(usual);
            if name == "virtio" {
                // There is no CD drive on virtio-blk.
                return Err(unsupported("hw_cdrom_bus", name));
            }
            Some(disk_bus("hw_cdrom_bus", name, q35)?)
        } else {
            None
        };
        let scsi = properties.choice("hw_scsi_model");
        let scsi = scsi
            .map(|model| {
                choose("hw_scsi_model", model, &["virtio-scsi", "lsilogic", "lsisas1068", "lsisas1078"])
            })
            .transpose()?;
        let on_scsi = bus.name == "scsi" || cdrom.is_some_and(|bus| bus.name == "scsi");
        let vif = choose(
            "hw_vif_model",
            properties.choice("hw_vif_model").unwrap_or("virtio"),
            &["virtio", "e1000", "e1000e", "igb", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3"],
        )?;
        let firmware = properties.choice("hw_firmware_type");
        let efi = firmware == Some("uefi") || (wish.secure_boot && firmware.is_none());
        if efi && !traits.offers.efi {
            return Err(Error::new(ErrorKind::NotImplemented, "UEFI is not supported"));
        }
        if wish.secure_boot && (!efi || !traits.offers.secure_boot) {
            return Err(Error::new(
                ErrorKind::NotImplemented,
                "Secure Boot is not supported by host or is not combined with UEFI.",
            ));
        }
        if let Some(tpm) = wish.tpm {
            if !traits.offers.tpm_models.iter().any(|model| model == tpm.model) {
                return Err(lacking("hw_tpm_model", tpm.model));
            }
            let versions = &traits.offers.tpm_versions;
            if !versions.is_empty() && !versions.iter().any(|version| version == tpm.version) {
                return Err(lacking("hw_tpm_version", tpm.version));
            }
        }
        if wish.serial_ports > MAX_SERIAL_PORTS {
            return Err(Error::bad_request(format!(
                "Maximum number of serial port exceeds {MAX_SERIAL_PORTS} for {}",
                if traits.kvm { "kvm" } else { "qemu" }
            )));
        }
        let input = properties.choice("hw_input_bus");
        let tablet = input.or_else(|| properties.choice("hw_pointer_model").map(|_| "usb"));
        let vcpus = spec.flavor.vcpus;
        Ok(Self {
            video: video(properties.choice("hw_video_model"), &traits.offers)?,
            video_ram: wish.video_ram()?,
            scsi: scsi.or(on_scsi.then_some("virtio-scsi")),
            queues: (wish.multiqueue && vif == "virtio" && vcpus > 1).then_some(vcpus.min(MAX_QUEUES)),
            windows: wish.is_windows(),
            guest_agent: properties.flag("hw_qemu_guest_agent") != Some(false),
            hidden: properties.flag("img_hide_hypervisor_id").unwrap_or(false),
            hpet: properties.flag("hw_time_hpet"),
            topology: wish.topology()?,
            secure_boot: wish.secure_boot,
            boot_menu: wish.boot_menu,
            pmu: wish.pmu,
            tpm: wish.tpm,
            watchdog: wish.watchdog,
            entropy: wish.entropy,
            serial_ports: wish.serial_ports,
            keyboard: input,
            tablet,
            machine,
            bus,
            cdrom,
            vif,
            efi,
        })
    }

    /// Whether anything is on USB.
    pub fn usb(&self) -> bool {
        let disks = [Some(self.bus), self.cdrom];
        self.tablet == Some("usb") || disks.into_iter().flatten().any(|bus| bus.name == "usb")
    }
}

fn video(wanted: Option<&'static str>, offers: &Offers) -> Result<&'static str> {
    let Some(model) = wanted else { return Ok("vga") };
    // Xen's and PowerVM's.
    if matches!(model, "xen" | "gop") {
        return Err(unsupported("hw_video_model", model));
    }
    if model != "none" && !offers.video.is_empty() && !offers.video.iter().any(|known| known == model) {
        return Err(lacking("hw_video_model", model));
    }
    Ok(model)
}
