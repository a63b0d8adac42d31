//! Server groups as JSON.

use crate::store::server_groups::ServerGroup;
use ferrostack_model::{Microversion, microversion::feature};
use serde_json::{Value, json};

/// A group with its living `members`.
pub fn full(group: &ServerGroup, members: &[String], v: Microversion) -> Value {
    let mut body = json!({"id": group.id, "name": group.name, "members": members});
    if v.has(feature::GROUP_POLICY) {
        body["policy"] = json!(group.policy.as_str());
        body["rules"] = match group.max_server_per_host {
            Some(max) => json!({"max_server_per_host": max}),
            None => json!({}),
        };
    } else {
        body["policies"] = json!([group.policy.as_str()]);
        // Never used by Nova, and there until 2.63.
        body["metadata"] = json!({});
    }
    if v.has(feature::GROUP_OWNER) {
        body["project_id"] = json!(group.project_id);
        body["user_id"] = json!(group.user_id);
    }
    body
}
