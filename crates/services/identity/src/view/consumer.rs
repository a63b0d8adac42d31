//! OAuth1 consumers as JSON.

use super::object;
use crate::store::{self, consumer::Consumer};
use serde_json::{Value, json};

/// A consumer without its secret.
pub fn consumer(row: &Consumer, base: &str) -> Value {
    let link = format!("{base}/v3/OS-OAUTH1/consumers/{}", super::segment(&row.id));
    let known = json!({"id": row.id, "description": row.description, "links": {"self": link}});
    object(store::members(&row.extra), known)
}
