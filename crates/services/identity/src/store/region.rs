//! Regions.

use super::{Exec, changed, run, unique};
use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A region's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Region {
    /// Chosen by the maker.
    pub id: String,
    /// Free text.
    pub description: String,
    /// Empty: none.
    pub parent_region_id: String,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

/// Adds a region; 409 if the id is taken.
pub async fn insert<'e>(db: impl Exec<'e>, region: &Region) -> Result<()> {
    sqlx::query(
        "INSERT INTO region (id, description, parent_region_id, extra, created_at, generation) VALUES ($1, $2, $3, $4, $5, 1)",
    )
    .bind(region.id.as_str())
    .bind(region.description.as_str())
    .bind(region.parent_region_id.as_str())
    .bind(region.extra.as_str())
    .bind(region.created_at)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(|e| unique(e, || faults::taken("region", &format!("Duplicate ID, {}", region.id))))
}

/// Makes a bare region unless it exists.
pub async fn ensure<'e>(db: impl Exec<'e>, id: &str, now: i64) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO region (id, description, parent_region_id, extra, created_at, generation) VALUES ($1, '', '', '{}', $2, 1) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(now),
    )
    .await
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Region>> {
    sqlx::query_as("SELECT * FROM region WHERE id = $1").bind(id).fetch_optional(db).await.map_err(db_error)
}

/// All, or those below a region, in the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, parent_region_id: &str) -> Result<Vec<Region>> {
    sqlx::query_as("SELECT * FROM region WHERE ($1 = '' OR parent_region_id = $1) ORDER BY created_at, id")
        .bind(parent_region_id)
        .fetch_all(db)
        .await
        .map_err(db_error)
}

/// Writes every changeable column if the row is still of `region.generation`.
pub async fn update<'e>(db: impl Exec<'e>, region: &Region) -> Result<Change> {
    sqlx::query(
        "UPDATE region SET description = $1, parent_region_id = $2, extra = $3, generation = generation + 1 WHERE id = $4 AND generation = $5",
    )
    .bind(region.description.as_str())
    .bind(region.parent_region_id.as_str())
    .bind(region.extra.as_str())
    .bind(region.id.as_str())
    .bind(region.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}

/// Removes a region; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM region WHERE id = $1").bind(id)).await
}
