//! What bootstrap remembers.

use super::{Exec, run};
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::Result;

/// The fingerprint stored under `name`.
pub async fn get<'e>(db: impl Exec<'e>, name: &str) -> Result<Option<String>> {
    let row: Option<(String,)> = sqlx::query_as("SELECT fingerprint FROM bootstrap WHERE name = $1")
        .bind(name)
        .fetch_optional(db)
        .await
        .map_err(db_error)?;
    Ok(row.map(|(fingerprint,)| fingerprint))
}

/// Stores a fingerprint.
pub async fn set<'e>(db: impl Exec<'e>, name: &str, fingerprint: &str) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO bootstrap (name, fingerprint) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET fingerprint = $2",
        )
        .bind(name)
        .bind(fingerprint),
    )
    .await
}
