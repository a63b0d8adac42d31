//! Integers that are handed out once, for answers that want an integer id.

use ferrostack_db::{Tx, db_error, sqlx};
use ferrostack_model::Result;

/// The next number of `name`, from 1. Rolled back with the transaction, and others wait for it.
pub async fn next(tx: &mut Tx, name: &str) -> Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO resource_numbers (name, value) VALUES ($1, 1) \
         ON CONFLICT (name) DO UPDATE SET value = resource_numbers.value + 1 RETURNING value",
    )
    .bind(name)
    .fetch_one(&mut **tx)
    .await
    .map_err(db_error)
}
