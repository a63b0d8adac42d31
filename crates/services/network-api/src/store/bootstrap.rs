//! What the first start made.

use super::text;
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self},
};
use ferrostack_model::Result;

/// The ids of a bootstrapped network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Network id.
    pub network_id: String,
    /// Subnet id.
    pub subnet_id: String,
}

/// What was made as `name`.
pub async fn get(db: &Db, name: &str) -> Result<Option<Made>> {
    let row = sqlx::query("SELECT network_id, subnet_id FROM bootstrap WHERE name = $1")
        .bind(name)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?;
    row.map(|row| Ok(Made { network_id: text(&row, "network_id")?, subnet_id: text(&row, "subnet_id")? }))
        .transpose()
}

/// Claims `name`; `false` if another process made it a moment ago.
pub async fn insert(tx: &mut Tx, name: &str, made: &Made) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO bootstrap (name, network_id, subnet_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(name)
    .bind(&made.network_id)
    .bind(&made.subnet_id)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(done.rows_affected() == 1)
}
