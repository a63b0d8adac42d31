//! Endpoints of the catalog.

use super::{Exec, changed, run};
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// An endpoint's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Endpoint {
    /// 32 hex digits.
    pub id: String,
    /// Of this service.
    pub service_id: String,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    /// Empty: none.
    pub region_id: String,
    /// May hold `%(project_id)s` and `$(project_id)s`.
    pub url: String,
    /// 0 or 1.
    pub enabled: i64,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

/// Adds an endpoint; nothing happens if the id exists.
pub async fn insert<'e>(db: impl Exec<'e>, endpoint: &Endpoint) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO endpoint (id, service_id, interface, region_id, url, enabled, extra, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1) ON CONFLICT DO NOTHING",
        )
        .bind(endpoint.id.as_str())
        .bind(endpoint.service_id.as_str())
        .bind(endpoint.interface.as_str())
        .bind(endpoint.region_id.as_str())
        .bind(endpoint.url.as_str())
        .bind(endpoint.enabled)
        .bind(endpoint.extra.as_str())
        .bind(endpoint.created_at),
    )
    .await
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Endpoint>> {
    sqlx::query_as("SELECT * FROM endpoint WHERE id = $1").bind(id).fetch_optional(db).await.map_err(db_error)
}

/// In the order of their making; empty texts do not filter.
pub async fn list<'e>(
    db: impl Exec<'e>,
    service_id: &str,
    interface: &str,
    region_id: &str,
) -> Result<Vec<Endpoint>> {
    sqlx::query_as(
        "SELECT * FROM endpoint WHERE ($1 = '' OR service_id = $1) AND ($2 = '' OR interface = $2) AND ($3 = '' OR region_id = $3) ORDER BY created_at, id",
    )
    .bind(service_id)
    .bind(interface)
    .bind(region_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Writes every changeable column if the row is still of `endpoint.generation`.
pub async fn update<'e>(db: impl Exec<'e>, endpoint: &Endpoint) -> Result<Change> {
    sqlx::query(
        "UPDATE endpoint SET service_id = $1, interface = $2, region_id = $3, url = $4, enabled = $5, extra = $6, generation = generation + 1 WHERE id = $7 AND generation = $8",
    )
    .bind(endpoint.service_id.as_str())
    .bind(endpoint.interface.as_str())
    .bind(endpoint.region_id.as_str())
    .bind(endpoint.url.as_str())
    .bind(endpoint.enabled)
    .bind(endpoint.extra.as_str())
    .bind(endpoint.id.as_str())
    .bind(endpoint.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}

/// Removes an endpoint; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM endpoint WHERE id = $1").bind(id)).await
}
