//! `<domainbackup>`, and what is read of a running domain to write it.

use serde::{Deserialize, Serialize};

/// `<domainbackup mode='push'>`
#[derive(Debug, Serialize)]
#[serde(rename = "domainbackup")]
pub struct DomainBackup {
    /// `push`: QEMU writes the copy.
    #[serde(rename = "@mode")]
    pub mode: &'static str,
    /// Which disks; those not named are left out.
    pub disks: BackupDisks,
}

/// `<disks>` of a backup.
#[derive(Debug, Serialize)]
pub struct BackupDisks {
    /// The disks.
    pub disk: Vec<BackupDisk>,
}

/// `<disk name='vda' backup='yes' type='file'>`
#[derive(Debug, Serialize)]
pub struct BackupDisk {
    /// Device name in the guest.
    #[serde(rename = "@name")]
    pub name: String,
    /// `yes`
    #[serde(rename = "@backup")]
    pub backup: &'static str,
    /// `file`
    #[serde(rename = "@type")]
    pub kind: &'static str,
    /// Where the copy goes.
    pub target: BackupTarget,
    /// Its format.
    pub driver: BackupDriver,
}

/// `<target file=''>`
#[derive(Debug, Serialize)]
pub struct BackupTarget {
    /// Path.
    #[serde(rename = "@file")]
    pub file: String,
}

/// `<driver type='qcow2'>`
#[derive(Debug, Serialize)]
pub struct BackupDriver {
    /// Format.
    #[serde(rename = "@type")]
    pub kind: &'static str,
}

/// A domain's disks.
#[derive(Debug, Deserialize)]
pub struct DomainDisks {
    /// `<devices>`
    pub devices: Devices,
}

/// `<devices>`, the disks of it: libvirt writes them one after another.
#[derive(Debug, Deserialize)]
pub struct Devices {
    /// The disks.
    #[serde(default)]
    pub disk: Vec<Disk>,
}

/// `<disk>`
#[derive(Debug, Deserialize)]
pub struct Disk {
    /// Where its data are.
    pub source: Option<Source>,
    /// What the guest calls it.
    pub target: Target,
}

/// `<source file=''>`
#[derive(Debug, Deserialize)]
pub struct Source {
    /// Path.
    #[serde(rename = "@file", default)]
    pub file: String,
}

/// `<target dev='vda'>`
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Device name.
    #[serde(rename = "@dev", default)]
    pub dev: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_disks_and_writes_a_backup() {
        let xml = "<domain type='qemu'><name>x</name><devices><emulator>/q</emulator>
            <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/disk' index='1'/>
            <backingStore type='file' index='3'><format type='raw'/><source file='/base'/></backingStore>
            <target dev='vda' bus='virtio'/></disk>
            <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>
            <interface type='network'><target dev='vnet0'/></interface></devices></domain>";
        let disks: DomainDisks = crate::xml::from_str("domain", xml).unwrap();
        assert_eq!(disks.devices.disk.len(), 2);
        assert_eq!(disks.devices.disk[0].source.as_ref().unwrap().file, "/i/disk");
        assert_eq!(disks.devices.disk[0].target.dev, "vda");
        let backup = DomainBackup {
            mode: "push",
            disks: BackupDisks {
                disk: vec![BackupDisk {
                    name: "vda".into(),
                    backup: "yes",
                    kind: "file",
                    target: BackupTarget { file: "/a&'b".into() },
                    driver: BackupDriver { kind: "qcow2" },
                }],
            },
        };
        let text = crate::xml::to_string("domainbackup", &backup).unwrap();
        assert!(text.contains("<domainbackup mode=\"push\">"), "{text}");
        assert!(text.contains("/a&amp;"), "{text}");
    }
}
