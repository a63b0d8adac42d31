//! Services, endpoints and regions as JSON.

use super::object;
use crate::store::{self, endpoint::Endpoint, region::Region, service::Service};
use serde_json::{Value, json};

/// A service; name and description only if given.
pub fn service(row: &Service, base: &str) -> Value {
    object(
        store::members(&row.extra),
        json!({
            "id": row.id, "type": row.r#type, "enabled": row.enabled == 1,
            "links": {"self": format!("{base}/v3/services/{}", super::segment(&row.id))},
        }),
    )
}

/// An endpoint; `region` repeats `region_id` for old clients.
pub fn endpoint(row: &Endpoint, base: &str) -> Value {
    let region = if row.region_id.is_empty() { Value::Null } else { json!(row.region_id) };
    object(
        store::members(&row.extra),
        json!({
            "id": row.id, "interface": row.interface, "region_id": region, "service_id": row.service_id,
            "url": row.url, "enabled": row.enabled == 1, "region": region,
            "links": {"self": format!("{base}/v3/endpoints/{}", super::segment(&row.id))},
        }),
    )
}

/// A region.
pub fn region(row: &Region, base: &str) -> Value {
    let parent = if row.parent_region_id.is_empty() { Value::Null } else { json!(row.parent_region_id) };
    object(
        store::members(&row.extra),
        json!({
            "id": row.id, "description": row.description, "parent_region_id": parent,
            "links": {"self": format!("{base}/v3/regions/{}", super::segment(&row.id))},
        }),
    )
}
