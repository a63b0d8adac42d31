//! Checks of single values. Each gives the value in its one form or the reason why not.

use crate::address::Pool;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::IpAddr};

/// Longest echo of a client's own input, characters.
const ECHO: usize = 300;

/// `text`, cut to a sane length for an error message.
pub fn short(text: &str) -> String {
    if text.chars().count() <= ECHO {
        text.to_owned()
    } else {
        text.chars().take(ECHO).collect::<String>() + "…"
    }
}

/// The value as an error message shows it.
fn shown(value: &Value) -> String {
    short(&match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    })
}

/// A text of at most `MAX` characters. NUL is refused: PostgreSQL cannot hold it.
pub fn text<const MAX: usize>(value: &Value) -> Result<Value, String> {
    let Some(text) = value.as_str() else { return Err(format!("'{}' is not a valid string", shown(value))) };
    if text.contains('\0') {
        return Err("a NUL character is not valid in a string".into());
    }
    if text.chars().count() > MAX {
        return Err(format!("'{}' exceeds maximum length of {MAX}", short(text)));
    }
    Ok(value.clone())
}

/// [`text`], with null for "".
pub fn text_or_null<const MAX: usize>(value: &Value) -> Result<Value, String> {
    if value.is_null() { Ok(json!("")) } else { text::<MAX>(value) }
}

/// A flag in any of the forms Neutron converts.
pub fn flag(value: &Value) -> Result<Value, String> {
    let is = match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => n.as_i64().and_then(|n| match n {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }),
        Value::String(s) => match s.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    };
    is.map(Value::Bool).ok_or_else(|| format!("'{}' cannot be converted to boolean", shown(value)))
}

/// A number from `MIN` to `MAX`, also as text.
pub fn number<const MIN: i64, const MAX: i64>(value: &Value) -> Result<Value, String> {
    let n = match value {
        Value::Number(n) => n.as_i64(),
        Value::String(s) => s.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| format!("'{}' is not an integer", shown(value)))?;
    if n < MIN {
        return Err(format!("'{n}' is too small - must be at least '{MIN}'"));
    }
    if n > MAX {
        return Err(format!("'{n}' is too large - must be no larger than '{MAX}'"));
    }
    Ok(json!(n))
}

/// A UUID.
pub fn uuid(value: &Value) -> Result<Value, String> {
    match value.as_str() {
        Some(text) if ferrostack_model::id::is_uuid_like(text) => Ok(value.clone()),
        _ => Err(format!("'{}' is not a valid UUID", shown(value))),
    }
}

fn ip(value: &Value) -> Result<IpAddr, String> {
    value
        .as_str()
        .and_then(|t| t.parse::<IpAddr>().ok())
        .ok_or_else(|| format!("'{}' is not a valid IP address", shown(value)))
}

/// An address, or null for none.
pub fn ip_or_null(value: &Value) -> Result<Value, String> {
    if value.is_null() { Ok(Value::Null) } else { ip(value).map(|ip| json!(ip)) }
}

/// A prefix without host bits.
pub fn cidr(value: &Value) -> Result<Value, String> {
    let wrong = || format!("'{}' is not a valid IP subnet", shown(value));
    let text = value.as_str().ok_or_else(wrong)?;
    let net: IpNet = text.parse().map_err(|_| wrong())?;
    if net.trunc() != net {
        return Err(format!("'{net}' isn't a recognized IP subnet cidr, '{}' is recommended", net.trunc()));
    }
    Ok(json!(net.to_string()))
}

fn items<'a>(value: &'a Value, max: usize, what: &str) -> Result<&'a [Value], String> {
    let list = value.as_array().ok_or_else(|| format!("'{}' is not a list", shown(value)))?;
    if list.len() > max {
        return Err(format!("at most {max} {what} are allowed"));
    }
    Ok(list)
}

fn object<'a>(value: &'a Value, keys: &[&str]) -> Result<&'a serde_json::Map<String, Value>, String> {
    let map = value.as_object().ok_or_else(|| format!("'{}' is not a dictionary", shown(value)))?;
    match map.keys().find(|k| !keys.contains(&k.as_str())) {
        Some(key) => Err(format!("Unexpected key '{}'", short(key))),
        None => Ok(map),
    }
}

/// At most five addresses, none twice (`max_dns_nameservers`).
pub fn nameservers(value: &Value) -> Result<Value, String> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for item in items(value, 5, "name servers")? {
        let ip = ip(item)?;
        if !seen.insert(ip) {
            return Err(format!("Duplicate nameserver '{ip}'"));
        }
        out.push(json!(ip));
    }
    Ok(out.into())
}

/// At most twenty routes (`max_subnet_host_routes`).
pub fn routes(value: &Value) -> Result<Value, String> {
    let mut out: Vec<Value> = Vec::new();
    for item in items(value, 20, "host routes")? {
        let map = object(item, &["destination", "nexthop"])?;
        let get = |key: &str| map.get(key).ok_or_else(|| format!("Missing key '{key}'"));
        let route = json!({"destination": cidr(get("destination")?)?, "nexthop": ip(get("nexthop")?)?});
        if out.contains(&route) {
            return Err(format!("Duplicate hostroute '{route}'"));
        }
        out.push(route);
    }
    Ok(out.into())
}

/// Ranges of addresses; whether they fit the subnet is its own question.
pub fn pools(value: &Value) -> Result<Value, String> {
    let mut out = Vec::new();
    for item in items(value, 100, "allocation pools")? {
        let map = object(item, &["start", "end"])?;
        let get = |key: &str| map.get(key).ok_or_else(|| format!("Missing key '{key}'")).and_then(ip);
        out.push(json!(Pool { start: get("start")?, end: get("end")? }));
    }
    Ok(out.into())
}

/// At most five wanted addresses of a port (`max_fixed_ips_per_port`), each with `subnet_id`, `ip_address` or both.
pub fn fixed_ips(value: &Value) -> Result<Value, String> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for item in items(value, 5, "fixed IPs per port")? {
        let map = object(item, &["subnet_id", "ip_address"])?;
        let mut kept = serde_json::Map::new();
        if let Some(subnet) = map.get("subnet_id").filter(|v| !v.is_null()) {
            kept.insert("subnet_id".into(), uuid(subnet)?);
        }
        if let Some(address) = map.get("ip_address").filter(|v| !v.is_null()) {
            let address = ip(address)?;
            if !seen.insert(address) {
                return Err(format!("Duplicate IP address '{address}'"));
            }
            kept.insert("ip_address".into(), json!(address));
        }
        if kept.is_empty() {
            return Err("neither 'subnet_id' nor 'ip_address' is given".into());
        }
        out.push(kept.into());
    }
    Ok(Value::Array(out))
}

/// A unicast MAC address, in lower case with colons.
pub fn mac(value: &Value) -> Result<Value, String> {
    let wrong = || format!("'{}' is not a valid MAC address", shown(value));
    let text = value.as_str().ok_or_else(wrong)?.to_ascii_lowercase().replace('-', ":");
    let parts: Vec<&str> = text.split(':').collect();
    let hex = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
    if parts.len() != 6 || !parts.iter().all(hex) || text == "00:00:00:00:00:00" {
        return Err(wrong());
    }
    // The lowest bit of the first octet marks a group address, which no interface can have.
    if u8::from_str_radix(parts[0], 16).is_ok_and(|b| b & 1 == 1) {
        return Err(wrong());
    }
    Ok(text.into())
}

/// Tags: short texts, none twice.
pub fn tags(value: &Value) -> Result<Value, String> {
    let mut out: Vec<Value> = Vec::new();
    for item in items(value, 50, "tags")? {
        let tag = tag(item)?;
        if !out.contains(&tag) {
            out.push(tag);
        }
    }
    Ok(out.into())
}

/// One tag; a comma separates tags in queries and so cannot be in one.
pub fn tag(value: &Value) -> Result<Value, String> {
    let tag = text::<255>(value)?;
    match tag.as_str() {
        Some("") => Err("a tag cannot be empty".into()),
        Some(t) if t.contains(',') => Err(format!("'{}' contains ','", short(t))),
        _ => Ok(tag),
    }
}

/// A list of short texts.
pub fn texts(value: &Value) -> Result<Value, String> {
    let mut out: Vec<Value> = Vec::new();
    for item in items(value, 50, "items")? {
        out.push(text::<255>(item)?);
    }
    Ok(out.into())
}

/// An empty list: the attribute exists in answers, but nothing stands behind it here.
pub fn empty_list(value: &Value) -> Result<Value, String> {
    match value {
        Value::Null => Ok(json!([])),
        Value::Array(list) if list.is_empty() => Ok(json!([])),
        _ => Err("not supported by this network service; only an empty list is valid".into()),
    }
}

/// False: the attribute exists in answers, but what it turns on does not.
pub fn only_false(value: &Value) -> Result<Value, String> {
    match flag(value)? {
        Value::Bool(true) => Err("not supported by this network service; only False is valid".into()),
        other => Ok(other),
    }
}

/// Null only.
pub fn only_null(value: &Value) -> Result<Value, String> {
    if value.is_null() { Ok(Value::Null) } else { Err("not supported by this network service".into()) }
}

/// A small JSON object.
pub fn profile(value: &Value) -> Result<Value, String> {
    match value {
        Value::Null => Ok(json!({})),
        Value::Object(_) if value.to_string().contains("\\u0000") => {
            Err("a NUL character is not valid in a string".into())
        }
        Value::Object(_) if value.to_string().len() > 4095 => Err("exceeds maximum length of 4095".into()),
        Value::Object(_) => Ok(value.clone()),
        _ => Err(format!("'{}' is not a dictionary", shown(value))),
    }
}

/// A host label (RFC 1123), or "" for none.
pub fn dns_name(value: &Value) -> Result<Value, String> {
    let name = text_or_null::<63>(value)?;
    let label = name.as_str().unwrap_or("");
    let fine = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !fine || label.starts_with('-') || label.ends_with('-') {
        return Err(format!("'{}' not a valid PQDN or FQDN. Reason: not a host label", short(label)));
    }
    Ok(name)
}

/// A DNS domain ending in a dot, or "".
pub fn dns_domain(value: &Value) -> Result<Value, String> {
    let name = text_or_null::<255>(value)?;
    let domain = name.as_str().unwrap_or("");
    if domain.is_empty() {
        return Ok(name);
    }
    let labels = domain.strip_suffix('.').unwrap_or(domain);
    let fine = domain.ends_with('.')
        && labels.split('.').all(|l| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        });
    if fine { Ok(name) } else { Err(format!("'{}' is not a FQDN", short(domain))) }
}

/// One of `slaac`, `dhcpv6-stateful`, `dhcpv6-stateless`, or null.
pub fn ipv6_mode(value: &Value) -> Result<Value, String> {
    match value.as_str() {
        Some("slaac" | "dhcpv6-stateful" | "dhcpv6-stateless") => Ok(value.clone()),
        None if value.is_null() => Ok(Value::Null),
        _ => Err(format!("'{}' is not in ['dhcpv6-stateful', 'dhcpv6-stateless', 'slaac']", shown(value))),
    }
}

/// 4 or 6.
pub fn ip_version(value: &Value) -> Result<Value, String> {
    match number::<0, 255>(value)? {
        n if n == json!(4) || n == json!(6) => Ok(n),
        n => Err(format!("'{n}' is not in [4, 6]")),
    }
}

/// `normal`: the kind of interface that hosts realise.
pub fn vnic_type(value: &Value) -> Result<Value, String> {
    match value.as_str() {
        Some("normal") => Ok(value.clone()),
        _ => Err(format!("'{}' is not in ['normal']", shown(value))),
    }
}

/// `local`: each host realises the network for itself.
pub fn network_type(value: &Value) -> Result<Value, String> {
    match value.as_str() {
        Some("local") => Ok(value.clone()),
        _ => Err(format!("network_type value '{}' not supported", shown(value))),
    }
}
