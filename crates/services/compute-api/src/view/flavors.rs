//! Flavors as JSON.

use super::links::Links;
use crate::store::flavors::Flavor;
use ferrostack_model::{Microversion, microversion::feature};
use serde_json::{Map, Value, json};

/// The short form of lists.
pub fn basic(flavor: &Flavor, v: Microversion, links: &Links) -> Value {
    let mut body = json!({"id": flavor.id, "name": flavor.name, "links": links.item("flavors", &flavor.id)});
    if v.has(feature::FLAVOR_DESCRIPTION) {
        body["description"] = json!(flavor.description);
    }
    body
}

/// The whole flavor; `specs` says whether the caller may see extra specs.
pub fn full(flavor: &Flavor, v: Microversion, links: &Links, specs: bool) -> Value {
    let no_swap = if v.has(feature::STRICT_INPUT) { json!(0) } else { json!("") };
    let mut body = json!({
        "id": flavor.id,
        "name": flavor.name,
        "ram": flavor.memory_mb,
        "disk": flavor.root_gb,
        "swap": if flavor.swap_mb == 0 { no_swap } else { json!(flavor.swap_mb) },
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "OS-FLV-DISABLED:disabled": flavor.disabled,
        "vcpus": flavor.vcpus,
        "os-flavor-access:is_public": flavor.is_public,
        "rxtx_factor": flavor.rxtx_factor,
        "links": links.item("flavors", &flavor.id),
    });
    if v.has(feature::FLAVOR_DESCRIPTION) {
        body["description"] = json!(flavor.description);
    }
    if v.has(feature::FLAVOR_NAME_FILTER)
        && let Some(members) = body.as_object_mut()
    {
        // Nothing ever read them.
        members.shift_remove("rxtx_factor");
        members.shift_remove("OS-FLV-DISABLED:disabled");
    }
    if v.has(feature::FLAVOR_EXTRA_SPECS) && specs {
        body["extra_specs"] = json!(flavor.extra_specs);
    }
    body
}

/// The flavor inside a server: a reference below 2.47, its sizes from there on.
pub fn embedded(flavor: &Flavor, v: Microversion, links: &Links, specs: bool) -> Value {
    if !v.has(feature::FLAVOR_EMBEDDED) {
        return json!({"id": flavor.id, "links": links.bookmark("flavors", &flavor.id)});
    }
    let mut body = Map::new();
    for (name, value) in [
        ("vcpus", json!(flavor.vcpus)),
        ("ram", json!(flavor.memory_mb)),
        ("disk", json!(flavor.root_gb)),
        ("ephemeral", json!(flavor.ephemeral_gb)),
        ("swap", json!(flavor.swap_mb)),
        ("original_name", json!(flavor.name)),
    ] {
        body.insert(name.into(), value);
    }
    if specs {
        body.insert("extra_specs".into(), json!(flavor.extra_specs));
    }
    Value::Object(body)
}
