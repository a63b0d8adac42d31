//! Reading requests as Nova does: the JSON schemas of bodies and queries, each with the microversions it is for.
//!
//! A file in `schemas/` maps `noun.action` (a body) or `noun.action?` (a query) to rows of first and last
//! microversion (2.N as N; 0 is `/v2`) and schema. The schemas are Nova 34's (Apache-2.0).

use ferrostack_http::{Ctx, Schema, query_pairs};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

/// Every schema file; one line each.
const FILES: &[&str] = &[
    include_str!("../schemas/aggregates.json"),
    include_str!("../schemas/assisted_volume_snapshots.json"),
    include_str!("../schemas/attach_interfaces.json"),
    include_str!("../schemas/availability_zone.json"),
    include_str!("../schemas/console_auth_tokens.json"),
    include_str!("../schemas/extensions.json"),
    include_str!("../schemas/flavors.json"),
    include_str!("../schemas/floating_ip_pools.json"),
    include_str!("../schemas/floating_ips.json"),
    include_str!("../schemas/hypervisors.json"),
    include_str!("../schemas/image_metadata.json"),
    include_str!("../schemas/images.json"),
    include_str!("../schemas/instance_usage_audit_log.json"),
    include_str!("../schemas/keypairs.json"),
    include_str!("../schemas/limits.json"),
    include_str!("../schemas/migrations.json"),
    include_str!("../schemas/networks.json"),
    include_str!("../schemas/os_hosts.json"),
    include_str!("../schemas/quota_sets.json"),
    include_str!("../schemas/remote_consoles.json"),
    include_str!("../schemas/security_groups.json"),
    include_str!("../schemas/server_actions.json"),
    include_str!("../schemas/server_diagnostics.json"),
    include_str!("../schemas/server_external_events.json"),
    include_str!("../schemas/server_groups.json"),
    include_str!("../schemas/server_migrations.json"),
    include_str!("../schemas/server_password.json"),
    include_str!("../schemas/server_tags.json"),
    include_str!("../schemas/server_topology.json"),
    include_str!("../schemas/servers.json"),
    include_str!("../schemas/services.json"),
    include_str!("../schemas/snapshots.json"),
    include_str!("../schemas/tenant_networks.json"),
    include_str!("../schemas/tenant_usage.json"),
    include_str!("../schemas/volume_attachments.json"),
    include_str!("../schemas/volumes.json"),
];

struct Row {
    first: u16,
    last: u16,
    text: Value,
    compiled: OnceLock<Result<Schema>>,
}

impl Row {
    fn schema(&self) -> Result<&Schema> {
        self.compiled.get_or_init(|| Schema::nova(&self.text)).as_ref().map_err(Clone::clone)
    }
}

type Rows = HashMap<String, Vec<Row>>;
type RawRows = HashMap<String, Vec<(u16, u16, Value)>>;

static TABLE: LazyLock<Result<Rows>> = LazyLock::new(|| {
    let mut table = Rows::new();
    for text in FILES {
        let file: RawRows =
            serde_json::from_str(text).map_err(|e| Error::internal(format!("schemas: {e}")))?;
        for (key, rows) in file {
            let row = |(first, last, text)| Row { first, last, text, compiled: OnceLock::new() };
            table.insert(key, rows.into_iter().map(row).collect());
        }
    }
    Ok(table)
});

fn row(ctx: &Ctx, key: &str) -> Result<Option<&'static Row>> {
    let table = TABLE.as_ref().map_err(Clone::clone)?;
    let rows = table.get(key).ok_or_else(|| Error::internal(format!("no schema {key}")))?;
    // `/v2` has rows of its own where its rules differ, else those of 2.1 count.
    let version = if ctx.legacy && rows.iter().any(|r| r.first == 0) { 0 } else { ctx.version.0 };
    Ok(rows.iter().find(|r| r.first <= version && version <= r.last))
}

/// The body if it fits the schema `key` of the request's microversion, else 400 naming the field. By `/v2`
/// unknown members are dropped first.
pub fn body(ctx: &Ctx, key: &str, mut body: Value) -> Result<Value> {
    if let Some(row) = row(ctx, key)? {
        if ctx.legacy {
            drop_unknown(&row.text, &mut body);
        }
        row.schema()?.check(&body)?;
    }
    Ok(body)
}

fn drop_unknown(schema: &Value, value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    let properties = schema.get("properties").and_then(Value::as_object);
    if schema.get("additionalProperties") == Some(&Value::Bool(false))
        && schema.get("patternProperties").is_none()
    {
        map.retain(|name, _| properties.is_some_and(|p| p.contains_key(name)));
    }
    for (name, inner) in map.iter_mut() {
        if let Some(schema) = properties.and_then(|p| p.get(name)) {
            drop_unknown(schema, inner);
        }
    }
}

/// A checked query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The value of `name`: the last one if it is given more than once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// Every value of `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// All pairs, in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
    /// `limit`, never above `max`, and `max` if not given. A limit of 0 is an empty page.
    pub fn limit(&self, max: i64) -> i64 {
        match self.get("limit") {
            None | Some("") => max,
            // Only digits pass the schema: what does not fit is larger than any maximum.
            Some(text) => text.parse().unwrap_or(max).clamp(0, max),
        }
    }
    /// Whether a boolean of Nova's spellings is true.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(truth)
    }
}

/// Whether `text` is one of the spellings of true that Nova takes.
pub fn truth(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "1" | "t" | "true" | "on" | "y" | "yes")
}

/// Whether a JSON boolean or one of Nova's texts for it is true.
pub fn is_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(truth))
}

/// A JSON integer or digits as text, which Nova takes alike. 400 for anything else.
pub fn integer(value: &Value) -> Result<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
        .or_else(|| value.as_str().and_then(|s| s.parse().ok()))
        .ok_or_else(|| Error::bad_request("An integer is needed."))
}

/// The query if it fits the schema `key` of the request's microversion, else 400 naming the parameter. What the
/// schema does not know is dropped where it is not refused.
pub fn query(ctx: &Ctx, key: &str, text: &str) -> Result<Query> {
    let pairs = query_pairs(text);
    let Some(row) = row(ctx, key)? else { return Ok(Query(pairs)) };
    let mut object = Map::new();
    for (name, value) in &pairs {
        let values = object.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(Value::String(value.clone()));
        }
    }
    let known = |name: &str| {
        row.text.get("properties").and_then(|p| p.get(name)).is_some()
            || row.text.get("patternProperties").is_some()
    };
    if ctx.legacy {
        object.retain(|name, _| known(name));
    }
    row.schema()?.check_query(&Value::Object(object))?;
    Ok(Query(pairs.into_iter().filter(|(name, _)| known(name)).collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn every_schema_compiles_and_windows_do_not_overlap() {
        for (key, rows) in TABLE.as_ref().unwrap() {
            for row in rows {
                assert!(row.schema().is_ok(), "{key}: {}", row.schema().err().unwrap().for_log());
                assert!(row.first <= row.last, "{key}");
            }
            let mut edges: Vec<_> = rows.iter().map(|r| (r.first, r.last)).collect();
            edges.sort_unstable();
            assert!(edges.windows(2).all(|w| w[0].1 < w[1].0), "{key}: {edges:?}");
        }
    }

    #[test]
    fn legacy_drops_what_is_unknown_at_every_depth() {
        let schema = json!({"properties": {"a": {"properties": {"b": {}}, "additionalProperties": false}},
            "additionalProperties": false});
        let mut value = json!({"a": {"b": 1, "x": 2}, "y": 3});
        drop_unknown(&schema, &mut value);
        assert_eq!(value, json!({"a": {"b": 1}}));
    }

    #[test]
    fn limits_are_clamped() {
        let limit = |text: &str| Query(vec![("limit".into(), text.into())]).limit(1000);
        assert_eq!(Query::default().limit(1000), 1000);
        assert_eq!(limit("5"), 5);
        assert_eq!(limit("0"), 0);
        assert_eq!(limit("99999999999999999999999"), 1000);
    }
}
