//! The EC2 tree.

use super::hostname;
use ferrostack_model::guest::GuestSpec;
use serde_json::{Map, Value, json};

/// Version directories, oldest first; `latest` stands for the last.
pub const VERSIONS: &[&str] = &[
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
];

/// The position of a version directory; later is newer.
pub fn version(name: &str) -> Option<usize> {
    match name {
        "latest" => Some(VERSIONS.len() - 1),
        name => VERSIONS.iter().position(|v| *v == name),
    }
}

/// The tree of `meta-data/`: directories are objects, `_name` is how a directory shows in its parent's list.
pub fn meta_data(spec: &GuestSpec, version: usize) -> Value {
    let since = |name: &str| self::version(name).is_some_and(|v| version >= v);
    let host = hostname(spec);
    let address = spec.nics.iter().flat_map(|n| &n.fixed_ips).map(|ip| ip.ip_address).find(|ip| ip.is_ipv4());
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("ami-id", json!(short_id("ami", &spec.image.id)));
    put("ami-launch-index", json!(spec.launch_index));
    put("ami-manifest-path", json!("FIXME"));
    put("instance-id", json!(instance_id(spec)));
    put("hostname", json!(host));
    put("local-ipv4", json!(address.map(|a| a.to_string()).unwrap_or_default()));
    put("reservation-id", json!(spec.reservation_id));
    put("security-groups", json!([]));
    if let (Some(name), Some(key)) = (&spec.key_name, &spec.public_key) {
        put("public-keys", json!({"0": {"_name": format!("0={name}"), "openssh-key": key}}));
    }
    if since("2007-01-19") {
        put("local-hostname", json!(host));
        put("public-hostname", json!(host));
        put("public-ipv4", json!(""));
    }
    if since("2007-08-29") {
        put("instance-type", json!(spec.flavor.name));
    }
    if since("2007-12-15") {
        put("block-device-mapping", block_devices(spec));
        if let Some(kernel) = &spec.kernel {
            put("kernel-id", json!(short_id("aki", &kernel.id)));
        }
        if let Some(ramdisk) = &spec.ramdisk {
            put("ramdisk-id", json!(short_id("ari", &ramdisk.id)));
        }
    }
    if since("2008-02-01") {
        put("placement", json!({"availability-zone": spec.availability_zone}));
    }
    if since("2008-09-01") {
        put("instance-action", json!("none"));
    }
    Value::Object(out)
}

/// The EC2 id: Nova's number of the server, which its libvirt name carries, else the id's first digits.
fn instance_id(spec: &GuestSpec) -> String {
    let number = spec.instance_name.strip_prefix("instance-").filter(|n| n.len() == 8);
    match number {
        Some(number) => format!("i-{number}"),
        None => short_id("i", &spec.server_id),
    }
}

fn short_id(prefix: &str, id: &str) -> String {
    format!("{prefix}-{}", id.chars().take(8).collect::<String>())
}

fn block_devices(spec: &GuestSpec) -> Value {
    let bus = spec.image.properties.get("hw_disk_bus").map_or("virtio", String::as_str);
    let prefix = match bus {
        "virtio" => "vd",
        "ide" => "hd",
        _ => "sd",
    };
    let mut letters = ('a'..='z').map(|letter| format!("{prefix}{letter}"));
    let root = letters.next().unwrap_or_default();
    let mut out = Map::new();
    out.insert("ami".into(), json!(root));
    out.insert("root".into(), json!(format!("/dev/{root}")));
    let mut add = |name: &str, there: bool| {
        if let (true, Some(device)) = (there, letters.next()) {
            out.insert(name.into(), json!(format!("/dev/{device}")));
        }
    };
    add("ephemeral0", spec.flavor.ephemeral_gb > 0);
    add("swap", spec.flavor.swap_mb > 0);
    Value::Object(out)
}

/// The value below `path`; none if there is none.
pub fn find<'a>(tree: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |at, step| at.get(*step).filter(|_| *step != "_name"))
}

/// How a value is shown: a list of names for directories, one line an item for lists, else the text.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let mut names: Vec<_> = entries.iter().filter(|(name, _)| *name != "_name").collect();
            names.sort_by_key(|(name, _)| *name);
            let names: Vec<String> = names
                .into_iter()
                .map(|(name, value)| match value.get("_name") {
                    Some(Value::String(other)) => other.clone(),
                    _ if value.is_object() => format!("{name}/"),
                    _ => name.clone(),
                })
                .collect();
            names.join("\n")
        }
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join("\n"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
