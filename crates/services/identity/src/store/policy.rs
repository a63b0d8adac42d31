//! Policies: blobs that services may fetch, and what they are for.

use super::{Exec, changed, run};
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A policy's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Policy {
    /// 32 hex digits.
    pub id: String,
    /// A media type.
    pub r#type: String,
    /// JSON: whatever was given.
    pub blob: String,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

/// Adds a policy.
pub async fn insert<'e>(db: impl Exec<'e>, policy: &Policy) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO policy (id, type, blob, extra, created_at, generation) VALUES ($1, $2, $3, $4, $5, 1)",
        )
        .bind(policy.id.as_str())
        .bind(policy.r#type.as_str())
        .bind(policy.blob.as_str())
        .bind(policy.extra.as_str())
        .bind(policy.created_at),
    )
    .await
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Policy>> {
    sqlx::query_as("SELECT * FROM policy WHERE id = $1").bind(id).fetch_optional(db).await.map_err(db_error)
}

/// All, or those of a type, in the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, policy_type: &str) -> Result<Vec<Policy>> {
    sqlx::query_as("SELECT * FROM policy WHERE ($1 = '' OR type = $1) ORDER BY created_at, id")
        .bind(policy_type)
        .fetch_all(db)
        .await
        .map_err(db_error)
}

/// Writes every changeable column if the row is still of `policy.generation`.
pub async fn update<'e>(db: impl Exec<'e>, policy: &Policy) -> Result<Change> {
    sqlx::query(
        "UPDATE policy SET type = $1, blob = $2, extra = $3, generation = generation + 1 WHERE id = $4 AND generation = $5",
    )
    .bind(policy.r#type.as_str())
    .bind(policy.blob.as_str())
    .bind(policy.extra.as_str())
    .bind(policy.id.as_str())
    .bind(policy.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}

/// Removes a policy with its associations; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM policy WHERE id = $1").bind(id)).await
}
