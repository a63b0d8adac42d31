//! JsonFilter: the hint `query`, a small language of lists such as `["and", [">=", "$free_ram_mb", 1024], …]`.
//!
//! It looks at what Nova's host states have under the same names. It is off by default, here as there: it lets users
//! compare things of hosts that are not theirs to know.

use crate::decide::{Filter, Reason, Wish};
use ferrostack_model::host::HostState;
use serde_json::{Value, json};

/// Deepest nesting.
const DEEPEST: usize = 32;
/// Most terms that are looked at for one host.
const MOST: usize = 10_000;

/// On a host that the hint `query` is true of.
pub struct JsonFilter;

impl Filter for JsonFilter {
    fn name(&self) -> &'static str {
        "JsonFilter"
    }
    fn check(&self, wish: &Wish<'_>, host: &HostState) -> Result<(), Reason> {
        let query = wish.request.hints.get("query").and_then(|list| list.first());
        let Some(query) = query.filter(|text| !text.is_empty()) else { return Ok(()) };
        let Ok(query) = serde_json::from_str::<Value>(query) else {
            return Err("the hint query is not JSON".into());
        };
        let mut left = MOST;
        match evaluate(&query, host, DEEPEST, &mut left) {
            // If any of a list is true, the host will do.
            Ok(Value::Array(results)) if results.iter().any(truth) => Ok(()),
            Ok(result) if !result.is_array() && truth(&result) => Ok(()),
            Ok(_) => Err("the hint query is not true of it".into()),
            Err(why) => Err(why.into()),
        }
    }
}

/// What Python calls true.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

fn evaluate(query: &Value, host: &HostState, depth: usize, left: &mut usize) -> Result<Value, &'static str> {
    let list = match query {
        Value::Array(list) => list,
        other if !truth(other) => return Ok(json!(true)),
        _ => return Err("the hint query is no list"),
    };
    let Some((operator, terms)) = list.split_first() else { return Ok(json!(true)) };
    if depth == 0 {
        return Err("the hint query is nested too deeply");
    }
    let mut values = Vec::with_capacity(terms.len().min(64));
    for term in terms {
        *left = left.checked_sub(1).ok_or("the hint query has too many terms")?;
        let value = match term {
            Value::Array(_) => evaluate(term, host, depth - 1, left)?,
            Value::String(text) => match text.strip_prefix('$') {
                _ if text.is_empty() => Value::Null,
                Some(path) => look_up(host, path),
                None => term.clone(),
            },
            other => other.clone(),
        };
        if !value.is_null() {
            values.push(value);
        }
    }
    apply(operator.as_str().unwrap_or_default(), &values)
}

fn apply(operator: &str, values: &[Value]) -> Result<Value, &'static str> {
    let each = |holds: fn(&Value, &Value) -> bool| match values.split_first() {
        Some((first, rest)) if !rest.is_empty() => json!(rest.iter().all(|value| holds(first, value))),
        _ => json!(false),
    };
    Ok(match operator {
        "=" => each(same),
        "<" => each(|a, b| order(a, b).is_some_and(std::cmp::Ordering::is_lt)),
        ">" => each(|a, b| order(a, b).is_some_and(std::cmp::Ordering::is_gt)),
        "<=" => each(|a, b| order(a, b).is_some_and(std::cmp::Ordering::is_le)),
        ">=" => each(|a, b| order(a, b).is_some_and(std::cmp::Ordering::is_ge)),
        "in" => match values.split_first() {
            Some((first, rest)) => json!(rest.iter().any(|value| same(first, value))),
            None => json!(false),
        },
        "not" => Value::Array(values.iter().map(|value| json!(!truth(value))).collect()),
        "or" => json!(values.iter().any(truth)),
        "and" => json!(values.iter().all(truth)),
        _ => return Err("the hint query has an unknown operator"),
    })
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// A member of Nova's host state, and what is inside it; null if there is none.
fn look_up(host: &HostState, path: &str) -> Value {
    let mut parts = path.split('.');
    let name = parts.next().unwrap_or_default();
    let mib = |gib: i64| gib.saturating_mul(1024);
    let of = |total: i64, ratio: f64| super::capacity(total, ratio);
    let mut value = match name {
        "host" => json!(host.host),
        "nodename" | "hypervisor_hostname" => json!(host.node),
        "host_ip" => json!(host.host_ip),
        "hypervisor_type" => json!(host.hypervisor_type),
        "hypervisor_version" => json!(host.hypervisor_version),
        "cpu_info" => host.cpu_info.clone(),
        "total_usable_ram_mb" => json!(host.memory_mb),
        "free_ram_mb" => {
            json!(of(host.memory_mb, host.ram_allocation_ratio) - host.memory_mb_used as f64)
        }
        "total_usable_disk_gb" => json!(host.local_gb),
        "disk_mb_used" => json!(mib(host.local_gb_used)),
        "free_disk_mb" => {
            json!((of(host.local_gb, host.disk_allocation_ratio) - host.local_gb_used as f64) * 1024.0)
        }
        "vcpus_total" => json!(host.vcpus),
        "vcpus_used" => json!(host.vcpus_used),
        "num_instances" => json!(host.num_instances),
        "num_io_ops" => json!(host.num_io_ops),
        "cpu_allocation_ratio" => json!(host.cpu_allocation_ratio),
        "ram_allocation_ratio" => json!(host.ram_allocation_ratio),
        "disk_allocation_ratio" => json!(host.disk_allocation_ratio),
        _ => Value::Null,
    };
    for part in parts {
        value = value.get_mut(part).map(Value::take).unwrap_or_default();
    }
    value
}
