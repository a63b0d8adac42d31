//! Neutron's errors by name, where more than one place raises them.

use ferrostack_model::Error;
use std::net::IpAddr;

/// 404.
pub fn network_not_found(id: &str) -> Error {
    Error::not_found(format!("Network {} could not be found.", cut(id))).named("NetworkNotFound")
}
/// 404.
pub fn subnet_not_found(id: &str) -> Error {
    Error::not_found(format!("Subnet {} could not be found.", cut(id))).named("SubnetNotFound")
}
/// 404.
pub fn port_not_found(id: &str) -> Error {
    Error::not_found(format!("Port {} could not be found.", cut(id))).named("PortNotFound")
}
/// 400.
pub fn invalid_ip_for_subnet(ip: IpAddr) -> Error {
    Error::bad_request(format!("IP address {ip} is not a valid IP for the specified subnet."))
        .named("InvalidIpForSubnet")
}
/// 400.
pub fn invalid_ip_for_network(ip: IpAddr) -> Error {
    Error::bad_request(format!(
        "IP address {ip} is not a valid IP for any of the subnets on the specified network."
    ))
    .named("InvalidIpForNetwork")
}
/// 409: the pools are used up.
pub fn no_more_addresses(network_id: &str) -> Error {
    Error::conflict(format!("No more IP addresses available on network {network_id}."))
        .named("IpAddressGenerationFailure")
}
/// 400.
pub fn http_bad_request(text: impl Into<String>) -> Error {
    Error::bad_request(text).named("HTTPBadRequest")
}

fn cut(id: &str) -> String {
    crate::attribute::check::short(id)
}
