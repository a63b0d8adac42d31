//! A member as clients see it.

use crate::image::Member;
use serde_json::{Value, json};

/// One member.
pub fn member(member: &Member) -> Value {
    json!({
        "member_id": member.member,
        "image_id": member.image_id,
        "status": member.status,
        "created_at": member.created_at.iso(),
        "updated_at": member.updated_at.iso(),
        "schema": "/v2/schemas/member",
    })
}

/// All members of an image.
pub fn members(members: &[Member]) -> Value {
    json!({"members": members.iter().map(member).collect::<Vec<_>>(), "schema": "/v2/schemas/members"})
}
