//! Host aggregates as JSON.

use crate::store::aggregates::Aggregate;
use ferrostack_model::{Microversion, Timestamp, microversion::feature};
use serde_json::{Value, json};

/// The answer to a create: without hosts and metadata.
pub fn created(aggregate: &Aggregate, v: Microversion) -> Value {
    let mut body = json!({
        "id": aggregate.id,
        "name": aggregate.name,
        "availability_zone": aggregate.availability_zone,
        "created_at": aggregate.created_at.iso_micros_naive(),
        "updated_at": aggregate.updated_at.map(Timestamp::iso_micros_naive),
        "deleted_at": null,
        "deleted": false,
    });
    if v.has(feature::AGGREGATE_UUID) {
        body["uuid"] = json!(aggregate.uuid);
    }
    body
}

/// The whole aggregate.
pub fn full(aggregate: &Aggregate, v: Microversion) -> Value {
    let mut body = created(aggregate, v);
    body["hosts"] = json!(aggregate.hosts);
    body["metadata"] = json!(aggregate.all_metadata());
    body
}
