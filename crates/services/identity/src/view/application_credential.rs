//! Application credentials and access rules as JSON.

use super::segment;
use crate::store::{self, access_rule::AccessRule, application_credential::AppCred, role::Role};
use ferrostack_model::Timestamp;
use serde_json::{Value, json};

/// A credential with its roles in full, without its secret. `roles` are all there are.
pub fn application_credential(cred: &AppCred, roles: &[Role], base: &str) -> Value {
    let row = &cred.row;
    let given: Vec<Value> = roles.iter().filter(|r| cred.roles.contains(&r.id)).map(role).collect();
    let expires_at = match row.expires_at {
        0 => Value::Null,
        at => json!(Timestamp(at).iso_micros_naive()),
    };
    let link =
        format!("{base}/v3/users/{}/application_credentials/{}", segment(&row.user_id), segment(&row.id));
    let mut body = json!({
        "id": row.id, "name": row.name, "description": row.description, "user_id": row.user_id,
        "project_id": row.project_id, "system": null, "expires_at": expires_at,
        "unrestricted": row.unrestricted.map(|u| u == 1), "roles": given, "links": {"self": link},
    });
    if !cred.rules.is_empty() {
        body["access_rules"] = cred.rules.iter().map(rule).collect();
    }
    body
}

fn role(role: &Role) -> Value {
    let domain = if role.domain_id.is_empty() { Value::Null } else { json!(role.domain_id) };
    json!({
        "id": role.id, "name": role.name, "domain_id": domain, "description": role.description,
        "options": store::members(&role.options),
    })
}

/// A rule inside a credential or token.
pub fn rule(rule: &AccessRule) -> Value {
    json!({"id": rule.id, "service": rule.service, "path": rule.path, "method": rule.method})
}

/// A rule by itself.
pub fn access_rule(row: &AccessRule, base: &str) -> Value {
    let mut body = rule(row);
    body["links"] = json!({"self": format!("{base}/v3/users/{}/access_rules/{}", segment(&row.user_id), segment(&row.id))});
    body
}
