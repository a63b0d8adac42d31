//! Services of the catalog.

use super::{Exec, changed, run};
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A service's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Service {
    /// 32 hex digits.
    pub id: String,
    /// `compute`, `image`, …
    pub r#type: String,
    /// 0 or 1.
    pub enabled: i64,
    /// JSON object with `name`, `description` and what else was given.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

impl Service {
    /// The name, or "".
    pub fn name(&self) -> String {
        super::members(&self.extra).get("name").and_then(|v| v.as_str()).unwrap_or("").to_owned()
    }
}

/// Adds a service.
pub async fn insert<'e>(db: impl Exec<'e>, service: &Service) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO service (id, type, enabled, extra, created_at, generation) VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT DO NOTHING",
        )
        .bind(service.id.as_str())
        .bind(service.r#type.as_str())
        .bind(service.enabled)
        .bind(service.extra.as_str())
        .bind(service.created_at),
    )
    .await
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Service>> {
    sqlx::query_as("SELECT * FROM service WHERE id = $1").bind(id).fetch_optional(db).await.map_err(db_error)
}

/// All, or those of a type, in the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, service_type: &str) -> Result<Vec<Service>> {
    sqlx::query_as("SELECT * FROM service WHERE ($1 = '' OR type = $1) ORDER BY created_at, id")
        .bind(service_type)
        .fetch_all(db)
        .await
        .map_err(db_error)
}

/// Writes every changeable column if the row is still of `service.generation`.
pub async fn update<'e>(db: impl Exec<'e>, service: &Service) -> Result<Change> {
    sqlx::query(
        "UPDATE service SET type = $1, enabled = $2, extra = $3, generation = generation + 1 WHERE id = $4 AND generation = $5",
    )
    .bind(service.r#type.as_str())
    .bind(service.enabled)
    .bind(service.extra.as_str())
    .bind(service.id.as_str())
    .bind(service.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}

/// Removes a service with its endpoints; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM service WHERE id = $1").bind(id)).await
}
