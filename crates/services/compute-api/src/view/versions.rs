//! The version documents, by which clients find out what this is.

use ferrostack_model::Microversion;
use serde_json::{Value, json};

/// The two versions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/v2`: the calls of 2.1 with lenient input and without microversions.
    V20,
    /// `/v2.1`
    V21,
}

/// One version's entry; `base` is `http://host:port`.
fn entry(api: Api, base: &str) -> Value {
    let (id, path, status, max, min, updated) = match api {
        Api::V20 => ("v2.0", "v2", "DEPRECATED", String::new(), String::new(), "2025-07-04T12:00:00Z"),
        Api::V21 => (
            "v2.1",
            "v2.1",
            "CURRENT",
            Microversion::MAX.to_string(),
            Microversion::MIN.to_string(),
            "2013-07-23T11:33:21Z",
        ),
    };
    json!({"id": id, "status": status, "version": max, "min_version": min, "updated": updated,
        "links": [{"rel": "self", "href": format!("{base}/{path}/")}]})
}

/// `GET /`
pub fn all(base: &str) -> Value {
    json!({"versions": [entry(Api::V20, base), entry(Api::V21, base)]})
}

/// `GET /v2.1/` and `GET /v2/`
pub fn one(api: Api, base: &str) -> Value {
    let mut body = entry(api, base);
    if let Some(links) = body["links"].as_array_mut() {
        links.push(json!({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}));
    }
    let number = if api == Api::V20 { "2" } else { "2.1" };
    body["media-types"] = json!([{"base": "application/json",
        "type": format!("application/vnd.openstack.compute+json;version={number}")}]);
    json!({"version": body})
}
