//! Interfaces of a running domain, as libvirt tells them and as it is told to take them out.

use super::to_string;
use ferrostack_model::Result;
use serde::{Deserialize, Serialize};

/// `<domain>`, the interfaces of it.
#[derive(Debug, Deserialize)]
pub struct DomainInterfaces {
    /// `<devices>`
    pub devices: Devices,
}

/// `<devices>`, the interfaces of it: libvirt writes them one after another.
#[derive(Debug, Deserialize)]
pub struct Devices {
    /// The interfaces.
    #[serde(default)]
    pub interface: Vec<LiveInterface>,
}

/// `<interface>`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename = "interface")]
pub struct LiveInterface {
    /// `network`
    #[serde(rename = "@type")]
    pub kind: String,
    /// MAC address: by it libvirt finds the device.
    pub mac: LiveMac,
    /// Its libvirt network.
    #[serde(default)]
    pub source: LiveSource,
}

/// `<mac address=''>`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LiveMac {
    /// The address.
    #[serde(rename = "@address")]
    pub address: String,
}

/// `<source network=''>`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct LiveSource {
    /// Name of the network.
    #[serde(rename = "@network", default)]
    pub network: String,
}

impl LiveInterface {
    /// The device as libvirt wants it named.
    pub fn device_xml(&self) -> Result<String> {
        to_string("interface", self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_and_names_interfaces() {
        let xml = "<domain type='qemu'><devices><emulator>/q</emulator>
            <interface type='network'><mac address='fa:16:3e:00:00:01'/>
              <source network='net-1' portid='x' bridge='virbr1'/><target dev='vnet0'/><alias name='net0'/></interface>
            <interface type='network'><mac address='fa:16:3e:00:00:02'/><source network='a&amp;b'/></interface>
            <serial type='pty'/></devices></domain>";
        let known: DomainInterfaces = crate::xml::from_str("domain", xml).unwrap();
        assert_eq!(known.devices.interface.len(), 2);
        let text = known.devices.interface[1].device_xml().unwrap();
        assert!(text.starts_with("<interface type=\"network\">"), "{text}");
        assert!(text.contains("<mac address=\"fa:16:3e:00:00:02\"/>"), "{text}");
        assert!(text.contains("a&amp;b"), "{text}");
        assert!(crate::xml::from_str::<DomainInterfaces>("domain", "<domain><devices/></domain>").is_ok());
    }
}
