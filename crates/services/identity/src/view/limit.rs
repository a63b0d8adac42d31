//! Registered limits and limits as JSON.

use crate::store::{limit::Limit, registered_limit::RegisteredLimit};
use serde_json::{Value, json};

/// A registered limit.
pub fn registered_limit(row: &RegisteredLimit, base: &str) -> Value {
    json!({
        "id": row.id, "service_id": row.service_id, "region_id": row.region_id,
        "resource_name": row.resource_name, "default_limit": row.default_limit, "description": row.description,
        "links": {"self": format!("{base}/v3/registered_limits/{}", super::segment(&row.id))},
    })
}

/// A limit.
pub fn limit(row: &Limit, base: &str) -> Value {
    let mut limit = bare(row);
    limit["links"] = json!({"self": format!("{base}/v3/limits/{}", super::segment(&row.id))});
    limit
}

/// A limit inside of a project.
pub fn bare(row: &Limit) -> Value {
    json!({
        "id": row.id, "project_id": row.project_id, "domain_id": row.domain_id, "service_id": row.service_id,
        "region_id": row.region_id, "resource_name": row.resource_name, "resource_limit": row.resource_limit,
        "description": row.description,
    })
}
