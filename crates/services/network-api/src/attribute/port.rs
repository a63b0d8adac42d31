//! Attributes of ports.

use super::{Attribute, Noun, Post, check};
use serde_json::{Value, json};

fn empty() -> Value {
    json!("")
}
fn yes() -> Value {
    json!(true)
}
fn none() -> Value {
    json!([])
}
fn nothing() -> Value {
    json!({})
}
fn normal() -> Value {
    json!("normal")
}

const fn row(name: &'static str, post: Post, put: bool, check: super::Check, enforced: bool) -> Attribute {
    Attribute { name, post, put, check, enforced }
}

/// The table. Absent `fixed_ips` asks for one address of each version; an empty list for none.
pub const PORT: Noun = Noun {
    name: "port",
    plural: "ports",
    attributes: &[
        row("network_id", Post::Required, false, check::uuid, false),
        row("name", Post::Default(empty), true, check::text_or_null::<255>, false),
        row("description", Post::Default(empty), true, check::text_or_null::<255>, false),
        row("admin_state_up", Post::Default(yes), true, check::flag, false),
        row("mac_address", Post::Optional, true, check::mac, true),
        row("fixed_ips", Post::Optional, true, check::fixed_ips, true),
        row("device_id", Post::Default(empty), true, check::text_or_null::<255>, true),
        row("device_owner", Post::Default(empty), true, check::text_or_null::<255>, true),
        row("binding:host_id", Post::Default(empty), true, check::text_or_null::<255>, true),
        row("binding:vnic_type", Post::Default(normal), true, check::vnic_type, true),
        row("binding:profile", Post::Default(nothing), true, check::profile, true),
        row("port_security_enabled", Post::Optional, true, check::only_false, true),
        row("dns_name", Post::Default(empty), true, check::dns_name, false),
        row("tags", Post::Default(none), false, check::tags, true),
        row("security_groups", Post::Default(none), true, check::empty_list, false),
        row("allowed_address_pairs", Post::Default(none), true, check::empty_list, false),
        row("extra_dhcp_opts", Post::Default(none), true, check::empty_list, false),
        row("id", Post::Refused, false, check::uuid, false),
        row("status", Post::Refused, false, check::text::<255>, false),
        row("binding:vif_type", Post::Refused, false, check::text::<255>, false),
        row("binding:vif_details", Post::Refused, false, check::profile, false),
        row("dns_assignment", Post::Refused, false, check::texts, false),
        row("ip_allocation", Post::Refused, false, check::text::<255>, false),
        row("created_at", Post::Refused, false, check::text::<255>, false),
        row("updated_at", Post::Refused, false, check::text::<255>, false),
        row("revision_number", Post::Refused, false, check::text::<255>, false),
    ],
};
