//! Registered limits: what services can limit, and how much everybody gets.

use super::{Exec, changed, run, unique};
use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::{Error, Result};

/// A registered limit's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RegisteredLimit {
    /// 32 hex digits.
    pub id: String,
    /// Of this service.
    pub service_id: String,
    /// Only in this region.
    pub region_id: Option<String>,
    /// What is limited.
    pub resource_name: String,
    /// Of everybody without a limit of their own; -1 is unlimited.
    pub default_limit: i64,
    /// Free text.
    pub description: Option<String>,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes, and limits made or changed under it.
    pub generation: i64,
}

impl RegisteredLimit {
    /// What no two of them share.
    pub fn key(&self) -> (&str, Option<&str>, &str) {
        (&self.service_id, self.region_id.as_deref(), &self.resource_name)
    }
}

fn duplicate() -> Error {
    faults::taken("registered_limit", "Duplicate entry")
}

/// Adds a registered limit; 409 if service, region and resource have one.
pub async fn insert<'e>(db: impl Exec<'e>, row: &RegisteredLimit) -> Result<()> {
    sqlx::query(
        "INSERT INTO registered_limit (id, service_id, region_id, resource_name, default_limit, description, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)",
    )
    .bind(row.id.as_str())
    .bind(row.service_id.as_str())
    .bind(row.region_id.as_deref())
    .bind(row.resource_name.as_str())
    .bind(row.default_limit)
    .bind(row.description.as_deref())
    .bind(row.created_at)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(|e| unique(e, duplicate))
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<RegisteredLimit>> {
    sqlx::query_as("SELECT * FROM registered_limit WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// The one of a service, region (empty: none) and resource.
pub async fn find<'e>(
    db: impl Exec<'e>,
    service_id: &str,
    region_id: &str,
    resource_name: &str,
) -> Result<Option<RegisteredLimit>> {
    sqlx::query_as(
        "SELECT * FROM registered_limit WHERE service_id = $1 AND COALESCE(region_id, '') = $2 AND resource_name = $3",
    )
    .bind(service_id)
    .bind(region_id)
    .bind(resource_name)
    .fetch_optional(db)
    .await
    .map_err(db_error)
}

/// In the order of their making; empty texts do not filter.
pub async fn list<'e>(
    db: impl Exec<'e>,
    service_id: &str,
    region_id: &str,
    resource_name: &str,
) -> Result<Vec<RegisteredLimit>> {
    sqlx::query_as(
        "SELECT * FROM registered_limit WHERE ($1 = '' OR service_id = $1) AND ($2 = '' OR region_id = $2) AND ($3 = '' OR resource_name = $3) ORDER BY created_at, id",
    )
    .bind(service_id)
    .bind(region_id)
    .bind(resource_name)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Writes every changeable column if the row is still of `row.generation`.
pub async fn update<'e>(db: impl Exec<'e>, row: &RegisteredLimit) -> Result<Change> {
    sqlx::query(
        "UPDATE registered_limit SET service_id = $1, region_id = $2, resource_name = $3, default_limit = $4, description = $5, generation = generation + 1 WHERE id = $6 AND generation = $7",
    )
    .bind(row.service_id.as_str())
    .bind(row.region_id.as_deref())
    .bind(row.resource_name.as_str())
    .bind(row.default_limit)
    .bind(row.description.as_deref())
    .bind(row.id.as_str())
    .bind(row.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(|e| unique(e, duplicate))
}

/// Holds the row until the transaction ends, so that the limits under it change one after the other; the row as it
/// is then.
pub async fn hold<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<RegisteredLimit>> {
    sqlx::query_as("UPDATE registered_limit SET generation = generation + 1 WHERE id = $1 RETURNING *")
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// Removes a registered limit that no limit refers to; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM registered_limit WHERE id = $1").bind(id)).await
}
