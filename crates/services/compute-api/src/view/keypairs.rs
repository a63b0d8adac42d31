//! Keypairs as JSON.

use crate::store::keypairs::Keypair;
use ferrostack_model::{Microversion, microversion::feature};
use serde_json::{Value, json};

/// An entry of the list.
pub fn basic(key: &Keypair, v: Microversion) -> Value {
    let mut body = json!({"name": key.name, "public_key": key.public_key, "fingerprint": key.fingerprint});
    if v.has(feature::KEYPAIR_TYPE) {
        body["type"] = json!(key.kind);
    }
    body
}

/// The answer to a create; `private_key` only if it was made here, and only now.
pub fn created(key: &Keypair, v: Microversion, private_key: Option<&str>) -> Value {
    let mut body = basic(key, v);
    body["user_id"] = json!(key.user_id);
    if let Some(pem) = private_key {
        body["private_key"] = json!(pem);
    }
    json!({"keypair": body})
}

/// The answer to a show.
pub fn full(key: &Keypair, v: Microversion) -> Value {
    let mut body = basic(key, v);
    body["user_id"] = json!(key.user_id);
    body["created_at"] = json!(key.created_at.iso_micros_naive());
    body["deleted"] = json!(false);
    body["deleted_at"] = Value::Null;
    body["id"] = json!(key.number);
    body["updated_at"] = Value::Null;
    json!({"keypair": body})
}
