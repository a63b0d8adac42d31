//! Endpoint groups, and which endpoints and groups a project's catalog is limited to.

use super::{Exec, changed, run, unique};
use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// An endpoint group's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct EndpointGroup {
    /// 32 hex digits.
    pub id: String,
    /// Not unique.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// JSON object of `service_id`, `region_id` and `interface`: all must fit.
    pub filters: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

/// Adds an endpoint group.
pub async fn insert<'e>(db: impl Exec<'e>, group: &EndpointGroup) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO endpoint_group (id, name, description, filters, created_at, generation) VALUES ($1, $2, $3, $4, $5, 1)",
        )
        .bind(group.id.as_str())
        .bind(group.name.as_str())
        .bind(group.description.as_deref())
        .bind(group.filters.as_str())
        .bind(group.created_at),
    )
    .await
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<EndpointGroup>> {
    sqlx::query_as("SELECT * FROM endpoint_group WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// All, or those of a name, in the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, name: &str) -> Result<Vec<EndpointGroup>> {
    sqlx::query_as("SELECT * FROM endpoint_group WHERE ($1 = '' OR name = $1) ORDER BY created_at, id")
        .bind(name)
        .fetch_all(db)
        .await
        .map_err(db_error)
}

/// Those associated with a project.
pub async fn list_of_project<'e>(db: impl Exec<'e>, project_id: &str) -> Result<Vec<EndpointGroup>> {
    sqlx::query_as(
        "SELECT endpoint_group.* FROM endpoint_group JOIN project_endpoint_group ON project_endpoint_group.endpoint_group_id = endpoint_group.id WHERE project_endpoint_group.project_id = $1 ORDER BY endpoint_group.created_at, endpoint_group.id",
    )
    .bind(project_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Writes every changeable column if the row is still of `group.generation`.
pub async fn update<'e>(db: impl Exec<'e>, group: &EndpointGroup) -> Result<Change> {
    sqlx::query(
        "UPDATE endpoint_group SET name = $1, description = $2, filters = $3, generation = generation + 1 WHERE id = $4 AND generation = $5",
    )
    .bind(group.name.as_str())
    .bind(group.description.as_deref())
    .bind(group.filters.as_str())
    .bind(group.id.as_str())
    .bind(group.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}

/// Removes a group with its associations; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM endpoint_group WHERE id = $1").bind(id)).await
}

/// Associates a group with a project; 409 if it is.
pub async fn add_project<'e>(db: impl Exec<'e>, id: &str, project_id: &str) -> Result<()> {
    sqlx::query("INSERT INTO project_endpoint_group (project_id, endpoint_group_id) VALUES ($1, $2)")
        .bind(project_id)
        .bind(id)
        .execute(db)
        .await
        .map(|_| ())
        .map_err(|e| unique(e, || faults::taken("project_endpoint_group", "Duplicate entry")))
}

/// Ends a group's association with a project; how many there were.
pub async fn remove_project<'e>(db: impl Exec<'e>, id: &str, project_id: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("DELETE FROM project_endpoint_group WHERE project_id = $1 AND endpoint_group_id = $2")
            .bind(project_id)
            .bind(id),
    )
    .await
}

/// Ids of the projects that a group is associated with.
pub async fn projects<'e>(db: impl Exec<'e>, id: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT project_id FROM project_endpoint_group WHERE endpoint_group_id = $1 ORDER BY project_id",
    )
    .bind(id)
    .fetch_all(db)
    .await
    .map_err(db_error)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
