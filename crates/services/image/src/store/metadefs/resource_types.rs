//! Resource types. They come into being with their first association.

use crate::metadefs::ResourceType;
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row},
};
use ferrostack_model::{Result, Timestamp};

/// All, the oldest first.
pub async fn list(db: &Db) -> Result<Vec<ResourceType>> {
    let rows = sqlx::query(
        "SELECT name, created_at, updated_at FROM metadef_resource_type ORDER BY created_at, name",
    )
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter()
        .map(|row| {
            Ok(ResourceType {
                name: row.try_get(0)?,
                created_at: Timestamp(row.try_get(1)?),
                updated_at: Timestamp(row.try_get(2)?),
            })
        })
        .collect::<sqlx::Result<_>>()
        .map_err(db_error)
}

/// Whether there is one of this name.
pub async fn exists(db: &Db, name: &str) -> Result<bool> {
    sqlx::query("SELECT 1 FROM metadef_resource_type WHERE name = $1")
        .bind(name)
        .fetch_optional(db.reader())
        .await
        .map(|row| row.is_some())
        .map_err(db_error)
}

/// Makes it if it is not there.
pub(super) async fn ensure_in(tx: &mut Tx, name: &str, now: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO metadef_resource_type (name, created_at, updated_at) VALUES ($1, $2, $3) \
         ON CONFLICT DO NOTHING",
    )
    .bind(name)
    .bind(now.0)
    .bind(now.0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}
