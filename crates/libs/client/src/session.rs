//! What a login gave: a token, when to renew it, and the catalog.

use ferrostack_model::{Timestamp, auth::Secret};
use serde_json::Value;

/// A scoped login.
#[derive(Clone, Debug)]
pub struct Session {
    /// The token.
    pub token: Secret,
    /// Project it is scoped to.
    pub project_id: String,
    /// User it is of.
    pub user_id: String,
    /// When it stops being valid.
    pub expires_at: Timestamp,
    catalog: Value,
}

impl Session {
    pub(crate) fn read(token: String, body: &Value) -> Option<Self> {
        let body = body.get("token")?;
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        Some(Self {
            token: Secret(token),
            project_id: text("/project/id"),
            user_id: text("/user/id"),
            expires_at: Timestamp::parse(&text("/expires_at"))?,
            catalog: body.get("catalog").cloned().unwrap_or(Value::Null),
        })
    }

    /// The URL of a service type's endpoint (`internal`, else `public`), without a trailing slash.
    pub fn endpoint(&self, service_type: &str) -> Option<String> {
        let services = self.catalog.as_array()?;
        let service = services.iter().find(|s| s["type"] == service_type)?;
        let endpoints = service["endpoints"].as_array()?;
        let of = |interface: &str| endpoints.iter().find(|e| e["interface"] == interface);
        let url = of("internal").or_else(|| of("public"))?["url"].as_str()?;
        Some(url.trim_end_matches('/').to_owned())
    }
}
