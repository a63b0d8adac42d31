//! `<domainCapabilities>`: what guests of one machine type can have on this host.

use serde::Deserialize;

/// `<domainCapabilities>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct DomainCapabilities {
    /// Firmware.
    #[serde(default)]
    pub os: OsCapabilities,
    /// Devices.
    #[serde(default)]
    pub devices: DeviceCapabilities,
}

/// `<os>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct OsCapabilities {
    /// `firmware`
    #[serde(rename = "enum", default)]
    pub lists: Vec<List>,
    /// Firmware's files.
    #[serde(default)]
    pub loader: Device,
}

/// `<devices>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct DeviceCapabilities {
    /// Video cards.
    #[serde(default)]
    pub video: Device,
    /// TPMs.
    #[serde(default)]
    pub tpm: Device,
}

/// A kind of device.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Device {
    /// `yes` or `no`.
    #[serde(rename = "@supported", default)]
    pub supported: String,
    /// What it can be.
    #[serde(rename = "enum", default)]
    pub lists: Vec<List>,
}

/// `<enum name=''>`
#[derive(Clone, Debug, Default, Deserialize)]
pub struct List {
    /// Of what.
    #[serde(rename = "@name", default)]
    pub name: String,
    /// The values.
    #[serde(default)]
    pub value: Vec<String>,
}

/// The values of the list with this name.
fn values<'a>(lists: &'a [List], name: &str) -> &'a [String] {
    lists.iter().find(|list| list.name == name).map(|list| list.value.as_slice()).unwrap_or_default()
}

impl Device {
    /// The values of one of its lists; none if the device is not supported.
    pub fn values(&self, name: &str) -> &[String] {
        if self.supported == "yes" { values(&self.lists, name) } else { &[] }
    }

    /// Whether a list has the value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        self.values(name).iter().any(|v| v == value)
    }
}

impl DomainCapabilities {
    /// Whether there is UEFI firmware.
    pub fn efi(&self) -> bool {
        values(&self.os.lists, "firmware").iter().any(|v| v == "efi")
    }
}
