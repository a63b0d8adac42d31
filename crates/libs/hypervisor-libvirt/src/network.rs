//! Virtual networks as libvirt NAT networks: one bridge and one dnsmasq each, a DHCP host entry for each port.
//!
//! Only the first IPv4 subnet with DHCP of a network is served by DHCP (libvirt allows no more); ports on others get
//! their address from the config drive. IPv6 subnets are not realised. A network that is there keeps the subnets, MTU
//! and name servers it was made with until its last port has left.
//!
//! Bridges have no name server of their own: guests are given the subnet's, or this host's.

use crate::connection::{CallResult, Connection, already, optional};
use crate::files::{Instances, PortRecord, canonical_id};
use crate::locks::Locks;
use crate::xml;
use crate::xml::network::*;
use ferrostack_model::network::{NetworkSpec, NicSpec, SubnetSpec};
use ferrostack_model::{Error, Result};
use ipnet::Ipv4Net;
use std::net::{IpAddr, Ipv4Addr};
use virt::connect::Connect;
use virt::network::Network as VirNetwork;
use virt::sys;

/// Where guests ask for their metadata.
pub const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Makes and removes networks and DHCP entries.
#[derive(Default)]
pub struct Networks {
    locks: Locks,
    metadata_address: bool,
}

/// The IPv4 side of a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subnet {
    net: Ipv4Net,
    /// Address of the bridge.
    bridge: Ipv4Addr,
    /// The bridge is the guests' router.
    routed: bool,
    dhcp: bool,
    dns: Vec<Ipv4Addr>,
}

fn subnet(spec: &SubnetSpec) -> Result<Option<Subnet>> {
    let bad = |what: &str| Error::bad_request(format!("Subnet {}: {what} is not valid.", spec.id));
    let net: ipnet::IpNet = spec.cidr.parse().map_err(|_| bad("the CIDR"))?;
    let ipnet::IpNet::V4(net) = net else { return Ok(None) };
    let net = net.trunc();
    let gateway = match spec.gateway_ip {
        Some(IpAddr::V4(ip)) => Some(ip),
        Some(IpAddr::V6(_)) => return Err(bad("the gateway")),
        None => None,
    };
    // dnsmasq needs an address in a subnet without a gateway too: the last one is given to a port last.
    let bridge = gateway.or_else(|| net.hosts().next_back()).ok_or_else(|| bad("the CIDR"))?;
    if !net.contains(&bridge) {
        return Err(bad("the gateway"));
    }
    let dns = spec.dns_nameservers.iter().filter_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    Ok(Some(Subnet { net, bridge, routed: gateway.is_some(), dhcp: spec.enable_dhcp, dns: dns.collect() }))
}

fn subnets(spec: &NetworkSpec) -> Result<Vec<Subnet>> {
    let mut all = Vec::new();
    for subnet_spec in &spec.subnets {
        all.extend(subnet(subnet_spec)?);
    }
    // libvirt takes the first <ip> for DHCP.
    all.sort_by_key(|subnet| !subnet.dhcp);
    Ok(all)
}

/// The NIC's DHCP entry, if its first DHCP subnet gave it an address.
fn dhcp_host(nic: &NicSpec, subnets: &[Subnet]) -> Option<DhcpHost> {
    let subnet = subnets.first().filter(|subnet| subnet.dhcp)?;
    nic.fixed_ips.iter().find_map(|fixed| match fixed.ip_address {
        IpAddr::V4(ip) if subnet.net.contains(&ip) => {
            Some(DhcpHost { mac: nic.mac_address.to_ascii_lowercase(), ip: ip.to_string() })
        }
        _ => None,
    })
}

/// The XML of a network called `name` with its first DHCP entry; `resolvers` are handed to guests of subnets that name
/// none.
///
/// # Errors
/// `BadRequest` naming the subnet whose CIDR or gateway is not valid.
pub fn network_xml(
    spec: &NetworkSpec,
    name: &str,
    host: Option<&DhcpHost>,
    metadata_address: bool,
    resolvers: &[Ipv4Addr],
) -> Result<String> {
    let subnets = subnets(spec)?;
    let mut ip: Vec<Ip> = subnets
        .iter()
        .enumerate()
        .map(|(i, subnet)| Ip {
            family: "ipv4",
            address: subnet.bridge.to_string(),
            prefix: subnet.net.prefix_len(),
            dhcp: (i == 0).then_some(host).flatten().map(|host| Dhcp { host: vec![host.clone()] }),
        })
        .collect();
    if metadata_address {
        ip.push(Ip { family: "ipv4", address: METADATA_ADDRESS.to_string(), prefix: 32, dhcp: None });
    }
    xml::to_string(
        "network",
        &Network {
            xmlns_dnsmasq: DNSMASQ,
            name: name.to_owned(),
            uuid: canonical_id(&spec.id)?,
            forward: subnets.iter().any(|s| s.routed).then_some(Forward { mode: "nat" }),
            bridge: Bridge { name: name.to_owned(), stp: "off", delay: 0 },
            mtu: Mtu { size: spec.mtu },
            dns: Dns { enable: "no" },
            options: DnsmasqOptions {
                option: dnsmasq_options(spec, subnets.first(), metadata_address, resolvers),
            },
            ip,
        },
    )
}

/// What DHCP tells guests beside their address.
fn dnsmasq_options(
    spec: &NetworkSpec,
    subnet: Option<&Subnet>,
    metadata_address: bool,
    resolvers: &[Ipv4Addr],
) -> Vec<DnsmasqOption> {
    let Some(subnet) = subnet.filter(|subnet| subnet.dhcp) else { return Vec::new() };
    let mut lines = vec![format!("dhcp-option=option:mtu,{}", spec.mtu)];
    if !subnet.routed {
        lines.push("dhcp-option=option:router".into());
    }
    if metadata_address {
        // A client that knows this option ignores the router option (RFC 3442), hence the default route in it.
        let default = if subnet.routed { format!(",0.0.0.0/0,{}", subnet.bridge) } else { String::new() };
        lines.push(format!(
            "dhcp-option=option:classless-static-route,{METADATA_ADDRESS}/32,{}{default}",
            subnet.bridge
        ));
    }
    let dns = if subnet.dns.is_empty() { resolvers } else { subnet.dns.as_slice() };
    if !dns.is_empty() {
        let servers: Vec<String> = dns.iter().map(ToString::to_string).collect();
        lines.push(format!("dhcp-option=option:dns-server,{}", servers.join(",")));
    }
    lines.into_iter().map(|value| DnsmasqOption { value }).collect()
}

/// This host's name servers, handed to guests of subnets that name none. Local ones guests cannot reach: behind
/// systemd-resolved are the real ones.
fn resolvers() -> Vec<Ipv4Addr> {
    ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"]
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .map(|text| nameservers(&text))
        .find(|servers| !servers.is_empty())
        .unwrap_or_default()
}

fn nameservers(text: &str) -> Vec<Ipv4Addr> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
        .filter(|ip: &Ipv4Addr| !ip.is_loopback() && !ip.is_unspecified())
        .take(3)
        .collect()
}

impl Networks {
    /// Networks with or without the metadata address on their bridges.
    pub fn new(metadata_address: bool) -> Self {
        Self { locks: Locks::default(), metadata_address }
    }

    /// Brings the NIC's network and DHCP entry into being; the name of the libvirt network.
    ///
    /// # Errors
    /// `BadRequest` for a spec that cannot be; `Conflict` where the host already uses the addresses.
    pub async fn ensure(&self, connection: &Connection, nic: &NicSpec) -> Result<String> {
        let id = canonical_id(&nic.network.id)?;
        let subnets = subnets(&nic.network)?;
        let host = dhcp_host(nic, &subnets);
        let _lock = self.locks.lock(&id).await;
        let spec = nic.network.clone();
        let metadata_address = self.metadata_address;
        connection
            .call(format!("making the network {id}"), move |connect| {
                let network = define(connect, &id, &spec, host.as_ref(), metadata_address)?;
                start(&network)?;
                if let Some(host) = &host {
                    set_host(&network, host)?;
                }
                Ok(network.name()?)
            })
            .await
    }

    /// Starts the networks of a guest that was defined before, as far as they are off.
    pub async fn start(&self, connection: &Connection, ports: &[PortRecord]) -> Result<()> {
        for port in ports {
            let id = canonical_id(&port.network_id)?;
            let _lock = self.locks.lock(&id).await;
            connection
                .call(format!("starting the network {id}"), move |connect| {
                    match optional(connect.lookup_network_by_uuid_string(&id))? {
                        Some(network) => start(&network),
                        None => Ok(()),
                    }
                })
                .await?;
        }
        Ok(())
    }

    /// Removes a port's DHCP entry, the network if nobody else is on it, and the port from the guest's record.
    pub async fn release(
        &self,
        connection: &Connection,
        instances: &Instances,
        server_id: &str,
        port: &PortRecord,
    ) -> Result<()> {
        let id = canonical_id(&port.network_id)?;
        let _lock = self.locks.lock(&id).await;
        // Records are written before their network is made, and shortened after their port has left, both under
        // this lock: so they tell all, and the last to leave finds itself alone.
        let in_use = instances.network_in_use(&port.network_id, server_id)?;
        let mac = port.mac.clone();
        connection
            .call(format!("leaving the network {id}"), move |connect| {
                let Some(network) = optional(connect.lookup_network_by_uuid_string(&id))? else {
                    return Ok(());
                };
                drop_hosts(&network, |host| host.mac.eq_ignore_ascii_case(&mac))?;
                let config = view(&network, Scope::Config)?;
                let live = if network.is_active()? { view(&network, Scope::Live)?.connections } else { 0 };
                if !in_use && live == 0 && config.hosts().next().is_none() {
                    remove(&network)?;
                }
                Ok(())
            })
            .await?;
        let files = instances.guest(server_id)?;
        if let Some(mut record) = files.record()? {
            record.ports.retain(|other| other != port);
            files.write_record(&record)?;
        }
        Ok(())
    }
}

/// Which of a network's two configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Live,
    Config,
}

fn scopes(network: &VirNetwork) -> CallResult<Vec<Scope>> {
    Ok(if network.is_active()? { vec![Scope::Config, Scope::Live] } else { vec![Scope::Config] })
}

fn view(network: &VirNetwork, scope: Scope) -> CallResult<NetworkView> {
    let flags = if scope == Scope::Config { sys::VIR_NETWORK_XML_INACTIVE } else { 0 };
    Ok(xml::from_str("network", &network.xml_desc(flags)?)?)
}

/// The network with this id, defined if it is not. Its name is `fs-` and the first 8 digits of the id, or 12 where
/// another network has that name; the longest is as long as an interface's name may be.
fn define(
    connect: &Connect,
    id: &str,
    spec: &NetworkSpec,
    host: Option<&DhcpHost>,
    metadata_address: bool,
) -> CallResult<VirNetwork> {
    if let Some(network) = optional(connect.lookup_network_by_uuid_string(id))? {
        return Ok(network);
    }
    let digits = id.replace('-', "");
    let mut name = format!("fs-{}", &digits[..8]);
    if optional(connect.lookup_network_by_name(&name))?.is_some() {
        name = format!("fs-{}", &digits[..12]);
    }
    let xml = network_xml(spec, &name, host, metadata_address, &resolvers())?;
    match connect.define_network_xml(&xml) {
        Ok(network) => {
            tracing::info!(network = id, name, "defined a network");
            Ok(network)
        }
        // Another process may have been faster.
        Err(e) => optional(connect.lookup_network_by_uuid_string(id))?.ok_or_else(|| e.into()),
    }
}

fn start(network: &VirNetwork) -> CallResult<()> {
    if !network.is_active()?
        && let Err(e) = already(network.create(), || network.is_active())
    {
        // "Network is already in use by interface …" has no code of its own.
        let clash = e.message().contains("already in use by interface");
        let text = format!("starting the network {}: {e}", network.name()?);
        return Err(if clash {
            let public = "The network's addresses are already in use on the host.";
            Error::conflict(public).with_internal(text).into()
        } else {
            Error::internal(text).into()
        });
    }
    if !network.autostart()? {
        network.set_autostart(true)?;
    }
    Ok(())
}

fn remove(network: &VirNetwork) -> CallResult<()> {
    if network.is_active()? {
        already(network.destroy(), || network.is_active().map(|active| !active))?;
    }
    // Undefined by another process meanwhile is as good.
    optional(network.undefine())?;
    Ok(())
}

fn update(
    network: &VirNetwork,
    scope: Scope,
    command: sys::virNetworkUpdateCommand,
    host: &DhcpHost,
) -> CallResult<()> {
    let flag = match scope {
        Scope::Live => sys::VIR_NETWORK_UPDATE_AFFECT_LIVE,
        Scope::Config => sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG,
    };
    let xml = xml::to_string("DHCP host", host)?;
    // -1: the <ip> that has DHCP.
    Ok(network.update(command, sys::VIR_NETWORK_SECTION_IP_DHCP_HOST, -1, &xml, flag)?)
}

fn drop_hosts(network: &VirNetwork, unwanted: impl Fn(&DhcpHost) -> bool) -> CallResult<()> {
    for scope in scopes(network)? {
        for (_, host) in view(network, scope)?.hosts().filter(|(_, host)| unwanted(host)) {
            update(network, scope, sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, host)?;
        }
    }
    Ok(())
}

/// The entry is there, and no other with its MAC or IP address.
fn set_host(network: &VirNetwork, host: &DhcpHost) -> CallResult<()> {
    let same = |other: &DhcpHost| other.ip == host.ip && other.mac.eq_ignore_ascii_case(&host.mac);
    drop_hosts(network, |other| {
        !same(other) && (other.ip == host.ip || other.mac.eq_ignore_ascii_case(&host.mac))
    })?;
    for scope in scopes(network)? {
        if !view(network, scope)?.hosts().any(|(_, other)| same(other)) {
            update(network, scope, sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, host)?;
        }
    }
    Ok(())
}
