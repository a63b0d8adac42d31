//! Security groups as old microversions show them, made of what the network service answers.

use serde_json::{Value, json};

/// A group; `names` finds the name and the project of a group that a rule names.
pub fn group(group: &Value, names: &dyn Fn(&str) -> Option<(String, String)>) -> Value {
    let rules: Vec<Value> = group["security_group_rules"]
        .as_array()
        .into_iter()
        .flatten()
        // Only what comes in was ever shown here.
        .filter(|r| r["direction"] != "egress")
        .map(|r| rule(r, names))
        .collect();
    json!({"id": group["id"], "name": group["name"], "description": group["description"],
        "tenant_id": group["project_id"], "rules": rules})
}

/// A rule.
pub fn rule(rule: &Value, names: &dyn Fn(&str) -> Option<(String, String)>) -> Value {
    let protocol = rule["protocol"].as_str();
    let (from, to) = (&rule["port_range_min"], &rule["port_range_max"]);
    let (from, to) = match protocol {
        Some(name) if from.is_null() && to.is_null() => match name.to_ascii_lowercase().as_str() {
            "tcp" | "udp" => (json!(1), json!(65_535)),
            _ => (json!(-1), json!(-1)),
        },
        _ => (from.clone(), to.clone()),
    };
    let (mut source, mut range) = (json!({}), json!({}));
    match rule["remote_group_id"].as_str() {
        Some(id) => {
            if let Some((name, project)) = names(id) {
                source = json!({"name": name, "tenant_id": project});
            }
        }
        None => range = json!({"cidr": rule["remote_ip_prefix"].as_str().unwrap_or("0.0.0.0/0")}),
    }
    json!({"id": rule["id"], "parent_group_id": rule["security_group_id"], "ip_protocol": protocol,
        "from_port": from, "to_port": to, "group": source, "ip_range": range})
}
