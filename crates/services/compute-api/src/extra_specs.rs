//! What the extra specs of known namespaces may hold, checked from 2.86. Source: Nova 34's validators.

use ferrostack_model::{Error, Result};
use regex::Regex;
use std::sync::LazyLock;

/// The kind of value a key takes.
enum Kind {
    /// Anything.
    Any,
    /// One of Nova's booleans.
    Bool,
    /// An integer in a range.
    Int(i64, i64),
    /// One of these.
    Of(&'static [&'static str]),
    /// Text of this form, whole.
    Like(&'static str),
}
use Kind::{Any, Bool, Int, Like, Of};

const FREE: Kind = Int(i64::MIN, i64::MAX);
const COUNT: Kind = Int(1, i64::MAX);
const FROM_0: Kind = Int(0, i64::MAX);
const LEVELS: Kind = Of(&["custom", "high", "normal", "low"]);

/// Keys (as regular expressions, whole) with what they take. Namespaces that occur here know no other keys.
const TABLE: &[(&str, Kind)] = &[
    (r"accel:device_profile", Any),
    (r"aggregate_instance_extra_specs:.+", Any),
    (r"capabilities:.+", Any),
    (r"group_policy", Of(&["none", "isolate"])),
    (r"hide_hypervisor_id", Bool),
    (r"hw:boot_menu", Bool),
    (r"hw:cpu_(sockets|cores|threads)", COUNT),
    (r"hw:cpu_dedicated_mask", Any),
    (r"hw:cpu_max_(sockets|cores|threads)", COUNT),
    (r"hw:cpu_policy", Of(&["dedicated", "shared", "mixed"])),
    (r"hw:cpu_realtime", Bool),
    (r"hw:cpu_realtime_mask", Like(r"(\^)?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*")),
    (r"hw:cpu_thread_policy", Of(&["prefer", "isolate", "require"])),
    (r"hw:emulator_threads_policy", Of(&["isolate", "share"])),
    (r"hw:ephemeral_encryption", Bool),
    (r"hw:ephemeral_encryption_format", Of(&["plain", "luks", "luksv2"])),
    (r"hw:hide_hypervisor_id", Bool),
    (r"hw:locked_memory", Bool),
    (r"hw:maxphysaddr_bits", FROM_0),
    (r"hw:maxphysaddr_mode", Of(&["passthrough", "emulate"])),
    (r"hw:mem_encryption", Bool),
    (r"hw:mem_encryption_model", Of(&["amd-sev", "amd-sev-es", "amd-sev-snp", "intel-tdx"])),
    (r"hw:mem_page_size", Like(r"(large|small|any)|(\d+([kKMGT]i?)?(b|bit|B)?)")),
    (r"hw:numa_cpus\.\d+", Like(r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*")),
    (r"hw:numa_mem\.\d+", COUNT),
    (r"hw:numa_nodes", COUNT),
    (r"hw:pci_numa_affinity_policy", Of(&["required", "preferred", "legacy", "socket"])),
    (r"hw:pmem", Any),
    (r"hw:pmu", Bool),
    (r"hw:redirected_usb_ports", Int(0, 15)),
    (r"hw:serial_port_count", FROM_0),
    (r"hw:sound_model", Of(&["sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"])),
    (r"hw:tpm_model", Of(&["tpm-tis", "tpm-crb"])),
    (r"hw:tpm_secret_security", Of(&["user", "host", "deployment"])),
    (r"hw:tpm_version", Of(&["1.2", "2.0"])),
    (r"hw:usb_model", Of(&["none", "nec-xhci", "qemu-xhci"])),
    (r"hw:vif_multiqueue_enabled", Bool),
    (r"hw:viommu_model", Of(&["intel", "smmuv3", "virtio", "auto"])),
    (r"hw:virtio_packed_ring", Bool),
    (r"hw:watchdog_action", Of(&["none", "pause", "poweroff", "reset", "disabled"])),
    (r"hw_rng:allowed", Bool),
    (r"hw_rng:rate_(bytes|period)", FROM_0),
    (r"hw_video:ram_max_mb", FROM_0),
    (r"os:secure_boot", Of(&["disabled", "required"])),
    (r"pci_passthrough:alias", Like(r"([^:]+:\d+)(,\s*[^:]+:\d+)*")),
    (r"quota:(cpu|disk_io|memory|vif)_shares_level", LEVELS),
    (r"quota:(cpu|disk_io|memory|vif)_shares_share", FROM_0),
    (r"quota:(cpu|disk_io|memory|vif)_(limit|reservation)", FREE),
    (r"quota:cpu_(shares|period|quota)", FREE),
    (r"quota:disk_(read|write|total)_(bytes|iops)_sec", FROM_0),
    (r"quota:vif_(inbound|outbound)_(average|peak|burst)", FROM_0),
    (r"resources([a-zA-Z0-9_-]{1,64})?:[A-Z0-9_]+", FROM_0),
    (r"trait([a-zA-Z0-9_-]{1,64})?:[A-Z0-9_]+", Of(&["required", "forbidden"])),
    (r"vmware:.+", Any),
];

/// Namespaces in which an unknown key is an error.
static NAMESPACE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    whole(
        r"accel|aggregate_instance_extra_specs|capabilities|hw|hw_rng|hw_video|os|pci_passthrough|quota|vmware|(resources|trait)([a-zA-Z0-9_-]{1,64})?",
    )
});

static KEYS: LazyLock<Vec<(Option<Regex>, &'static Kind)>> =
    LazyLock::new(|| TABLE.iter().map(|(key, kind)| (whole(key), kind)).collect());

fn whole(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

/// 400 in Nova's words if the namespace of `key` is known and `key` is not, or `value` is not of its kind.
pub fn validate(key: &str, value: &str) -> Result<()> {
    let is = |regex: &Option<Regex>, text: &str| regex.as_ref().is_some_and(|r| r.is_match(text));
    if let Some((_, kind)) = KEYS.iter().find(|(regex, _)| is(regex, key)) {
        return check(kind, value);
    }
    match key.split_once(':') {
        Some((namespace, _)) if is(&NAMESPACE, namespace) => Err(Error::bad_request(format!(
            "Validation failed; extra spec '{key}' does not appear to be a valid extra spec."
        ))),
        _ => Ok(()),
    }
}

fn check(kind: &Kind, value: &str) -> Result<()> {
    let fail = |why: String| Err(Error::bad_request(format!("Validation failed; '{value}' {why}.")));
    match kind {
        Any => Ok(()),
        Bool => match value.trim().to_ascii_lowercase().as_str() {
            "1" | "t" | "true" | "on" | "y" | "yes" | "0" | "f" | "false" | "off" | "n" | "no" => Ok(()),
            _ => fail("is not a valid boolean value".into()),
        },
        Int(min, max) => match value.trim().parse::<i64>() {
            Err(_) => fail("is not a valid integer value".into()),
            Ok(n) if n > *max => fail(format!("is greater than the max value of '{max}'")),
            Ok(n) if n < *min => fail(format!("is less than the min value of '{min}'")),
            Ok(_) => Ok(()),
        },
        Of(values) if values.contains(&value) => Ok(()),
        Of(values) => fail(format!("is not one of: {}", values.join(", "))),
        Like(pattern) if whole(pattern).is_some_and(|r| r.is_match(value)) => Ok(()),
        Like(pattern) => fail(format!("is not of the format '{pattern}'")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert!(NAMESPACE.is_some());
        for ((regex, kind), (key, _)) in KEYS.iter().zip(TABLE) {
            assert!(regex.is_some(), "{key}");
            if let Like(pattern) = kind {
                assert!(whole(pattern).is_some(), "{pattern}");
            }
        }
    }

    #[test]
    fn judges_keys_and_values() {
        for (key, value) in [
            ("hw:cpu_policy", "dedicated"),
            ("hw:numa_cpus.0", "0-3,^1"),
            ("hw:mem_page_size", "2MB"),
            ("hw:cpu_realtime_mask", "^0-1"),
            ("resources1:VCPU", "4"),
            ("resources:CUSTOM_GPU", "1"),
            ("trait:HW_CPU_X86_AVX", "required"),
            ("trait_a:HW_CPU_X86_AVX", "forbidden"),
            ("quota:disk_read_bytes_sec", "1000"),
            ("capabilities:hypervisor_type", "s== QEMU"),
            ("pci_passthrough:alias", "gpu:1,nic:2"),
            ("mine:anything", "goes"),
            ("free", "text"),
            ("hide_hypervisor_id", "True"),
        ] {
            assert!(validate(key, value).is_ok(), "{key}={value}");
        }
        let says = |key, value| validate(key, value).unwrap_err().public;
        assert_eq!(
            says("hw:cpu_policy", "x"),
            "Validation failed; 'x' is not one of: dedicated, shared, mixed."
        );
        assert_eq!(
            says("hw:cpu_polices", "shared"),
            "Validation failed; extra spec 'hw:cpu_polices' does not appear to be a valid extra spec."
        );
        assert_eq!(says("hw:numa_nodes", "0"), "Validation failed; '0' is less than the min value of '1'.");
        assert_eq!(says("hw:pmu", "maybe"), "Validation failed; 'maybe' is not a valid boolean value.");
        assert_eq!(says("hw:numa_nodes", "a"), "Validation failed; 'a' is not a valid integer value.");
        assert!(says("quota:nonsense", "1").contains("valid extra spec"));
        assert!(says("trait:X", "maybe").contains("is not one of"));
    }
}
