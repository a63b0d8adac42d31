//! Limits: what one project or domain has instead of a registered limit's default.

use super::{Exec, changed, run, unique};
use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A limit with what its registered limit says.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Limit {
    /// 32 hex digits.
    pub id: String,
    /// What it overrides.
    pub registered_limit_id: String,
    /// Of this project …
    pub project_id: Option<String>,
    /// … or of this domain.
    pub domain_id: Option<String>,
    /// -1 is unlimited.
    pub resource_limit: i64,
    /// Free text.
    pub description: Option<String>,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
    /// The registered limit's.
    pub service_id: String,
    /// The registered limit's.
    pub region_id: Option<String>,
    /// The registered limit's.
    pub resource_name: String,
}

impl Limit {
    /// The project's or domain's id.
    pub fn owner(&self) -> &str {
        self.project_id.as_deref().or(self.domain_id.as_deref()).unwrap_or_default()
    }
}

/// Adds a limit; 409 if the project or domain has one for the same resource.
pub async fn insert<'e>(db: impl Exec<'e>, row: &Limit) -> Result<()> {
    sqlx::query(
        "INSERT INTO resource_limit (id, registered_limit_id, project_id, domain_id, resource_limit, description, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)",
    )
    .bind(row.id.as_str())
    .bind(row.registered_limit_id.as_str())
    .bind(row.project_id.as_deref())
    .bind(row.domain_id.as_deref())
    .bind(row.resource_limit)
    .bind(row.description.as_deref())
    .bind(row.created_at)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(|e| unique(e, || faults::taken("limit", "Duplicate entry")))
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Limit>> {
    sqlx::query_as(
        "SELECT resource_limit.*, registered_limit.service_id, registered_limit.region_id, registered_limit.resource_name FROM resource_limit JOIN registered_limit ON registered_limit.id = resource_limit.registered_limit_id WHERE resource_limit.id = $1",
    )
    .bind(id)
    .fetch_optional(db)
    .await
    .map_err(db_error)
}

/// What to list; empty texts do not filter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Of this service.
    pub service_id: &'a str,
    /// In this region.
    pub region_id: &'a str,
    /// Of this resource.
    pub resource_name: &'a str,
    /// Of this project.
    pub project_id: &'a str,
    /// Of this domain itself.
    pub domain_id: &'a str,
    /// Of this domain or its projects.
    pub within_domain: &'a str,
}

/// In the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, wanted: &Wanted<'_>) -> Result<Vec<Limit>> {
    sqlx::query_as(
        "SELECT resource_limit.*, registered_limit.service_id, registered_limit.region_id, registered_limit.resource_name FROM resource_limit JOIN registered_limit ON registered_limit.id = resource_limit.registered_limit_id WHERE ($1 = '' OR registered_limit.service_id = $1) AND ($2 = '' OR registered_limit.region_id = $2) AND ($3 = '' OR registered_limit.resource_name = $3) AND ($4 = '' OR resource_limit.project_id = $4) AND ($5 = '' OR resource_limit.domain_id = $5) AND ($6 = '' OR resource_limit.domain_id = $6 OR resource_limit.project_id IN (SELECT id FROM project WHERE domain_id = $6)) ORDER BY resource_limit.created_at, resource_limit.id",
    )
    .bind(wanted.service_id)
    .bind(wanted.region_id)
    .bind(wanted.resource_name)
    .bind(wanted.project_id)
    .bind(wanted.domain_id)
    .bind(wanted.within_domain)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// The limit that a project or domain has instead of a registered one.
pub async fn of_owner<'e>(
    db: impl Exec<'e>,
    registered_limit_id: &str,
    owner_id: &str,
) -> Result<Option<i64>> {
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT resource_limit FROM resource_limit WHERE registered_limit_id = $1 AND COALESCE(project_id, domain_id) = $2",
    )
    .bind(registered_limit_id)
    .bind(owner_id)
    .fetch_optional(db)
    .await
    .map_err(db_error)?;
    Ok(row.map(|(limit,)| limit))
}

/// The limits that the projects of a domain have instead of a registered one.
pub async fn of_projects_in<'e>(
    db: impl Exec<'e>,
    registered_limit_id: &str,
    domain_id: &str,
) -> Result<Vec<i64>> {
    let rows: Vec<(i64,)> = sqlx::query_as(
        "SELECT resource_limit.resource_limit FROM resource_limit JOIN project ON project.id = resource_limit.project_id WHERE resource_limit.registered_limit_id = $1 AND project.domain_id = $2",
    )
    .bind(registered_limit_id)
    .bind(domain_id)
    .fetch_all(db)
    .await
    .map_err(db_error)?;
    Ok(rows.into_iter().map(|(limit,)| limit).collect())
}

/// Whether any limit overrides a registered one.
pub async fn any_of<'e>(db: impl Exec<'e>, registered_limit_id: &str) -> Result<bool> {
    sqlx::query("SELECT 1 FROM resource_limit WHERE registered_limit_id = $1 LIMIT 1")
        .bind(registered_limit_id)
        .fetch_optional(db)
        .await
        .map(|row| row.is_some())
        .map_err(db_error)
}

/// Writes every changeable column if the row is still of `row.generation`.
pub async fn update<'e>(db: impl Exec<'e>, row: &Limit) -> Result<Change> {
    sqlx::query(
        "UPDATE resource_limit SET resource_limit = $1, description = $2, generation = generation + 1 WHERE id = $3 AND generation = $4",
    )
    .bind(row.resource_limit)
    .bind(row.description.as_deref())
    .bind(row.id.as_str())
    .bind(row.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}

/// Removes a limit; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM resource_limit WHERE id = $1").bind(id)).await
}
