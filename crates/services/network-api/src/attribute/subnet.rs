//! Attributes of subnets.

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
fn null() -> Value {
    Value::Null
}

const fn row(name: &'static str, post: Post, put: bool, check: super::Check, enforced: bool) -> Attribute {
    Attribute { name, post, put, check, enforced }
}

/// The table. An absent `gateway_ip` is the first address; null is no gateway.
pub const SUBNET: Noun = Noun {
    name: "subnet",
    plural: "subnets",
    attributes: &[
        row("network_id", Post::Required, false, check::uuid, false),
        row("ip_version", Post::Required, false, check::ip_version, false),
        row("cidr", Post::Optional, false, check::cidr, false),
        row("name", Post::Default(empty), true, check::text_or_null::<255>, false),
        row("description", Post::Default(empty), true, check::text_or_null::<255>, false),
        row("gateway_ip", Post::Optional, true, check::ip_or_null, false),
        row("allocation_pools", Post::Optional, true, check::pools, false),
        row("enable_dhcp", Post::Default(yes), true, check::flag, false),
        row("dns_nameservers", Post::Default(none), true, check::nameservers, false),
        row("host_routes", Post::Default(none), true, check::routes, false),
        row("ipv6_ra_mode", Post::Default(null), false, check::ipv6_mode, false),
        row("ipv6_address_mode", Post::Default(null), false, check::ipv6_mode, false),
        row("service_types", Post::Default(none), true, check::texts, true),
        row("tags", Post::Default(none), false, check::tags, true),
        row("subnetpool_id", Post::Default(null), false, check::only_null, false),
        row("dns_publish_fixed_ip", Post::Optional, true, check::only_false, false),
        row("id", Post::Refused, false, check::uuid, false),
        row("created_at", Post::Refused, false, check::text::<255>, false),
        row("updated_at", Post::Refused, false, check::text::<255>, false),
        row("revision_number", Post::Refused, false, check::text::<255>, false),
    ],
};
