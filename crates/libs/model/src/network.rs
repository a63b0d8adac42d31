//! What a guest's host must know of networks and ports.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A virtual network as agents realise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Network id.
    pub id: String,
    /// Network name; `addresses` of servers are keyed by it.
    pub name: String,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Its subnets.
    pub subnets: Vec<SubnetSpec>,
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetSpec {
    /// Subnet id.
    pub id: String,
    /// `10.0.0.0/24`.
    pub cidr: String,
    /// Router address, if any; agents give it to the bridge.
    pub gateway_ip: Option<IpAddr>,
    /// Whether guests get their address by DHCP.
    pub enable_dhcp: bool,
    /// Name servers handed to guests.
    #[serde(default)]
    pub dns_nameservers: Vec<IpAddr>,
}

/// One address of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedIp {
    /// The subnet it comes from.
    pub subnet_id: String,
    /// The address.
    pub ip_address: IpAddr,
}

/// A network interface of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicSpec {
    /// Port id.
    pub port_id: String,
    /// `fa:16:3e:…`.
    pub mac_address: String,
    /// Addresses of the port.
    pub fixed_ips: Vec<FixedIp>,
    /// The network it is on.
    pub network: NetworkSpec,
}
