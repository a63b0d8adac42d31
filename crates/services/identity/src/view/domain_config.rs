//! Options of domains as JSON, and which there are.

use crate::store::domain_config::ConfigOption;
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};

/// Group, option and the default that Keystone documents; those of `ldap` say nothing of this service, which has
/// no LDAP.
#[rustfmt::skip]
fn known() -> Vec<(&'static str, &'static str, Value)> {
    let none = || Value::Null;
    vec![
        ("identity", "driver", json!("sql")), ("identity", "list_limit", none()),
        ("ldap", "url", json!("ldap://localhost")), ("ldap", "user", none()), ("ldap", "suffix", json!("cn=example,cn=com")),
        ("ldap", "query_scope", json!("one")), ("ldap", "page_size", json!(0)),
        ("ldap", "alias_dereferencing", json!("default")), ("ldap", "debug_level", none()),
        ("ldap", "chase_referrals", none()), ("ldap", "user_tree_dn", none()), ("ldap", "user_filter", none()),
        ("ldap", "user_objectclass", json!("inetOrgPerson")), ("ldap", "user_id_attribute", json!("cn")),
        ("ldap", "user_name_attribute", json!("sn")), ("ldap", "user_mail_attribute", json!("mail")),
        ("ldap", "user_description_attribute", json!("description")),
        ("ldap", "user_pass_attribute", json!("userPassword")), ("ldap", "user_enabled_attribute", json!("enabled")),
        ("ldap", "user_enabled_invert", json!(false)), ("ldap", "user_enabled_mask", json!(0)),
        ("ldap", "user_enabled_default", json!("True")),
        ("ldap", "user_attribute_ignore", json!(["default_project_id"])),
        ("ldap", "user_default_project_id_attribute", none()), ("ldap", "user_enabled_emulation", json!(false)),
        ("ldap", "user_enabled_emulation_dn", none()),
        ("ldap", "user_enabled_emulation_use_group_config", json!(false)),
        ("ldap", "user_additional_attribute_mapping", json!([])), ("ldap", "group_tree_dn", none()),
        ("ldap", "group_filter", none()), ("ldap", "group_objectclass", json!("groupOfNames")),
        ("ldap", "group_id_attribute", json!("cn")), ("ldap", "group_name_attribute", json!("ou")),
        ("ldap", "group_members_are_ids", json!(false)), ("ldap", "group_member_attribute", json!("member")),
        ("ldap", "group_desc_attribute", json!("description")), ("ldap", "group_attribute_ignore", json!([])),
        ("ldap", "group_additional_attribute_mapping", json!([])), ("ldap", "tls_cacertfile", none()),
        ("ldap", "tls_cacertdir", none()), ("ldap", "use_tls", json!(false)), ("ldap", "tls_req_cert", json!("demand")),
        ("ldap", "use_pool", json!(true)), ("ldap", "pool_size", json!(10)), ("ldap", "pool_retry_max", json!(3)),
        ("ldap", "pool_retry_delay", json!(0.1)), ("ldap", "pool_connection_timeout", json!(-1)),
        ("ldap", "pool_connection_lifetime", json!(600)), ("ldap", "use_auth_pool", json!(true)),
        ("ldap", "auth_pool_size", json!(100)), ("ldap", "auth_pool_connection_lifetime", json!(60)),
    ]
}

/// Options that are never shown.
const SENSITIVE: &[(&str, &str)] = &[("ldap", "password")];

/// Whether an option is never shown.
pub fn sensitive(group: &str, option: &str) -> bool {
    SENSITIVE.contains(&(group, option))
}

/// 403 for a configuration that cannot be.
pub fn invalid(reason: &str) -> Error {
    Error::forbidden(format!("Invalid domain specific configuration: {reason}."))
}

/// 403 unless there is such a group and (if not empty) option.
pub fn check(group: &str, option: &str) -> Result<()> {
    let known = known();
    let (g, o) = (crate::faults::short(group), crate::faults::short(option));
    if !known.iter().any(|(have, ..)| *have == group) {
        return Err(invalid(&format!("Group {g} is not supported for domain specific configurations")));
    }
    let has = known.iter().any(|(have, name, _)| *have == group && *name == option);
    if !option.is_empty() && !has && !sensitive(group, option) {
        return Err(invalid(&format!(
            "Option {o} in group {g} is not supported for domain specific configurations"
        )));
    }
    Ok(())
}

fn nested<'o>(options: impl Iterator<Item = (&'o str, &'o str, Value)>) -> Map<String, Value> {
    let mut groups = Map::new();
    for (group, option, value) in options {
        let entry = groups.entry(group).or_insert_with(|| json!({}));
        entry[option] = value;
    }
    groups
}

/// Groups of options, without the sensitive ones.
pub fn groups(rows: &[ConfigOption]) -> Value {
    let shown = rows.iter().filter(|r| r.sensitive == 0).map(|r| {
        let value = serde_json::from_str(&r.value).unwrap_or_default();
        (r.config_group.as_str(), r.config_option.as_str(), value)
    });
    Value::Object(nested(shown))
}

/// The defaults: all, of a group, or one option by itself; 403 for what there is none of.
pub fn defaults(group: &str, option: &str) -> Result<Value> {
    if !group.is_empty() {
        check(group, option)?;
    }
    if !option.is_empty() {
        let found = known().into_iter().find(|(g, o, _)| *g == group && *o == option);
        return found.map(|(_, name, value)| json!({name: value})).ok_or_else(|| {
            invalid(&format!("Reading the default for option {option} in group {group} is not supported"))
        });
    }
    Ok(Value::Object(nested(known().into_iter().filter(|(g, ..)| group.is_empty() || *g == group))))
}
