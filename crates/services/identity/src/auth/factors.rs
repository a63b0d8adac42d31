//! The user options `multi_factor_auth_enabled` and `multi_factor_auth_rules`: which methods a login needs together.
//!
//! Read as Keystone reads them. Rules count unless they are switched off. What is no list of names is no rule. Of a
//! rule, names that no Keystone knows are left out, so that nobody locks users out by a slip; a rule of which
//! nothing is left asks for nothing.

use crate::store::{self, user::User};
use serde_json::Value;

/// Methods that a rule can ask for: Keystone's. Those that we do not offer cannot be met, instead of being left out.
const KNOWN: [&str; 12] = [
    "password",
    "token",
    "totp",
    "application_credential",
    "external",
    "mapped",
    "oauth1",
    "openid",
    "saml2",
    "kerberos",
    "x509",
    "oauth2_credential",
];

/// `None` if the user may log in by `methods`; else the rules that some of these are a part of.
pub fn missing(user: &User, methods: &[String]) -> Option<Vec<Vec<String>>> {
    let options = store::members(&user.options);
    if options.get("multi_factor_auth_enabled") == Some(&Value::Bool(false)) {
        return None;
    }
    let rules: Vec<Vec<String>> = options
        .get("multi_factor_auth_rules")?
        .as_array()?
        .iter()
        .filter_map(rule)
        .map(|names| names.into_iter().filter(|name| KNOWN.contains(&name.as_str())).collect())
        .collect();
    if rules.is_empty() || rules.iter().any(|rule| rule.iter().all(|name| methods.contains(name))) {
        return None;
    }
    Some(rules.into_iter().filter(|rule| rule.iter().any(|name| methods.contains(name))).collect())
}

/// The names of a rule, once each.
fn rule(value: &Value) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in value.as_array()? {
        let name = name.as_str().filter(|name| !name.is_empty())?;
        if !names.iter().any(|have| have == name) {
            names.push(name.to_owned());
        }
    }
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn missing_of(options: Value, methods: &[&str]) -> Option<Vec<Vec<String>>> {
        let user = User { options: options.to_string(), ..Default::default() };
        missing(&user, &methods.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn rules_as_keystone_reads_them() {
        let rules = |rules: Value| json!({"multi_factor_auth_rules": rules});
        let lists = |lists: Value| Some(serde_json::from_value::<Vec<Vec<String>>>(lists).unwrap());
        let two = json!([["password", "totp"]]);
        assert_eq!(missing_of(json!({}), &["password"]), None);
        assert_eq!(missing_of(rules(json!([])), &["password"]), None);
        // In force unless switched off.
        assert_eq!(missing_of(rules(two.clone()), &["password"]), lists(two.clone()));
        for (enabled, result) in [(true, lists(two.clone())), (false, None)] {
            let options = json!({"multi_factor_auth_enabled": enabled, "multi_factor_auth_rules": two});
            assert_eq!(missing_of(options, &["password"]), result);
        }
        assert_eq!(missing_of(json!({"multi_factor_auth_enabled": true}), &["password"]), None);
        assert_eq!(missing_of(rules(two.clone()), &["totp", "password"]), None);
        assert_eq!(missing_of(rules(two.clone()), &["token", "totp", "password"]), None);
        // Only rules that were begun are told.
        let many = json!([["password", "totp"], ["mapped", "totp"], ["application_credential"]]);
        assert_eq!(missing_of(rules(many.clone()), &["password"]), lists(json!([["password", "totp"]])));
        assert_eq!(
            missing_of(rules(many.clone()), &["totp"]),
            lists(json!([["password", "totp"], ["mapped", "totp"]]))
        );
        assert_eq!(missing_of(rules(many.clone()), &["token"]), lists(json!([])));
        assert_eq!(missing_of(rules(many), &["application_credential"]), None);
        // A slip does not lock out; what is known but not offered does not let in.
        assert_eq!(missing_of(rules(json!([["pasword", "totpp"]])), &["password"]), None);
        assert_eq!(missing_of(rules(json!([["password", "slip"]])), &["password"]), None);
        assert_eq!(missing_of(rules(json!([["totp", "slip"]])), &["password"]), lists(json!([])));
        assert_eq!(missing_of(rules(json!([["mapped"]])), &["password"]), lists(json!([])));
        // What is no rule is none.
        for none in
            [json!("x"), json!([[]]), json!([5]), json!([["password", 5]]), json!([[""]]), json!([[null]])]
        {
            assert_eq!(missing_of(rules(none.clone()), &["token"]), None, "{none}");
        }
        assert_eq!(
            missing_of(rules(json!([["totp", "totp", "password"]])), &["password"]),
            lists(json!([["totp", "password"]]))
        );
    }
}
