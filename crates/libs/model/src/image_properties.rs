//! Image properties that compute reads: one table of names and kinds, from which they are read, checked and documented.
//!
//! What a value may be is Nova's (`nova/objects/image_meta.py` and its field types). Names that are not here are the
//! user's own and mean nothing to compute.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// The kind of value a property takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of Nova's spellings of true; everything else is false.
    Flag,
    /// An integer.
    Number,
    /// One of these, as written.
    Of(&'static [&'static str]),
    /// One of these in any case, after older names were replaced.
    Named(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// An architecture.
    Architecture,
    /// A type of hypervisor.
    Hypervisor,
    /// A mode of virtual machines.
    VmMode,
    /// `>=6.0, <8`
    VersionPredicate,
}
use Kind::{Architecture, Flag, Hypervisor, Named, Number, Of, Text, VersionPredicate, VmMode};

/// A property that compute reads.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// The name it had before; the newer one wins where both are set.
    pub older: Option<&'static str>,
    /// What it may be.
    pub kind: Kind,
}

const fn property(name: &'static str, kind: Kind) -> Property {
    Property { name, older: None, kind }
}

const fn renamed(name: &'static str, older: &'static str, kind: Kind) -> Property {
    Property { name, older: Some(older), kind }
}

const BUSES: Kind = Of(&["fdc", "ide", "sata", "scsi", "usb", "virtio", "xen", "lxc", "uml"]);

/// Every architecture that Nova knows.
pub const ARCHITECTURES: &[&str] = &[
    "aarch64",
    "alpha",
    "armv6",
    "armv7l",
    "armv7b",
    "cris",
    "i686",
    "ia64",
    "lm32",
    "m68k",
    "microblaze",
    "microblazeel",
    "mips",
    "mipsel",
    "mips64",
    "mips64el",
    "openrisc",
    "parisc",
    "parisc64",
    "ppc",
    "ppcle",
    "ppc64",
    "ppc64le",
    "ppcemb",
    "riscv64",
    "s390",
    "s390x",
    "sh4",
    "sh4eb",
    "sparc",
    "sparc64",
    "unicore32",
    "x86_64",
    "xtensa",
    "xtensaeb",
];

const HYPERVISORS: &[&str] = &[
    "baremetal",
    "bhyve",
    "docker",
    "fake",
    "hyperv",
    "ironic",
    "kvm",
    "lxc",
    "lxd",
    "openvz",
    "parallels",
    "phyp",
    "prsm",
    "qemu",
    "test",
    "uml",
    "vbox",
    "vmware",
    "vz",
    "xen",
    "zvm",
];

/// Every property.
pub const PROPERTIES: &[Property] = &[
    renamed("hw_architecture", "architecture", Architecture),
    renamed("hw_auto_disk_config", "auto_disk_config", Text),
    property("hw_boot_menu", Flag),
    property("hw_cdrom_bus", BUSES),
    property("hw_cpu_cores", Number),
    property("hw_cpu_max_cores", Number),
    property("hw_cpu_max_sockets", Number),
    property("hw_cpu_max_threads", Number),
    property("hw_cpu_policy", Of(&["dedicated", "shared", "mixed"])),
    property("hw_cpu_sockets", Number),
    property("hw_cpu_thread_policy", Of(&["prefer", "isolate", "require"])),
    property("hw_cpu_threads", Number),
    property("hw_disk_bus", BUSES),
    renamed("hw_disk_type", "vmware_disktype", Text),
    property("hw_emulation_architecture", Architecture),
    property("hw_ephemeral_encryption", Flag),
    property("hw_ephemeral_encryption_format", Of(&["plain", "luks", "luksv2"])),
    property("hw_firmware_stateless", Flag),
    property("hw_firmware_type", Of(&["uefi", "bios"])),
    property("hw_floppy_bus", BUSES),
    property("hw_input_bus", Of(&["usb", "virtio"])),
    renamed("hw_ipxe_boot", "ipxe_boot", Flag),
    property("hw_locked_memory", Flag),
    property("hw_machine_type", Text),
    property("hw_maxphysaddr_bits", Number),
    property("hw_maxphysaddr_mode", Of(&["passthrough", "emulate"])),
    property("hw_mem_encryption", Flag),
    property("hw_mem_encryption_model", Of(&["amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx"])),
    property("hw_mem_page_size", Text),
    property("hw_numa_nodes", Number),
    property("hw_pci_numa_affinity_policy", Of(&["required", "preferred", "legacy", "socket"])),
    property("hw_pmu", Flag),
    property("hw_pointer_model", Of(&["usbtablet"])),
    property("hw_qemu_guest_agent", Flag),
    property("hw_redirected_usb_ports", Number),
    property("hw_rescue_bus", BUSES),
    property("hw_rescue_device", Of(&["cdrom", "disk", "floppy", "fs", "lun"])),
    property("hw_rng_model", Of(&["virtio"])),
    property(
        "hw_scsi_model",
        Named(
            &["buslogic", "ibmvscsi", "lsilogic", "lsisas1068", "lsisas1078", "virtio-scsi", "vmpvscsi"],
            &[("lsilogicsas", "lsisas1068"), ("paravirtual", "vmpvscsi")],
        ),
    ),
    property("hw_serial_port_count", Number),
    property("hw_sound_model", Of(&["sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"])),
    property("hw_time_hpet", Flag),
    property("hw_tpm_model", Of(&["tpm-tis", "tpm-crb"])),
    property("hw_tpm_secret_security", Of(&["user", "host", "deployment"])),
    property("hw_tpm_version", Of(&["1.2", "2.0"])),
    property("hw_usb_model", Of(&["none", "nec-xhci", "qemu-xhci"])),
    property(
        "hw_video_model",
        Of(&["bochs", "cirrus", "gop", "none", "qxl", "vga", "virtio", "vmvga", "xen"]),
    ),
    property("hw_video_ram", Number),
    property(
        "hw_vif_model",
        Named(
            &[
                "e1000",
                "e1000e",
                "igb",
                "lan9118",
                "ne2k_pci",
                "netfront",
                "pcnet",
                "rtl8139",
                "spapr-vlan",
                "sriov",
                "virtio",
                "vmxnet",
                "vmxnet3",
            ],
            &[
                ("virtuale1000", "e1000"),
                ("virtuale1000e", "e1000e"),
                ("virtualpcnet32", "pcnet"),
                ("virtualsriovethernetcard", "sriov"),
                ("virtualvmxnet", "vmxnet"),
                ("virtualvmxnet3", "vmxnet3"),
            ],
        ),
    ),
    property("hw_vif_multiqueue_enabled", Flag),
    property("hw_viommu_model", Of(&["intel", "smmuv3", "virtio", "auto"])),
    property("hw_virtio_packed_ring", Flag),
    renamed("hw_vm_mode", "vm_mode", VmMode),
    property("hw_watchdog_action", Of(&["none", "pause", "poweroff", "reset", "disabled"])),
    renamed("img_bdm_v2", "bdm_v2", Flag),
    renamed("img_cache_in_nova", "cache_in_nova", Flag),
    property("img_config_drive", Of(&["optional", "mandatory"])),
    property("img_hide_hypervisor_id", Flag),
    renamed("img_hv_requested_version", "hypervisor_version_requires", VersionPredicate),
    renamed("img_hv_type", "hypervisor_type", Hypervisor),
    renamed("img_owner_id", "owner_id", Text),
    renamed("img_root_device_name", "root_device_name", Text),
    property("os_admin_user", Text),
    property("os_command_line", Text),
    renamed("os_distro", "vmware_ostype", Text),
    property("os_require_quiesce", Flag),
    property("os_secure_boot", Of(&["required", "disabled", "optional"])),
    property("os_type", Named(&["linux", "windows"], &[])),
    property("os_version", Text),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Flag(bool),
    Number(i64),
    Choice(&'static str),
}

/// The properties of one image, read and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageProperties(BTreeMap<&'static str, Value>);

impl ImageProperties {
    /// Reads what of `all` compute knows.
    ///
    /// # Errors
    /// `BadRequest` with Nova's text naming the value that cannot be; long values are cut.
    pub fn read(all: &BTreeMap<String, String>) -> Result<Self> {
        let mut read = BTreeMap::new();
        for known in PROPERTIES {
            let newest = all.get(known.name).or_else(|| known.older.and_then(|older| all.get(older)));
            if let Some(text) = newest {
                let value = value(known, text)
                    .map_err(|why| Error::bad_request(format!("Invalid image metadata. Error: {why}")))?;
                read.insert(known.name, value);
            }
        }
        Ok(Self(read))
    }

    /// A text as the image has it.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Value::Text(text)) => Some(text),
            Some(Value::Choice(choice)) => Some(choice),
            _ => None,
        }
    }

    /// One of the values that the property's kind lists.
    pub fn choice(&self, name: &str) -> Option<&'static str> {
        match self.0.get(name) {
            Some(Value::Choice(choice)) => Some(choice),
            _ => None,
        }
    }

    /// A flag, if it is set at all.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// An integer.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

/// Whether `text` is one of Nova's spellings of true.
pub fn truth(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "t" | "true" | "on" | "y" | "yes")
}

/// Short enough for an answer.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

fn value(known: &Property, text: &str) -> Result<Value, String> {
    let listed = |list: &[&'static str], text: &str| list.iter().copied().find(|v| *v == text);
    let invalid = || format!("Field value {} is invalid", cut(text));
    let lower = text.to_ascii_lowercase();
    match known.kind {
        Text => Ok(Value::Text(text.to_owned())),
        Flag => Ok(Value::Flag(truth(text))),
        Number => match text.trim().parse() {
            Ok(number) => Ok(Value::Number(number)),
            Err(_) => Err(format!("invalid literal for int() with base 10: '{}'", cut(text))),
        },
        Of(list) => listed(list, text).map(Value::Choice).ok_or_else(invalid),
        Named(list, older) => {
            let name = older.iter().find(|(old, _)| *old == lower).map_or(lower.as_str(), |(_, new)| new);
            listed(list, name).map(Value::Choice).ok_or_else(invalid)
        }
        Architecture => {
            let name = match lower.as_str() {
                "amd64" | "x64" | "x86-64" => "x86_64",
                "i386" | "i486" | "i586" | "x86" => "i686",
                "arm64" => "aarch64",
                other => other,
            };
            listed(ARCHITECTURES, name)
                .map(Value::Choice)
                .ok_or_else(|| format!("Architecture name '{}' is not valid", cut(text)))
        }
        Hypervisor => {
            let name = match lower.as_str() {
                "xapi" => "xen",
                "powervm" => "phyp",
                other => other,
            };
            listed(HYPERVISORS, name)
                .map(Value::Choice)
                .ok_or_else(|| format!("Hypervisor virt type '{}' is not valid", cut(text)))
        }
        VmMode => {
            let name = match lower.as_str() {
                "pv" => "xen",
                "hv" | "baremetal" => "hvm",
                other => other,
            };
            listed(&["hvm", "xen", "uml", "exe"], name)
                .map(Value::Choice)
                .ok_or_else(|| format!("Virtual machine mode '{}' is not valid", cut(text)))
        }
        VersionPredicate if is_version_predicate(text) => Ok(Value::Text(text.to_owned())),
        VersionPredicate => {
            Err(format!("Version {} is not a valid predicate in field {}", cut(text), known.name))
        }
    }
}

/// Comparisons with versions, separated by commas.
fn is_version_predicate(text: &str) -> bool {
    text.split(',').map(str::trim).all(|term| {
        let version = term.trim_start_matches(['<', '>', '=', '!']);
        let operator = &term[..term.len() - version.len()];
        let version = version.trim();
        matches!(operator, "<" | "<=" | ">" | ">=" | "==" | "=" | "!=")
            && !version.is_empty()
            && version.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ImageProperties> {
        ImageProperties::read(&pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect())
    }

    fn refused(name: &str, value: &str) -> String {
        let error = read(&[(name, value)]).unwrap_err();
        assert_eq!(error.kind.http(), 400);
        error.public
    }

    #[test]
    fn values_that_cannot_be_are_refused_in_novas_words() {
        for (name, value, text) in [
            ("hw_disk_bus", "floppy", "Field value floppy is invalid"),
            ("hw_disk_bus", "VIRTIO", "Field value VIRTIO is invalid"),
            ("hw_disk_bus", "", "Field value  is invalid"),
            ("os_type", "plan9", "Field value plan9 is invalid"),
            ("hw_cpu_cores", "two", "invalid literal for int() with base 10: 'two'"),
            ("architecture", "vax", "Architecture name 'vax' is not valid"),
            ("hypervisor_type", "vm/370", "Hypervisor virt type 'vm/370' is not valid"),
            ("vm_mode", "half", "Virtual machine mode 'half' is not valid"),
            (
                "hypervisor_version_requires",
                "6",
                "Version 6 is not a valid predicate in field img_hv_requested_version",
            ),
        ] {
            assert_eq!(refused(name, value), format!("Invalid image metadata. Error: {text}"));
        }
        assert!(refused("hw_vif_model", &"x".repeat(100_000)).len() < 200, "an answer stays short");
    }

    #[test]
    fn older_names_and_spellings_are_known() {
        let properties = read(&[
            ("architecture", "AMD64"),
            ("vm_mode", "hv"),
            ("hw_vif_model", "VirtualE1000e"),
            ("hw_scsi_model", "paravirtual"),
            ("os_type", "Windows"),
            ("hw_qemu_guest_agent", "Yes"),
            ("hw_time_hpet", "nonsense"),
            ("my_own", "anything"),
            ("root_device_name", "/dev/sda"),
        ])
        .unwrap();
        assert_eq!(properties.choice("hw_architecture"), Some("x86_64"));
        assert_eq!(properties.choice("hw_vm_mode"), Some("hvm"));
        assert_eq!(properties.choice("hw_vif_model"), Some("e1000e"));
        assert_eq!(properties.choice("hw_scsi_model"), Some("vmpvscsi"));
        assert_eq!(properties.choice("os_type"), Some("windows"));
        assert_eq!(properties.flag("hw_qemu_guest_agent"), Some(true));
        assert_eq!(properties.flag("hw_time_hpet"), Some(false));
        assert_eq!(properties.flag("hw_boot_menu"), None);
        assert_eq!(properties.text("my_own"), None);
        assert_eq!(properties.text("img_root_device_name"), Some("/dev/sda"));
        let both = read(&[("architecture", "vax"), ("hw_architecture", "aarch64")]).unwrap();
        assert_eq!(both.choice("hw_architecture"), Some("aarch64"), "the newer name wins");
    }

    #[test]
    fn every_listed_value_is_taken_and_names_are_unique() {
        let mut names = std::collections::BTreeSet::new();
        for known in PROPERTIES {
            assert!(names.insert(known.name), "{} twice", known.name);
            assert!(known.older.is_none_or(|older| names.insert(older)), "{:?} twice", known.older);
            let (Of(list) | Named(list, _)) = known.kind else { continue };
            for value in list {
                assert_eq!(read(&[(known.name, value)]).unwrap().choice(known.name), Some(*value));
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(index in 0..PROPERTIES.len(), value in "\\PC{0,40}") {
            let _ = read(&[(PROPERTIES[index].name, &value)]);
        }

        #[test]
        fn predicates_never_panic(value in "[<>=!., 0-9x\u{e9}]{0,20}") {
            let _ = is_version_predicate(&value);
        }
    }
}
