//! `<network>`: <https://libvirt.org/formatnetwork.html>.

use serde::{Deserialize, Serialize};

/// Namespace of options that go to dnsmasq as they are.
pub const DNSMASQ: &str = "http://libvirt.org/schemas/network/dnsmasq/1.0";

/// `<network>` as we define it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename = "network")]
pub struct Network {
    /// Declares the dnsmasq prefix.
    #[serde(rename = "@xmlns:dnsmasq")]
    pub xmlns_dnsmasq: &'static str,
    /// Name.
    pub name: String,
    /// The network's id.
    pub uuid: String,
    /// NAT to the outside; without it the network is isolated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// The bridge.
    pub bridge: Bridge,
    /// Largest packet.
    pub mtu: Mtu,
    /// No name server.
    pub dns: Dns,
    /// Addresses of the bridge.
    pub ip: Vec<Ip>,
    /// Extra DHCP options.
    #[serde(rename = "dnsmasq:options")]
    pub options: DnsmasqOptions,
}

/// `<forward mode='nat'>`
#[derive(Clone, Debug, Serialize)]
pub struct Forward {
    /// `nat`
    #[serde(rename = "@mode")]
    pub mode: &'static str,
}

/// `<bridge>`
#[derive(Clone, Debug, Serialize)]
pub struct Bridge {
    /// Interface name, at most 15 bytes.
    #[serde(rename = "@name")]
    pub name: String,
    /// `off`
    #[serde(rename = "@stp")]
    pub stp: &'static str,
    /// Seconds until a new port forwards.
    #[serde(rename = "@delay")]
    pub delay: u32,
}

/// `<mtu size=''>`
#[derive(Clone, Debug, Serialize)]
pub struct Mtu {
    /// Bytes.
    #[serde(rename = "@size")]
    pub size: u32,
}

/// `<dns enable='no'>`
#[derive(Clone, Debug, Serialize)]
pub struct Dns {
    /// `no`: two dnsmasq could not both listen on 169.254.169.254, which every bridge has.
    #[serde(rename = "@enable")]
    pub enable: &'static str,
}

/// `<ip>`
#[derive(Clone, Debug, Serialize)]
pub struct Ip {
    /// `ipv4` or `ipv6`.
    #[serde(rename = "@family")]
    pub family: &'static str,
    /// Address of the bridge.
    #[serde(rename = "@address")]
    pub address: String,
    /// Prefix length.
    #[serde(rename = "@prefix")]
    pub prefix: u8,
    /// DHCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<Dhcp>,
}

/// `<dhcp>`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Dhcp {
    /// One for each port; nobody else gets an address.
    #[serde(default)]
    pub host: Vec<DhcpHost>,
}

/// `<host mac='' ip=''>`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "host")]
pub struct DhcpHost {
    /// MAC address.
    #[serde(rename = "@mac", default)]
    pub mac: String,
    /// IP address.
    #[serde(rename = "@ip", default)]
    pub ip: String,
}

/// `<dnsmasq:options>`
#[derive(Clone, Debug, Serialize)]
pub struct DnsmasqOptions {
    /// Lines of dnsmasq's configuration.
    #[serde(rename = "dnsmasq:option")]
    pub option: Vec<DnsmasqOption>,
}

/// `<dnsmasq:option value=''>`
#[derive(Clone, Debug, Serialize)]
pub struct DnsmasqOption {
    /// The line.
    #[serde(rename = "@value")]
    pub value: String,
}

/// What is read back of a network.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NetworkView {
    /// How many running guests use it (live XML only).
    #[serde(rename = "@connections", default)]
    pub connections: u32,
    /// Addresses.
    #[serde(default)]
    pub ip: Vec<IpView>,
}

/// `<ip>` as read back.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct IpView {
    /// Address of the bridge.
    #[serde(rename = "@address", default)]
    pub address: String,
    /// DHCP.
    #[serde(default)]
    pub dhcp: Option<Dhcp>,
}

impl NetworkView {
    /// Every DHCP host entry with the index of its `<ip>`.
    pub fn hosts(&self) -> impl Iterator<Item = (usize, &DhcpHost)> {
        self.ip
            .iter()
            .enumerate()
            .flat_map(|(i, ip)| ip.dhcp.iter().flat_map(|dhcp| dhcp.host.iter()).map(move |host| (i, host)))
    }
}
