//! The network or port of an interface that is attached later, seen with the caller's rights.

use super::networks::{available, inside};
use crate::{app::App, store::servers::NicRequest};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, ErrorKind, Result};
use std::net::IpAddr;

/// What an attachment may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// A network to make a port on.
    pub network: Option<String>,
    /// A port of the caller's.
    pub port: Option<String>,
    /// An address on the network.
    pub fixed_ip: Option<String>,
}

fn not_found(error: Error, text: String) -> Error {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::BadRequest => Error::not_found(text),
        _ => error,
    }
}

/// The interface that is wanted, in Nova's words if it cannot be had.
pub async fn interface_network(app: &App, ctx: &Ctx, project_id: &str, wanted: Wanted) -> Result<NicRequest> {
    let (caller, request_id) = (ctx.caller()?, ctx.request_id.as_str());
    if let Some(id) = wanted.port {
        let found = app.network.port_as(&id, caller, request_id).await;
        let port = found.map_err(|e| not_found(e, format!("Port id {id} could not be found.")))?;
        if !port.device_id.is_empty() {
            return Err(Error::conflict(format!("Port {id} is still in use.")));
        }
        return Ok(NicRequest { port_id: Some(port.id), ..NicRequest::default() });
    }
    if let Some(id) = wanted.network {
        let found = app.network.network_as(&id, caller, request_id).await;
        let network = found.map_err(|e| not_found(e, format!("Network {id} could not be found.")))?;
        if network.subnets.is_empty() {
            let text = format!("Network {id} requires a subnet in order to boot instances on.");
            return Err(Error::bad_request(text));
        }
        if let Some(text) = &wanted.fixed_ip {
            let invalid = || {
                Error::bad_request(format!(
                    "Fixed IP address {text} is not a valid ip address for network {id}."
                ))
            };
            let ip: IpAddr = text.parse().map_err(|_| invalid())?;
            let spec = app.network.network(&network.id, Some(request_id)).await?;
            if !spec.subnets.iter().any(|s| inside(&s.cidr, ip)) {
                return Err(invalid());
            }
            if app.network.address_in_use(&network.id, ip).await? {
                return Err(Error::conflict(format!("Fixed IP address {text} is already in use.")));
            }
        }
        let (network_id, fixed_ip) = (Some(network.id), wanted.fixed_ip);
        return Ok(NicRequest { network_id, fixed_ip, ..NicRequest::default() });
    }
    let all = if app.network.is_there().await? { available(app, ctx).await? } else { Vec::new() };
    match all.as_slice() {
        [one] => Ok(NicRequest { network_id: Some(one.id.clone()), ..NicRequest::default() }),
        [] => Err(Error::bad_request(format!(
            "No specific network was requested and none are available for project '{project_id}'."
        ))),
        _ => Err(Error::bad_request(
            "More than one possible network found. Specify network ID(s) to select which one(s) to connect to.",
        )),
    }
}
