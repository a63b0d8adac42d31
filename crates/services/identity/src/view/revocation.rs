//! Revocation rules as OS-REVOKE events.

use crate::store::role::Role;
use ferrostack_model::RevocationEvent;
use serde_json::{Map, Value};

/// An event; `None` where there is none that says as little: an event with a condition left out would refuse more
/// tokens than the rule, so a rule about a role that is gone, or about an application credential, is not told.
pub fn event(rule: &RevocationEvent, roles: &[Role]) -> Option<Value> {
    if rule.app_cred_id.is_some() {
        return None;
    }
    let role_id = match &rule.role {
        Some(name) => Some(roles.iter().find(|r| r.domain_id.is_empty() && r.name == *name)?.id.as_str()),
        None => None,
    };
    let mut event = Map::new();
    for (name, value) in [
        ("user_id", rule.user_id.as_deref()),
        ("project_id", rule.project_id.as_deref()),
        ("domain_id", rule.domain_id.as_deref()),
        ("role_id", role_id),
        ("OS-TRUST:trust_id", rule.trust_id.as_deref()),
        ("audit_id", rule.audit_id.as_deref()),
        ("audit_chain_id", rule.audit_chain_id.as_deref()),
    ] {
        if let Some(value) = value {
            event.insert(name.into(), value.into());
        }
    }
    event.insert("issued_before".into(), rule.issued_before.iso_micros().into());
    Some(Value::Object(event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrostack_model::Timestamp;
    use serde_json::json;

    #[test]
    fn never_says_more_than_the_rule() {
        let rule = RevocationEvent { issued_before: Timestamp(1_500_000), ..Default::default() };
        let of_user = RevocationEvent { user_id: Some("u".into()), ..rule.clone() };
        assert_eq!(
            event(&of_user, &[]),
            Some(json!({"user_id": "u", "issued_before": "1970-01-01T00:00:01.500000Z"}))
        );
        let of_role = RevocationEvent { role: Some("gone".into()), ..of_user.clone() };
        assert_eq!(event(&of_role, &[]), None);
        assert_eq!(event(&RevocationEvent { app_cred_id: Some("a".into()), ..of_user }, &[]), None);
    }
}
