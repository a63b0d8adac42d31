//! `network_data.json`

use ferrostack_model::{
    guest::GuestSpec,
    network::{FixedIp, NicSpec, SubnetSpec},
};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Links, networks and services; as in Nova the first IPv4 and the first IPv6 address of each interface.
pub fn network_data(spec: &GuestSpec) -> Value {
    let (mut links, mut networks, mut services) = (Vec::new(), Vec::new(), Vec::new());
    for nic in &spec.nics {
        let link = link_id(nic);
        links.push(json!({
            "id": link,
            "vif_id": nic.port_id,
            "type": "bridge",
            "mtu": nic.network.mtu,
            "ethernet_mac_address": nic.mac_address,
        }));
        for wanted_v4 in [true, false] {
            let Some((ip, subnet)) = first(nic, wanted_v4) else { continue };
            networks.push(network(networks.len(), &link, nic, ip.ip_address, subnet));
            for dns in subnet.dns_nameservers.iter().map(dns_service) {
                if !services.contains(&dns) {
                    services.push(dns);
                }
            }
        }
    }
    json!({"links": links, "networks": networks, "services": services})
}

/// The name of the tap device: `tap` and the first 11 characters of the port's id.
fn link_id(nic: &NicSpec) -> String {
    format!("tap{}", nic.port_id.chars().take(11).collect::<String>())
}

fn first(nic: &NicSpec, v4: bool) -> Option<(&FixedIp, &SubnetSpec)> {
    nic.fixed_ips
        .iter()
        .filter(|ip| ip.ip_address.is_ipv4() == v4)
        .find_map(|ip| nic.network.subnets.iter().find(|s| s.id == ip.subnet_id).map(|subnet| (ip, subnet)))
}

fn dns_service(address: &IpAddr) -> Value {
    json!({"type": "dns", "address": address})
}

fn network(number: usize, link: &str, nic: &NicSpec, ip: IpAddr, subnet: &SubnetSpec) -> Value {
    let id = format!("network{number}");
    let kind = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    if subnet.enable_dhcp {
        return json!({"id": id, "type": format!("{kind}_dhcp"), "link": link, "network_id": nic.network.id});
    }
    let netmask = subnet.cidr.parse::<IpNet>().map(|net| net.netmask().to_string()).unwrap_or_default();
    let any = if ip.is_ipv4() { "0.0.0.0" } else { "::" };
    let routes: Vec<Value> = subnet
        .gateway_ip
        .iter()
        .map(|gateway| json!({"network": any, "netmask": any, "gateway": gateway}))
        .collect();
    let services: Vec<Value> = subnet.dns_nameservers.iter().map(dns_service).collect();
    json!({
        "id": id, "type": kind, "link": link, "ip_address": ip, "netmask": netmask,
        "routes": routes, "network_id": nic.network.id, "services": services,
    })
}
