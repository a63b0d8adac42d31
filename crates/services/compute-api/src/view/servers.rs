//! Servers as JSON.

use super::links::Links;
use crate::store::servers::Server;
use ferrostack_model::{Microversion, Timestamp, microversion::feature, network::NicSpec, server::VmState};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha224};
use std::collections::HashMap;

/// What the caller of one request may see, and what is not in the server's row.
pub struct View<'a> {
    /// Its links.
    pub links: Links,
    /// Its microversion.
    pub version: Microversion,
    /// Whether host, node and the like are shown.
    pub extended: bool,
    /// Whether extra specs are shown.
    pub extra_specs: bool,
    /// Whether all of a fault is shown.
    pub admin: bool,
    /// `host_status` by host, if it may be shown.
    pub host_status: Option<&'a HashMap<String, &'static str>>,
    /// `user_data` by server, if it is shown.
    pub user_data: HashMap<String, String>,
    /// The server's group, where one server is shown.
    pub group: Option<String>,
}

/// How much of a server an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// `GET /servers/{id}`
    Show,
    /// `GET /servers/detail`
    Detail,
    /// `PUT` below 2.75: without what extensions add.
    Plain,
}

/// `hostId`: the same host looks different to each project.
pub fn host_id(project_id: &str, host: Option<&str>) -> String {
    host.map_or_else(String::new, |host| hex::encode(Sha224::digest(format!("{project_id}{host}"))))
}

/// `addresses`, by network name.
pub fn addresses(ports: &[NicSpec], extended: bool) -> Map<String, Value> {
    let mut networks = Map::new();
    for port in ports {
        let list = networks.entry(port.network.name.clone()).or_insert_with(|| json!([]));
        for ip in &port.fixed_ips {
            let version = if ip.ip_address.is_ipv4() { 4 } else { 6 };
            let mut item = json!({"version": version, "addr": ip.ip_address});
            if extended {
                item["OS-EXT-IPS:type"] = json!("fixed");
                item["OS-EXT-IPS-MAC:mac_addr"] = json!(port.mac_address);
            }
            if let Value::Array(list) = list {
                list.push(item);
            }
        }
    }
    networks
}

/// The short form of lists.
pub fn basic(id: &str, name: &str, links: &Links) -> Value {
    json!({"id": id, "name": name, "links": links.item("servers", id)})
}

fn naive(at: Option<Timestamp>) -> Value {
    json!(at.map(Timestamp::iso_micros_naive))
}

fn shows_progress(status: &str) -> bool {
    matches!(status, "ACTIVE" | "BUILD" | "REBUILD" | "RESIZE" | "VERIFY_RESIZE" | "MIGRATING")
}

impl View<'_> {
    /// A server.
    pub fn full(&self, s: &Server, extent: Extent) -> Value {
        let v = self.version;
        let status = s.status();
        let plain = extent == Extent::Plain;
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| {
            body.insert(name.to_owned(), value);
        };
        put("id", json!(s.id));
        put("name", json!(s.display_name));
        put("status", json!(status));
        put("tenant_id", json!(s.project_id));
        put("user_id", json!(s.user_id));
        put("metadata", json!(s.metadata));
        put("hostId", json!(host_id(&s.project_id, s.host.as_deref())));
        put("image", json!({"id": s.image.id, "links": self.links.bookmark("images", &s.image.id)}));
        put("flavor", self.flavor(s));
        put("created", json!(s.created_at.iso()));
        put("updated", json!(s.updated_at.iso()));
        put("addresses", Value::Object(addresses(&s.ports, !plain)));
        put("accessIPv4", json!(s.access_ip_v4));
        put("accessIPv6", json!(s.access_ip_v6));
        put("links", self.links.item("servers", &s.id));
        put("OS-DCF:diskConfig", json!(s.disk_config));
        if shows_progress(status) {
            put("progress", json!(s.progress));
        }
        if matches!(s.vm_state, VmState::Error | VmState::Deleted)
            && let Some(fault) = &s.fault
        {
            let mut shown = json!({"code": fault.code, "message": fault.message, "created": fault.at.iso()});
            let details =
                if self.admin && !fault.private.is_empty() { &fault.private } else { &fault.details };
            if !details.is_empty() {
                shown["details"] = json!(details);
            }
            put("fault", shown);
        }
        if !plain {
            put("OS-EXT-AZ:availability_zone", json!(s.availability_zone.as_deref().unwrap_or("")));
            put("config_drive", json!(if s.config_drive { "True" } else { "" }));
            put("key_name", json!(s.key_name));
            put("OS-SRV-USG:launched_at", naive(s.launched_at));
            put("OS-SRV-USG:terminated_at", naive(s.terminated_at));
            put("OS-EXT-STS:task_state", json!(s.task_state.map(|t| t.as_str())));
            put("OS-EXT-STS:vm_state", json!(s.vm_state.as_str()));
            put("OS-EXT-STS:power_state", json!(s.power_state.code()));
            put("os-extended-volumes:volumes_attached", json!([]));
            if self.extended {
                put("OS-EXT-SRV-ATTR:host", json!(s.host));
                put("OS-EXT-SRV-ATTR:instance_name", json!(s.instance_name));
                put("OS-EXT-SRV-ATTR:hypervisor_hostname", json!(s.node));
                if v.has(feature::SERVER_EXTENDED_ATTRIBUTES) {
                    put("OS-EXT-SRV-ATTR:reservation_id", json!(s.reservation_id));
                    put("OS-EXT-SRV-ATTR:launch_index", json!(s.launch_index));
                    put("OS-EXT-SRV-ATTR:hostname", json!(s.hostname));
                    put("OS-EXT-SRV-ATTR:kernel_id", json!(s.kernel.as_ref().map_or("", |k| &k.id)));
                    put("OS-EXT-SRV-ATTR:ramdisk_id", json!(s.ramdisk.as_ref().map_or("", |k| &k.id)));
                    put("OS-EXT-SRV-ATTR:root_device_name", json!("/dev/vda"));
                    put("OS-EXT-SRV-ATTR:user_data", json!(self.user_data.get(&s.id)));
                }
            }
            if v.has(feature::SERVER_HOST_STATUS)
                && let Some(states) = self.host_status
            {
                let status = s.host.as_deref().map_or("", |h| states.get(h).copied().unwrap_or("UNKNOWN"));
                put("host_status", json!(status));
            }
            if v.has(feature::SERVER_HOSTNAME) {
                put("OS-EXT-SRV-ATTR:hostname", json!(s.hostname));
            }
        }
        if v.has(feature::SERVER_LOCKED) {
            put("locked", json!(s.locked));
        }
        if v.has(feature::LOCKED_REASON) {
            put("locked_reason", json!(s.locked_reason));
        }
        if v.has(feature::SERVER_DESCRIPTION) {
            put("description", json!(s.description));
        }
        if v.has(feature::SERVER_TAGS) {
            put("tags", json!(s.tags));
        }
        if v.has(feature::TRUSTED_CERTIFICATES) {
            put("trusted_image_certificates", json!(s.trusted_certs));
        }
        if v.has(feature::SERVER_GROUPS) && extent != Extent::Detail {
            put("server_groups", json!(self.group.as_slice()));
        }
        if v.has(feature::PINNED_AZ) {
            put("pinned_availability_zone", json!(s.pinned_az));
        }
        if v.has(feature::IMAGE_PROPERTIES) {
            put(
                "image",
                json!({"id": s.image.id, "links": self.links.bookmark("images", &s.image.id),
                    "properties": s.image.properties}),
            );
        }
        if v.has(feature::SCHEDULER_HINTS) {
            put("scheduler_hints", json!(s.hints));
        }
        Value::Object(body)
    }

    fn flavor(&self, s: &Server) -> Value {
        if !self.version.has(feature::FLAVOR_EMBEDDED) {
            return json!({"id": s.flavor_id, "links": self.links.bookmark("flavors", &s.flavor_id)});
        }
        let f = &s.flavor;
        let mut body = json!({
            "vcpus": f.vcpus,
            "ram": f.ram_mb,
            "disk": f.root_gb,
            "ephemeral": f.ephemeral_gb,
            "swap": f.swap_mb,
            "original_name": f.name,
        });
        if self.extra_specs {
            body["extra_specs"] = json!(f.extra_specs);
        }
        body
    }
}
