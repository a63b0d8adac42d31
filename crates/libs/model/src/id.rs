//! How identifiers are made.

use uuid::Uuid;

/// A random UUID with dashes: servers, images, networks, ports, jobs.
pub fn uuid() -> String {
    Uuid::new_v4().to_string()
}

/// A random UUID as 32 hex digits: users, projects, roles, services (as Keystone does).
pub fn hex() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A request id, `req-<uuid>`.
pub fn request_id() -> String {
    format!("req-{}", Uuid::new_v4())
}

/// Whether `text` is a UUID with dashes or 32 hex digits; Nova accepts both.
pub fn is_uuid_like(text: &str) -> bool {
    matches!(text.len(), 32 | 36) && Uuid::try_parse(text).is_ok()
}
