//! `addFixedIp` and `removeFixedIp`, through 2.43.

use super::{Asked, ServerAction, accepted};
use crate::{action, network::Port, reconcile::interfaces, store::servers::Server};
use actix_web::HttpResponse;
use ferrostack_model::{Error, Result, microversion::feature};
use futures_util::future::LocalBoxFuture;
use serde_json::json;

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction {
        name: "addFixedIp",
        rule: "os_compute_api:os-multinic:add",
        window: feature::FIXED_IP_ACTIONS,
        run: |asked| add(asked),
    },
    ServerAction {
        name: "removeFixedIp",
        rule: "os_compute_api:os-multinic:remove",
        window: feature::FIXED_IP_ACTIONS,
        run: |asked| remove(asked),
    },
];

async fn ports(asked: &Asked<'_>, server: &Server) -> Result<Vec<Port>> {
    action::check_lock(server, asked.ctx.caller()?.is_admin())?;
    asked.app.network.ports_of(&server.id, Some(&asked.ctx.request_id)).await
}

/// One more address from a subnet of the network, on the server's port there.
fn add(asked: Asked<'_>) -> LocalBoxFuture<'_, Result<HttpResponse>> {
    Box::pin(async move {
        let request_id = Some(asked.ctx.request_id.as_str());
        let wanted = asked.wish["networkId"]
            .as_str()
            .map_or_else(|| asked.wish["networkId"].to_string(), str::to_owned);
        let ports = ports(&asked, &asked.server).await?;
        let Some(port) = ports.into_iter().find(|p| p.network_id == wanted) else {
            let short: String = wanted.chars().take(255).collect();
            return Err(Error::bad_request(format!(
                "Instance {} is not on network {short}, so it gets no address there.",
                asked.server.id
            )));
        };
        let subnet = port.fixed_ips.first().map(|ip| ip.subnet_id.clone());
        let network = asked.app.network.network(&port.network_id, request_id).await?;
        let subnet = subnet.or_else(|| network.subnets.first().map(|s| s.id.clone()));
        let subnet = subnet.ok_or_else(|| Error::bad_request("The network has no subnet."))?;
        let mut addresses = json!(port.fixed_ips);
        if let Some(list) = addresses.as_array_mut() {
            list.push(json!({"subnet_id": subnet}));
        }
        asked.app.network.set_fixed_ips(&port.id, &addresses, request_id).await?;
        interfaces::refresh(asked.app, &asked.server.id, request_id).await?;
        Ok(accepted())
    })
}

fn remove(asked: Asked<'_>) -> LocalBoxFuture<'_, Result<HttpResponse>> {
    Box::pin(async move {
        let request_id = Some(asked.ctx.request_id.as_str());
        let wanted = asked.wish["address"].as_str().unwrap_or_default();
        for port in ports(&asked, &asked.server).await? {
            let before = port.fixed_ips.len();
            let mut left = port.fixed_ips.clone();
            left.retain(|ip| ip.ip_address.to_string() != wanted);
            if left.len() < before {
                asked.app.network.set_fixed_ips(&port.id, &json!(left), request_id).await?;
                interfaces::refresh(asked.app, &asked.server.id, request_id).await?;
                return Ok(accepted());
            }
        }
        Err(Error::bad_request(format!("Fixed IP not found for instance {}: {wanted}", asked.server.id)))
    })
}
