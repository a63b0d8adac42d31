//! Interfaces in a server's row: those asked for and, in the same order, those bound.

use super::{
    Tx,
    servers::{NicRequest, change, encode},
};
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::{Result, Timestamp, network::NicSpec};

/// Writes what is asked for, if the server is still as it was read.
pub async fn request(tx: &mut Tx, id: &str, generation: i64, wanted: &[NicRequest]) -> Result<Change> {
    let done = sqlx::query(
        "UPDATE servers SET nics = $3, updated_at = $4, generation = generation + 1
         WHERE id = $1 AND generation = $2 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(generation)
    .bind(encode(&wanted)?)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(if done.rows_affected() > 0 { Change::Updated } else { Change::Stale })
}

/// Writes both; false if the server is gone.
pub async fn set(tx: &mut Tx, id: &str, wanted: &[NicRequest], bound: &[NicSpec]) -> Result<bool> {
    if !change::set_ports(tx, id, bound).await? {
        return Ok(false);
    }
    sqlx::query("UPDATE servers SET nics = $2 WHERE id = $1")
        .bind(id)
        .bind(encode(&wanted)?)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    Ok(true)
}
