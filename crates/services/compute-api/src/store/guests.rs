//! Hosts that may hold a guest of a server: an order went there and its destruction is not yet confirmed.

use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_model::{Result, Timestamp};

/// A row of `guests`.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Guest {
    /// The server.
    pub server_id: String,
    /// The host.
    pub host: String,
    /// Generation of the latest order sent there.
    pub generation: i64,
    /// 1: it must go.
    pub doomed: i64,
    /// When the latest order was decided, microseconds.
    pub updated_at: i64,
}

/// Notes an order that makes or keeps a guest: written in the transaction that decides it, so before it is sent.
pub async fn ordered(tx: &mut Tx, server_id: &str, host: &str, generation: i64) -> Result<()> {
    write(tx, server_id, host, generation, 0).await
}

/// Notes an order to destroy.
pub async fn doom(tx: &mut Tx, server_id: &str, host: &str, generation: i64) -> Result<()> {
    write(tx, server_id, host, generation, 1).await
}

async fn write(tx: &mut Tx, server_id: &str, host: &str, generation: i64, doomed: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO guests (server_id, host, generation, doomed, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)
         ON CONFLICT (server_id, host) DO UPDATE SET generation = excluded.generation, doomed = excluded.doomed,
             updated_at = excluded.updated_at",
    )
    .bind(server_id)
    .bind(host)
    .bind(generation)
    .bind(doomed)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// An agent confirmed that a doomed guest is gone; whether it was one.
pub async fn gone(db: &Db, server_id: &str, host: &str, generation: i64) -> Result<bool> {
    sqlx::query("DELETE FROM guests WHERE server_id = $1 AND host = $2 AND doomed = 1 AND generation <= $3")
        .bind(server_id)
        .bind(host)
        .bind(generation)
        .execute(db.writer())
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(db_error)
}

/// The hosts of a server.
pub async fn of_server(db: &Db, server_id: &str) -> Result<Vec<Guest>> {
    sqlx::query_as(
        "SELECT server_id, host, generation, doomed, updated_at FROM guests WHERE server_id = $1 ORDER BY host",
    )
    .bind(server_id)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}

/// Doomed guests whose server has no job that looks after them, decided before `before`; oldest first.
pub async fn owed(db: &Db, before: Timestamp, limit: i64) -> Result<Vec<Guest>> {
    sqlx::query_as(
        "SELECT server_id, host, generation, doomed, updated_at FROM guests
         WHERE doomed = 1 AND updated_at <= $1
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE target = guests.server_id AND state IN ('active', 'undoing'))
         ORDER BY updated_at LIMIT $2",
    )
    .bind(before.0)
    .bind(limit)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}

/// Notes that a destroy was sent again.
pub async fn touch(db: &Db, server_id: &str, host: &str) -> Result<()> {
    sqlx::query("UPDATE guests SET updated_at = $3 WHERE server_id = $1 AND host = $2")
        .bind(server_id)
        .bind(host)
        .bind(Timestamp::now().0)
        .execute(db.writer())
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Whether no host may hold a guest of the server, inside a transaction.
pub async fn none_of(tx: &mut Tx, server_id: &str) -> Result<bool> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM guests WHERE server_id = $1")
        .bind(server_id)
        .fetch_one(&mut **tx)
        .await
        .map_err(db_error)?;
    Ok(count == 0)
}
