//! Trusts as JSON.

use super::{object, segment};
use crate::store::{self, role::Role, trust::Trust};
use ferrostack_model::Timestamp;
use serde_json::{Value, json};

/// A trust; with its roles where they are given.
pub fn trust(row: &Trust, roles: Option<&[&Role]>, base: &str) -> Value {
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let expires_at = match row.expires_at {
        0 => Value::Null,
        at => json!(Timestamp(at).iso_micros()),
    };
    let link = format!("{base}/v3/OS-TRUST/trusts/{}", segment(&row.id));
    let mut body = json!({
        "id": row.id, "trustor_user_id": row.trustor_user_id, "trustee_user_id": row.trustee_user_id,
        "project_id": or_null(&row.project_id), "impersonation": row.impersonation == 1,
        "expires_at": expires_at, "remaining_uses": row.remaining_uses, "deleted_at": null,
        "redelegated_trust_id": or_null(&row.redelegated_trust_id),
        "redelegation_count": row.redelegation_count, "links": {"self": link},
    });
    if let Some(roles) = roles {
        body["roles"] = roles.iter().map(|r| role(r, base)).collect();
        body["roles_links"] = json!({"self": format!("{link}/roles"), "next": null, "previous": null});
    }
    object(store::members(&row.extra), body)
}

/// A role of a trust.
pub fn role(row: &Role, base: &str) -> Value {
    let domain = if row.domain_id.is_empty() { Value::Null } else { json!(row.domain_id) };
    json!({
        "id": row.id, "name": row.name, "domain_id": domain, "description": row.description,
        "options": store::members(&row.options),
        "links": {"self": format!("{base}/v3/roles/{}", segment(&row.id))},
    })
}
