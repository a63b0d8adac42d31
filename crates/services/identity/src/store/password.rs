//! Hashes of passwords: the one in use lies with the user, earlier ones here.

use super::{Exec, changed, run};
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// Keeps the hash that the user had at `number`, its generation, and of all only the `keep` newest.
pub async fn remember(
    db: &mut sqlx::AnyConnection,
    user_id: &str,
    number: i64,
    hash: &str,
    keep: i64,
) -> Result<()> {
    if keep > 0 && !hash.is_empty() {
        let insert = "INSERT INTO password_history (user_id, number, hash) VALUES ($1, $2, $3)";
        run(&mut *db, sqlx::query(insert).bind(user_id).bind(number).bind(hash)).await?;
    }
    let trim = "DELETE FROM password_history WHERE user_id = $1 AND number NOT IN (SELECT number FROM password_history WHERE user_id = $1 ORDER BY number DESC LIMIT $2)";
    run(db, sqlx::query(trim).bind(user_id).bind(keep)).await?;
    Ok(())
}

/// The hashes of the `count` latest earlier passwords, newest first.
pub async fn list<'e>(db: impl Exec<'e>, user_id: &str, count: i64) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT hash FROM password_history WHERE user_id = $1 ORDER BY number DESC LIMIT $2")
            .bind(user_id)
            .bind(count)
            .fetch_all(db)
            .await
            .map_err(db_error)?;
    Ok(rows.into_iter().map(|(hash,)| hash).collect())
}

/// The same password in another form, if the user is still of `generation`.
pub async fn rehash<'e>(db: impl Exec<'e>, user_id: &str, generation: i64, hash: &str) -> Result<Change> {
    sqlx::query(
        "UPDATE account SET password_hash = $1, generation = generation + 1 WHERE id = $2 AND generation = $3",
    )
    .bind(hash)
    .bind(user_id)
    .bind(generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(db_error)
}
