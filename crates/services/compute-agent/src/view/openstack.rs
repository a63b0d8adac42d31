//! The `openstack` tree.

use super::hostname;
use ferrostack_model::guest::GuestSpec;
use serde_json::{Map, Value, json};

/// Version directories, oldest first; `latest` stands for the last.
pub const VERSIONS: &[&str] = &[
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "2020-10-14",
    "2025-04-04",
];
/// From here on `random_seed`.
const GRIZZLY: &str = "2013-04-04";
/// From here on `vendor_data.json` and `password`.
const HAVANA: &str = "2013-10-17";
/// From here on `network_data.json` and `project_id`.
const LIBERTY: &str = "2015-10-15";
/// From here on `devices`.
const NEWTON_ONE: &str = "2016-06-30";
/// From here on `vendor_data2.json`.
const NEWTON_TWO: &str = "2016-10-06";
/// From here on `dedicated_cpus`.
const VICTORIA: &str = "2020-10-14";

/// A version directory's date; versions compare as texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(&'static str);

impl Version {
    /// The newest.
    pub const LATEST: Self = Self(VERSIONS[VERSIONS.len() - 1]);

    /// The version with this directory name.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "latest" {
            return Some(Self::LATEST);
        }
        VERSIONS.iter().find(|v| **v == name).map(|v| Self(v))
    }

    /// Whether `password` exists.
    pub fn has_password(self) -> bool {
        self.0 >= HAVANA
    }
    /// Whether `vendor_data.json` exists.
    pub fn has_vendor_data(self) -> bool {
        self.0 >= HAVANA
    }
    /// Whether `vendor_data2.json` exists.
    pub fn has_vendor_data2(self) -> bool {
        self.0 >= NEWTON_TWO
    }
    /// Whether `network_data.json` exists.
    pub fn has_network_data(self) -> bool {
        self.0 >= LIBERTY
    }
}

/// `meta_data.json`. `random_seed` is base64 of 512 bytes, new each time.
pub fn meta_data(spec: &GuestSpec, version: Version, random_seed: &str) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("uuid".into(), json!(spec.server_id));
    if !spec.metadata.is_empty() {
        out.insert("meta".into(), json!(spec.metadata));
    }
    if let (Some(name), Some(key)) = (&spec.key_name, &spec.public_key) {
        out.insert("public_keys".into(), json!({name: key}));
        out.insert("keys".into(), json!([{"name": name, "type": "ssh", "data": key}]));
    }
    out.insert("hostname".into(), json!(hostname(spec)));
    out.insert("name".into(), json!(spec.display_name));
    out.insert("launch_index".into(), json!(spec.launch_index));
    out.insert("availability_zone".into(), json!(spec.availability_zone));
    if version.0 >= GRIZZLY {
        out.insert("random_seed".into(), json!(random_seed));
    }
    if version.0 >= LIBERTY {
        out.insert("project_id".into(), json!(spec.project_id));
    }
    if version.0 >= NEWTON_ONE {
        out.insert("devices".into(), json!([]));
    }
    if version.0 >= VICTORIA {
        out.insert("dedicated_cpus".into(), json!([]));
    }
    out
}

/// `vendor_data.json`: nothing, until an operator may set it.
pub fn vendor_data() -> Value {
    json!({})
}

/// `vendor_data2.json`
pub fn vendor_data2() -> Value {
    json!({"static": {}})
}

/// The files of a version directory, in Nova's order.
pub fn files(spec: &GuestSpec, version: Version) -> Vec<&'static str> {
    let mut names = vec!["meta_data.json"];
    let mut add = |name, there| {
        if there {
            names.push(name);
        }
    };
    add("user_data", spec.user_data.is_some());
    add("password", version.has_password());
    add("vendor_data.json", version.has_vendor_data());
    add("network_data.json", version.has_network_data());
    add("vendor_data2.json", version.has_vendor_data2());
    names
}
