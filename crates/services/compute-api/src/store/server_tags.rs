//! Tags of servers: a column of the server's row.

use super::servers::encode;
use ferrostack_db::{Change, Db, db_error, sqlx};
use ferrostack_model::Result;

/// Replaces the tags of a live server at `generation`. As in Nova that is no change of the server's own.
pub async fn set(db: &Db, server_id: &str, generation: i64, tags: &[String]) -> Result<Change> {
    let done = sqlx::query(
        "UPDATE servers SET tags = $3, generation = generation + 1
         WHERE id = $1 AND generation = $2 AND deleted_at IS NULL",
    )
    .bind(server_id)
    .bind(generation)
    .bind(encode(&tags)?)
    .execute(db.writer())
    .await
    .map_err(db_error)?;
    Ok(if done.rows_affected() > 0 { Change::Updated } else { Change::Stale })
}
