//! Endpoints that a project's catalog is limited to.

use super::{Exec, run, unique};
use crate::faults;
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::Result;

/// Associates an endpoint with a project; 409 if it is.
pub async fn insert<'e>(db: impl Exec<'e>, project_id: &str, endpoint_id: &str) -> Result<()> {
    sqlx::query("INSERT INTO project_endpoint (project_id, endpoint_id) VALUES ($1, $2)")
        .bind(project_id)
        .bind(endpoint_id)
        .execute(db)
        .await
        .map(|_| ())
        .map_err(|e| unique(e, || faults::taken("project_endpoint", "Duplicate entry")))
}

/// Whether an endpoint is associated with a project.
pub async fn exists<'e>(db: impl Exec<'e>, project_id: &str, endpoint_id: &str) -> Result<bool> {
    sqlx::query("SELECT 1 FROM project_endpoint WHERE project_id = $1 AND endpoint_id = $2")
        .bind(project_id)
        .bind(endpoint_id)
        .fetch_optional(db)
        .await
        .map(|row| row.is_some())
        .map_err(db_error)
}

/// Ids of the projects that an endpoint is associated with.
pub async fn projects<'e>(db: impl Exec<'e>, endpoint_id: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT project_id FROM project_endpoint WHERE endpoint_id = $1 ORDER BY project_id")
            .bind(endpoint_id)
            .fetch_all(db)
            .await
            .map_err(db_error)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// What a project's catalog is limited to: endpoints' ids, and filters of endpoint groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Ids.
    pub endpoints: Vec<String>,
    /// JSON objects as in `EndpointGroup::filters`.
    pub filters: Vec<String>,
}

/// Everything associated with a project, in one statement: it is read with every catalog.
pub async fn allowed<'e>(db: impl Exec<'e>, project_id: &str) -> Result<Allowed> {
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT CAST(0 AS BIGINT), endpoint_id FROM project_endpoint WHERE project_id = $1 UNION ALL SELECT CAST(1 AS BIGINT), endpoint_group.filters FROM endpoint_group JOIN project_endpoint_group ON project_endpoint_group.endpoint_group_id = endpoint_group.id WHERE project_endpoint_group.project_id = $1",
    )
    .bind(project_id)
    .fetch_all(db)
    .await
    .map_err(db_error)?;
    let mut allowed = Allowed::default();
    for (kind, text) in rows {
        if kind == 0 { allowed.endpoints.push(text) } else { allowed.filters.push(text) }
    }
    Ok(allowed)
}

/// Ends an endpoint's association with a project; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, project_id: &str, endpoint_id: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("DELETE FROM project_endpoint WHERE project_id = $1 AND endpoint_id = $2")
            .bind(project_id)
            .bind(endpoint_id),
    )
    .await
}
