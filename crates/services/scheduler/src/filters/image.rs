//! ImagePropertiesFilter: what an image demands of the hypervisor.

use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::host::HostState;
use std::collections::BTreeMap;

/// Architecture, hypervisor type and version, and VM mode that the image's properties name.
pub struct ImagePropertiesFilter;

impl Filter for ImagePropertiesFilter {
    fn name(&self) -> &'static str {
        "ImagePropertiesFilter"
    }
    fn on_rebuild(&self) -> bool {
        true
    }

    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        let properties = &wish.request.image_properties;
        if let Some(wanted) = property(properties, "hw_architecture", "architecture") {
            let wanted = canonical_arch(wanted);
            let have = canonical_arch(&host.arch);
            // A 64-bit x86 host also runs 32-bit guests.
            if wanted != have && !(have == "x86_64" && wanted == "i686") {
                return Err(format!("cannot run architecture {wanted}").into());
            }
        }
        if let Some(wanted) = property(properties, "img_hv_type", "hypervisor_type") {
            let (wanted, have) = (wanted.to_ascii_lowercase(), host.hypervisor_type.to_ascii_lowercase());
            // QEMU's emulation is there wherever KVM is.
            if wanted != have && !(have == "kvm" && wanted == "qemu") {
                return Err(format!("hypervisor type is not {wanted}").into());
            }
        }
        if let Some(wanted) = property(properties, "hw_vm_mode", "vm_mode") {
            // `hv` is Nova's older name.
            if !matches!(wanted.to_ascii_lowercase().as_str(), "hvm" | "hv") {
                return Err(format!("no VM mode {wanted}").into());
            }
        }
        if let Some(wanted) = property(properties, "img_hv_requested_version", "hypervisor_version_requires")
            && !version_fits(host.hypervisor_version, wanted)
        {
            return Err(format!("hypervisor version is not '{wanted}'").into());
        }
        Ok(())
    }
}

fn property<'a>(all: &'a BTreeMap<String, String>, name: &str, older: &str) -> Option<&'a str> {
    all.get(name).or_else(|| all.get(older)).map(String::as_str).filter(|v| !v.is_empty())
}

fn canonical_arch(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "amd64" | "x64" | "x86-64" => "x86_64".into(),
        "i386" | "i486" | "i586" | "x86" => "i686".into(),
        "arm64" => "aarch64".into(),
        other => other.into(),
    }
}

/// Whether libvirt's `number` satisfies every one of `>=6.0, <6.2`. What cannot be read is not satisfied.
fn version_fits(number: i64, wanted: &str) -> bool {
    let have = [number / 1_000_000, number / 1000 % 1000, number % 1000];
    wanted.split(',').map(str::trim).all(|term| {
        let digits = term.find(|c: char| c.is_ascii_digit()).unwrap_or(term.len());
        let (operator, version) = term.split_at(digits);
        let mut parts = [0; 3];
        let mut count = 0;
        for (i, part) in version.split('.').enumerate() {
            match (parts.get_mut(i), part.trim().parse::<i64>()) {
                (Some(slot), Ok(value)) => *slot = value,
                _ => return false,
            }
            count += 1;
        }
        count > 0
            && match operator.trim() {
                ">=" => have >= parts,
                "<=" => have <= parts,
                ">" => have > parts,
                "<" => have < parts,
                "==" | "=" => have == parts,
                "!=" => have != parts,
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::version_fits;

    #[test]
    fn version_predicates() {
        for wanted in [">=7.2", ">= 7.2.0, <8", "==7.2.4", "!=7.2.3", "<7.10", ">7.2.3"] {
            assert!(version_fits(7_002_004, wanted), "{wanted}");
        }
        for wanted in [">=7.3", "<7.2", "==7.2", "7.2.4", "", ">=x", ">=7.2, <7.2", ">=7.2.0.1"] {
            assert!(!version_fits(7_002_004, wanted), "{wanted}");
        }
    }
}
