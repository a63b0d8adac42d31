//! OAuth1 consumers.

use super::{Exec, changed, run};
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A consumer's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Consumer {
    /// 32 hex digits.
    pub id: String,
    /// Free text, if given.
    pub description: Option<String>,
    /// Keyed digest of the secret, which only the create answer shows.
    pub secret_digest: String,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

/// Adds a consumer.
pub async fn insert<'e>(db: impl Exec<'e>, consumer: &Consumer) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO consumer (id, description, secret_digest, extra, created_at, generation) VALUES ($1, $2, $3, $4, $5, 1)",
        )
        .bind(consumer.id.as_str())
        .bind(consumer.description.as_deref())
        .bind(consumer.secret_digest.as_str())
        .bind(consumer.extra.as_str())
        .bind(consumer.created_at),
    )
    .await
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Consumer>> {
    sqlx::query_as("SELECT * FROM consumer WHERE id = $1").bind(id).fetch_optional(db).await.map_err(db_error)
}

/// All, in the order of their making.
pub async fn list<'e>(db: impl Exec<'e>) -> Result<Vec<Consumer>> {
    sqlx::query_as("SELECT * FROM consumer ORDER BY created_at, id").fetch_all(db).await.map_err(db_error)
}

/// Writes description and extra if the row is still of `consumer.generation`.
pub async fn update<'e>(db: impl Exec<'e>, consumer: &Consumer) -> Result<Change> {
    sqlx::query(
        "UPDATE consumer SET description = $1, extra = $2, generation = generation + 1 WHERE id = $3 AND generation = $4",
    )
    .bind(consumer.description.as_deref())
    .bind(consumer.extra.as_str())
    .bind(consumer.id.as_str())
    .bind(consumer.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}

/// Removes a consumer; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM consumer WHERE id = $1").bind(id)).await
}
