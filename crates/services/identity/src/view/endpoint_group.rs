//! Endpoint groups as JSON.

use crate::store::{self, endpoint_group::EndpointGroup};
use serde_json::{Value, json};

/// An endpoint group.
pub fn endpoint_group(row: &EndpointGroup, base: &str) -> Value {
    let id = super::segment(&row.id);
    json!({
        "id": row.id, "name": row.name, "description": row.description, "filters": store::members(&row.filters),
        "links": {"self": format!("{base}/v3/OS-EP-FILTER/endpoint_groups/{id}")},
    })
}

/// A group's association with a project.
pub fn project_endpoint_group(id: &str, project_id: &str, base: &str) -> Value {
    let (group, project) = (super::segment(id), super::segment(project_id));
    json!({
        "endpoint_group_id": id, "project_id": project_id,
        "links": {"self": format!("{base}/v3/OS-EP-FILTER/endpoint_groups/{group}/projects/{project}")},
    })
}
