//! Compute services and availability zones as JSON. Every host that reports is a `nova-compute`, every replica of
//! this service that runs jobs a `nova-conductor`.

use crate::store::{control_services::ControlService, hosts::Host};
use ferrostack_model::{
    Microversion, Timestamp,
    microversion::{feature, since},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The zone of the control plane.
pub const INTERNAL_ZONE: &str = "internal";

/// The binary of hosts.
pub const BINARY: &str = "nova-compute";

/// `up` or `down`.
pub fn state(host: &Host, down_time: i64) -> &'static str {
    if host.is_up(Timestamp::now(), down_time) { "up" } else { "down" }
}

/// `enabled` or `disabled`.
pub fn status(host: &Host) -> &'static str {
    if host.disabled { "disabled" } else { "enabled" }
}

/// A service whole; `down_time` is after how many seconds of silence it is down.
pub fn full(host: &Host, v: Microversion, down_time: i64) -> Value {
    let id = if v.has(feature::SERVICE_UUID) { json!(host.service_id) } else { json!(host.service_number) };
    let mut body = json!({
        "id": id,
        "binary": BINARY,
        "host": host.host,
        "zone": host.availability_zone,
        "status": status(host),
        "state": state(host, down_time),
        "updated_at": host.updated_at.map(Timestamp::iso_micros_naive),
        "disabled_reason": host.disabled_reason,
    });
    if v.has(since(11)) {
        body["forced_down"] = json!(host.forced_down);
    }
    body
}

/// A service of the control plane.
pub fn control(service: &ControlService, v: Microversion, down_time: i64) -> Value {
    let id = if v.has(feature::SERVICE_UUID) { json!(service.id) } else { json!(service.number) };
    let is_up = service.is_up(Timestamp::now(), down_time);
    let mut body = json!({
        "id": id,
        "binary": service.binary,
        "host": service.host,
        "zone": INTERNAL_ZONE,
        "status": "enabled",
        "state": if is_up { "up" } else { "down" },
        "updated_at": service.last_seen.iso_micros_naive(),
        "disabled_reason": null,
    });
    if v.has(since(11)) {
        body["forced_down"] = json!(false);
    }
    body
}

/// The control plane by host, as zones show it.
fn internal(services: &[ControlService], down_time: i64) -> Value {
    let mut hosts = json!({});
    for service in services {
        hosts[&service.host][&service.binary] = json!({"active": true,
            "available": service.is_up(Timestamp::now(), down_time),
            "updated_at": service.last_seen.iso_micros_naive()});
    }
    hosts
}

/// `GET /os-availability-zone`: zones with a host that is not disabled are available. With `control`
/// the detailed form: the zone of the control plane, and each available zone's hosts.
pub fn zones(hosts: &[Host], control: Option<&[ControlService]>, down_time: i64) -> Value {
    let detail = control.is_some();
    let mut zones: BTreeMap<&str, Vec<&Host>> = BTreeMap::new();
    for host in hosts {
        zones.entry(&host.availability_zone).or_default().push(host);
    }
    let available = |members: &[&Host]| members.iter().any(|h| !h.disabled);
    let mut list = Vec::new();
    if let Some(control) = control {
        let hosts = internal(control, down_time);
        list.push(json!({"zoneName": INTERNAL_ZONE, "zoneState": {"available": true}, "hosts": hosts}));
    }
    // Nova lists the available ones first.
    for wanted in [true, false] {
        for (name, members) in zones.iter().filter(|(_, members)| available(members) == wanted) {
            let of_hosts = || -> Map<String, Value> {
                let entry = |h: &&&Host| {
                    let service = json!({BINARY: {"active": true, "available": state(h, down_time) == "up",
                        "updated_at": h.updated_at.map(Timestamp::iso_micros_naive)}});
                    (h.host.clone(), service)
                };
                members.iter().filter(|h| !h.disabled).map(|h| entry(&h)).collect()
            };
            let hosts = if detail && wanted { Value::Object(of_hosts()) } else { Value::Null };
            list.push(json!({"zoneName": name, "zoneState": {"available": wanted}, "hosts": hosts}));
        }
    }
    json!({"availabilityZoneInfo": list})
}
