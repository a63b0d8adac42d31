//! Security groups and floating IPs of a server: changes of its ports, passed on with the caller's token.

use super::{Asked, ServerAction, accepted};
use crate::{app::App, network::segment, proxy::Call, store::servers::Server};
use actix_web::HttpResponse;
use ferrostack_http::Ctx;
use ferrostack_model::{Error, ErrorKind, Feature, Result, microversion::until};
use reqwest::Method;
use serde_json::{Value, json};

const FLOATING: Feature = until(43);

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("addSecurityGroup", "os_compute_api:os-security-groups:add", |asked| {
        Box::pin(change_group(asked, true))
    }),
    ServerAction::new("removeSecurityGroup", "os_compute_api:os-security-groups:remove", |asked| {
        Box::pin(change_group(asked, false))
    }),
    ServerAction {
        window: FLOATING,
        ..ServerAction::new("addFloatingIp", "os_compute_api:os-floating-ips:add", |asked| {
            Box::pin(add_floating_ip(asked))
        })
    },
    ServerAction {
        window: FLOATING,
        ..ServerAction::new("removeFloatingIp", "os_compute_api:os-floating-ips:remove", |asked| {
            Box::pin(remove_floating_ip(asked))
        })
    },
];

async fn ports(app: &App, ctx: &Ctx, server: &Server) -> Result<Vec<Value>> {
    app.network.pass_list(ctx, &format!("ports?device_id={}", segment(&server.id)), "ports").await
}

/// Puts every port of the server into the group, or takes them out.
async fn change_group(asked: Asked<'_>, add: bool) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let name = wish["name"].as_str().unwrap_or_default().trim();
    if name.is_empty() {
        return Err(Error::bad_request("Security group name cannot be empty"));
    }
    let short: String = name.chars().take(255).collect();
    let groups = app.network.pass_list(ctx, "security-groups", "security_groups").await?;
    let mut fitting = groups.iter().filter(|g| g["id"] == name);
    let group = match fitting.next() {
        Some(group) => group,
        None => {
            let mut named =
                groups.iter().filter(|g| g["name"] == name && g["project_id"] == server.project_id.as_str());
            match (named.next(), named.next()) {
                (Some(group), None) => group,
                (Some(_), Some(_)) => {
                    return Err(Error::conflict(format!(
                        "Multiple security groups found matching '{short}'. Use an ID to be more specific."
                    )));
                }
                (None, _) => {
                    return Err(Error::not_found(format!(
                        "Security group {short} not found for project {}.",
                        server.project_id
                    )));
                }
            }
        }
    };
    let mut changed = 0;
    for port in ports(app, ctx, &server).await? {
        let mut of_port: Vec<Value> = port["security_groups"].as_array().cloned().unwrap_or_default();
        let had = of_port.contains(&group["id"]);
        if had == add {
            continue;
        }
        of_port.retain(|id| *id != group["id"]);
        if add {
            of_port.push(group["id"].clone());
        }
        let path = format!("ports/{}", segment(port["id"].as_str().unwrap_or_default()));
        let body = json!({"port": {"security_groups": of_port}});
        app.network.pass(ctx, Call::new(Method::PUT, &path).json(&body)).await?;
        changed += 1;
    }
    if !add && changed == 0 {
        return Err(Error::not_found(format!(
            "Security group {short} not associated with the instance {}",
            server.id
        )));
    }
    Ok(accepted())
}

/// The floating IP with this address.
async fn find(app: &App, ctx: &Ctx, address: &str) -> Result<Value> {
    let path = format!("floatingips?floating_ip_address={}", segment(address));
    let found = app.network.pass_list(ctx, &path, "floatingips").await?;
    found
        .into_iter()
        .find(|ip| ip["floating_ip_address"] == address)
        .ok_or_else(|| Error::not_found("floating IP not found"))
}

async fn associate(app: &App, ctx: &Ctx, ip: &Value, port: Value) -> Result<()> {
    let path = format!("floatingips/{}", segment(ip["id"].as_str().unwrap_or_default()));
    let body = json!({"floatingip": port});
    match app.network.pass(ctx, Call::new(Method::PUT, &path).json(&body)).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind == ErrorKind::Conflict => {
            Err(Error::bad_request("floating IP is already associated"))
        }
        Err(error) => Err(error),
    }
}

async fn add_floating_ip(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let address = wish["address"].as_str().unwrap_or_default();
    let fixed = wish["fixed_address"].as_str();
    let ports = ports(app, ctx, &server).await?;
    let addresses = |port: &Value| -> Vec<String> {
        let ips = port["fixed_ips"].as_array().into_iter().flatten();
        ips.filter_map(|ip| ip["ip_address"].as_str().map(str::to_owned)).collect()
    };
    if ports.iter().all(|port| addresses(port).is_empty()) {
        return Err(Error::bad_request("No fixed IPs associated to instance"));
    }
    let fits = |have: &str| fixed.map_or(!have.contains(':'), |wanted| wanted == have);
    let place =
        ports.iter().find_map(|port| addresses(port).into_iter().find(|a| fits(a)).map(|a| (port, a)));
    let Some((port, fixed_address)) = place else {
        return Err(match fixed {
            Some(wanted) => {
                Error::bad_request(format!("Specified fixed address {wanted} not assigned to instance"))
            }
            None => Error::bad_request("Unable to associate floating IP; no fixed IPv4 addresses found"),
        });
    };
    let ip = find(app, ctx, address).await?;
    let to = json!({"port_id": port["id"], "fixed_ip_address": fixed_address});
    associate(app, ctx, &ip, to).await?;
    Ok(accepted())
}

async fn remove_floating_ip(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let address = wish["address"].as_str().unwrap_or_default();
    let ip = find(app, ctx, address).await?;
    let here = ports(app, ctx, &server).await?.iter().any(|port| port["id"] == ip["port_id"]);
    if ip["port_id"].is_null() || !here {
        return Err(Error::conflict(format!(
            "Floating IP {address} is not associated with instance {}.",
            server.id
        )));
    }
    associate(app, ctx, &ip, json!({"port_id": null})).await?;
    Ok(accepted())
}
