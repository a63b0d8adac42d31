//! What was asked of live migrations under way.

use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_model::Result;

/// A row of `live_migration_wishes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// It shall end with the guest where it is.
    pub abort: bool,
    /// The guest may be paused.
    pub force_complete: bool,
}

/// Adds to what is wished of a migration; nothing is ever taken back.
pub async fn add(tx: &mut Tx, migration: i64, wishes: Wishes) -> Result<()> {
    sqlx::query(
        "INSERT INTO live_migration_wishes (migration_id, abort, force_complete) VALUES ($1, $2, $3)
         ON CONFLICT (migration_id) DO UPDATE SET
             abort = CASE WHEN excluded.abort = 1 THEN 1 ELSE live_migration_wishes.abort END,
             force_complete = CASE WHEN excluded.force_complete = 1 THEN 1
                 ELSE live_migration_wishes.force_complete END",
    )
    .bind(migration)
    .bind(i64::from(wishes.abort))
    .bind(i64::from(wishes.force_complete))
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// What is wished of a migration.
pub async fn get(db: &Db, migration: i64) -> Result<Wishes> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT abort, force_complete FROM live_migration_wishes WHERE migration_id = $1")
            .bind(migration)
            .fetch_optional(db.reader())
            .await
            .map_err(db_error)?;
    Ok(row.map_or_else(Wishes::default, |(abort, force)| Wishes {
        abort: abort != 0,
        force_complete: force != 0,
    }))
}
