//! Attributes of networks.

use super::{Attribute, Noun, Post, check};
use serde_json::{Value, json};

fn empty() -> Value {
    json!("")
}
fn yes() -> Value {
    json!(true)
}
fn no() -> Value {
    json!(false)
}
fn none() -> Value {
    json!([])
}
fn mtu() -> Value {
    json!(1500)
}

/// 0 asks for the default.
fn check_mtu(value: &Value) -> Result<Value, String> {
    match check::number::<0, 65_535>(value)?.as_i64() {
        Some(0) => Ok(mtu()),
        Some(n @ ..68) => Err(format!("'{n}' is too small - must be at least '68'")),
        n => Ok(json!(n)),
    }
}

const fn row(name: &'static str, post: Post, put: bool, check: super::Check, enforced: bool) -> Attribute {
    Attribute { name, post, put, check, enforced }
}

/// The table.
pub const NETWORK: Noun = Noun {
    name: "network",
    plural: "networks",
    attributes: &[
        row("name", Post::Default(empty), true, check::text_or_null::<255>, false),
        row("description", Post::Default(empty), true, check::text_or_null::<255>, false),
        row("admin_state_up", Post::Default(yes), true, check::flag, false),
        row("shared", Post::Default(no), true, check::flag, true),
        row("mtu", Post::Default(mtu), true, check_mtu, false),
        row("port_security_enabled", Post::Default(no), true, check::only_false, true),
        row("dns_domain", Post::Default(empty), true, check::dns_domain, false),
        row("availability_zone_hints", Post::Default(none), false, check::texts, false),
        row("tags", Post::Default(none), false, check::tags, true),
        row("router:external", Post::Default(no), true, check::only_false, true),
        row("is_default", Post::Default(no), true, check::only_false, true),
        row("provider:network_type", Post::Optional, false, check::network_type, true),
        row("provider:physical_network", Post::Optional, false, check::only_null, true),
        row("provider:segmentation_id", Post::Optional, false, check::only_null, true),
        row("id", Post::Refused, false, check::uuid, false),
        row("status", Post::Refused, false, check::text::<255>, false),
        row("subnets", Post::Refused, false, check::texts, false),
        row("availability_zones", Post::Refused, false, check::texts, false),
        row("ipv4_address_scope", Post::Refused, false, check::only_null, false),
        row("ipv6_address_scope", Post::Refused, false, check::only_null, false),
        row("created_at", Post::Refused, false, check::text::<255>, false),
        row("updated_at", Post::Refused, false, check::text::<255>, false),
        row("revision_number", Post::Refused, false, check::text::<255>, false),
    ],
};
