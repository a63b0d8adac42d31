//! The body of a login that needs more methods.

use crate::auth::Partial;
use serde_json::{Value, json};

/// `{"receipt": {…}, "required_auth_methods": [[…]]}`
pub fn receipt(partial: &Partial) -> Value {
    let (user, domain) = (&partial.user, &partial.user_domain);
    json!({
        "receipt": {
            "methods": partial.methods,
            "user": {"domain": {"id": domain.id, "name": domain.name}, "id": user.id, "name": user.name},
            "expires_at": partial.expires.iso_micros(),
            "issued_at": partial.issued.iso_micros(),
        },
        "required_auth_methods": partial.required,
    })
}
