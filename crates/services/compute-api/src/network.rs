//! The network service as compute uses it: ports for servers, and the networks a guest's host must know.

use ferrostack_client::{ServiceClient, answer_error, transport_error};
use ferrostack_model::{
    Caller, Error, ErrorKind, Result, Timestamp,
    network::{FixedIp, NetworkSpec, NicSpec, SubnetSpec},
};
use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Prefix of `device_owner` of servers' ports; the zone follows.
pub const DEVICE_OWNER: &str = "compute:";
/// Header under which the network service makes a port once, however often it is asked.
const IDEMPOTENCY_KEY: &str = "X-Ferrostack-Idempotency-Key";

/// A network as its API shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Network {
    /// Id.
    pub id: String,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Largest packet.
    #[serde(default = "default_mtu")]
    pub mtu: u32,
    /// Ids of its subnets.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// Usable by every project.
    #[serde(default)]
    pub shared: bool,
    /// Owner.
    #[serde(default)]
    pub project_id: String,
    /// A provider's outside network.
    #[serde(default, rename = "router:external")]
    pub external: bool,
}

fn default_mtu() -> u32 {
    1500
}

#[derive(Deserialize)]
struct Subnet {
    id: String,
    cidr: String,
    gateway_ip: Option<IpAddr>,
    #[serde(default)]
    enable_dhcp: bool,
    #[serde(default)]
    dns_nameservers: Vec<IpAddr>,
}

/// A port as its API shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Port {
    /// Id.
    pub id: String,
    /// Its network.
    pub network_id: String,
    /// MAC address.
    pub mac_address: String,
    /// Addresses.
    #[serde(default)]
    pub fixed_ips: Vec<FixedIp>,
    /// Server it belongs to, or "".
    #[serde(default)]
    pub device_id: String,
    /// `compute:<zone>`, …
    #[serde(default)]
    pub device_owner: String,
    /// Host it is bound to, or "".
    #[serde(default, rename = "binding:host_id")]
    pub host_id: String,
    /// `ACTIVE`, `DOWN`, …
    #[serde(default)]
    pub status: String,
    /// Owner.
    #[serde(default)]
    pub project_id: String,
    /// Made at, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
}

impl Port {
    /// When it was made; `None` if the service does not say.
    pub fn created(&self) -> Option<Timestamp> {
        Timestamp::parse(self.created_at.as_deref()?)
    }
}

/// A port to make for a server.
#[derive(Clone, Debug)]
pub struct NewPort<'a> {
    /// The same key makes the same port.
    pub key: String,
    /// On this network.
    pub network_id: &'a str,
    /// Owner.
    pub project_id: &'a str,
    /// The server.
    pub server_id: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// Its host.
    pub host: &'a str,
    /// A wanted address.
    pub fixed_ip: Option<&'a str>,
}

/// Calls to the network service.
#[derive(Clone)]
pub struct NetworkApi {
    pub(crate) client: ServiceClient,
    url: Option<String>,
}

impl NetworkApi {
    /// At `url`, or where the catalog says.
    pub fn new(client: ServiceClient, url: Option<String>) -> Self {
        Self { client, url }
    }

    pub(crate) async fn base(&self) -> Result<String> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => self.client.endpoint("network").await?,
        };
        let url = url.trim_end_matches('/');
        Ok(format!("{}/v2.0", url.strip_suffix("/v2.0").unwrap_or(url)))
    }

    /// Whether this cloud has a network service.
    pub async fn is_there(&self) -> Result<bool> {
        Ok(self.url.is_some() || self.client.session().await?.endpoint("network").is_some())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, key: &str, request_id: Option<&str>) -> Result<T> {
        let url = format!("{}/{path}", self.base().await?);
        pick(self.client.json(Method::GET, &url, request_id, None).await?, key, &url)
    }

    async fn get_as<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        caller: &Caller,
        request_id: &str,
    ) -> Result<T> {
        let url = format!("{}/{path}", self.base().await?);
        let request = self.client.on_behalf(caller, self.client.http().get(&url)).await?;
        let response =
            request.header("X-Openstack-Request-Id", request_id).send().await.map_err(transport_error)?;
        if !response.status().is_success() {
            return Err(answer_error(response).await);
        }
        pick(response.json().await.map_err(transport_error)?, key, &url)
    }

    /// The networks a caller may plug servers into without naming one: the project's own and the shared ones.
    pub async fn available(&self, caller: &Caller, request_id: &str) -> Result<Vec<Network>> {
        let all: Vec<Network> = self.get_as("networks", "networks", caller, request_id).await?;
        let project = caller.project_id();
        Ok(all
            .into_iter()
            .filter(|n| (n.shared || n.project_id == project) && !n.subnets.is_empty())
            .collect())
    }

    /// A network the caller sees; `NotFound` otherwise.
    pub async fn network_as(&self, id: &str, caller: &Caller, request_id: &str) -> Result<Network> {
        self.get_as(&format!("networks/{}", segment(id)), "network", caller, request_id).await
    }

    /// A port the caller sees; `NotFound` otherwise.
    pub async fn port_as(&self, id: &str, caller: &Caller, request_id: &str) -> Result<Port> {
        self.get_as(&format!("ports/{}", segment(id)), "port", caller, request_id).await
    }

    /// A port, with our own rights.
    pub async fn port(&self, id: &str, request_id: Option<&str>) -> Result<Port> {
        self.get(&format!("ports/{}", segment(id)), "port", request_id).await
    }

    /// A network with its subnets, as an agent needs it.
    pub async fn network(&self, id: &str, request_id: Option<&str>) -> Result<NetworkSpec> {
        let network: Network = self.get(&format!("networks/{}", segment(id)), "network", request_id).await?;
        let subnets: Vec<Subnet> =
            self.get(&format!("subnets?network_id={}", segment(id)), "subnets", request_id).await?;
        Ok(NetworkSpec {
            id: network.id,
            name: network.name,
            mtu: network.mtu,
            subnets: subnets
                .into_iter()
                .map(|s| SubnetSpec {
                    id: s.id,
                    cidr: s.cidr,
                    gateway_ip: s.gateway_ip,
                    enable_dhcp: s.enable_dhcp,
                    dns_nameservers: s.dns_nameservers,
                })
                .collect(),
        })
    }

    /// Makes a port, or gives the one already made under the same key.
    pub async fn create_port(&self, new: &NewPort<'_>, request_id: Option<&str>) -> Result<Port> {
        let url = format!("{}/ports", self.base().await?);
        let mut port = json!({
            "network_id": new.network_id,
            "project_id": new.project_id,
            "device_id": new.server_id,
            "device_owner": format!("{DEVICE_OWNER}{}", new.zone),
            "admin_state_up": true,
            "binding:host_id": new.host,
        });
        if let Some(ip) = new.fixed_ip {
            port["fixed_ips"] = json!([{"ip_address": ip}]);
        }
        let body = json!({"port": port});
        let response = self
            .client
            .send(Method::POST, &url, request_id, |r| r.header(IDEMPOTENCY_KEY, &new.key).json(&body))
            .await?;
        if !response.status().is_success() {
            return Err(answer_error(response).await);
        }
        pick(response.json().await.map_err(transport_error)?, "port", &url)
    }

    /// Binds a port to a server on a host.
    pub async fn bind_port(
        &self,
        id: &str,
        server_id: &str,
        zone: &str,
        host: &str,
        request_id: Option<&str>,
    ) -> Result<Port> {
        let owner = format!("{DEVICE_OWNER}{zone}");
        self.put_port(
            id,
            json!({"device_id": server_id, "device_owner": owner, "binding:host_id": host}),
            request_id,
        )
        .await
    }

    /// Gives a port back to its owner. A port that is gone is given back.
    pub async fn unbind_port(&self, id: &str, request_id: Option<&str>) -> Result<()> {
        let body = json!({"device_id": "", "device_owner": "", "binding:host_id": ""});
        match self.put_port(id, body, request_id).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the addresses of a port: a list as its API shows it, where a subnet alone is any address of it.
    pub async fn set_fixed_ips(&self, id: &str, addresses: &Value, request_id: Option<&str>) -> Result<Port> {
        self.put_port(id, json!({"fixed_ips": addresses}), request_id).await
    }

    async fn put_port(&self, id: &str, port: Value, request_id: Option<&str>) -> Result<Port> {
        let url = format!("{}/ports/{}", self.base().await?, segment(id));
        let body = json!({"port": port});
        pick(self.client.json(Method::PUT, &url, request_id, Some(&body)).await?, "port", &url)
    }

    /// Deletes a port; one that is gone is deleted.
    pub async fn delete_port(&self, id: &str, request_id: Option<&str>) -> Result<()> {
        let url = format!("{}/ports/{}", self.base().await?, segment(id));
        match self.client.json(Method::DELETE, &url, request_id, None).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The ports of a server.
    pub async fn ports_of(&self, server_id: &str, request_id: Option<&str>) -> Result<Vec<Port>> {
        self.get(&format!("ports?device_id={}", segment(server_id)), "ports", request_id).await
    }

    /// Every port that belongs to a server.
    pub async fn server_ports(&self) -> Result<Vec<Port>> {
        let all: Vec<Port> = self.get("ports", "ports", None).await?;
        Ok(all
            .into_iter()
            .filter(|p| p.device_owner.starts_with(DEVICE_OWNER) && !p.device_id.is_empty())
            .collect())
    }

    /// Whether a port of the network has this address.
    pub async fn address_in_use(&self, network_id: &str, ip: IpAddr) -> Result<bool> {
        let ports: Vec<Port> =
            self.get(&format!("ports?network_id={}", segment(network_id)), "ports", None).await?;
        Ok(ports.iter().flat_map(|p| &p.fixed_ips).any(|f| f.ip_address == ip))
    }

    /// A port as an interface of a guest.
    pub fn nic(port: Port, network: NetworkSpec) -> NicSpec {
        NicSpec { port_id: port.id, mac_address: port.mac_address, fixed_ips: port.fixed_ips, network }
    }
}

fn pick<T: DeserializeOwned>(mut body: Value, key: &str, url: &str) -> Result<T> {
    serde_json::from_value(body.get_mut(key).map(Value::take).unwrap_or_default())
        .map_err(|e| Error::unavailable(format!("{url}: member {key}: {e}")))
}

/// `id` as one path segment or query value.
pub(crate) fn segment(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
}
