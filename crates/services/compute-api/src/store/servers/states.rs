//! Columns of a server's states that lists and views do not read: locks, put-off deletions, passwords.

use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_model::{Result, Timestamp, auth::Secret, network::NicSpec};

/// Who locked a server: `owner` or `admin`.
pub async fn locked_by(db: &Db, id: &str) -> Result<Option<String>> {
    let row: Option<(Option<String>,)> = sqlx::query_as("SELECT locked_by FROM servers WHERE id = $1")
        .bind(id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?;
    Ok(row.and_then(|(by,)| by))
}

/// Locks a live server; a reason that is not given stays.
pub async fn lock(tx: &mut Tx, id: &str, by: &str, reason: Option<&str>) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE servers SET locked = 1, locked_by = $2, locked_reason = COALESCE($3, locked_reason), updated_at = $4,
             generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(by)
    .bind(reason)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(done.rows_affected() > 0)
}

/// Unlocks a live server.
pub async fn unlock(tx: &mut Tx, id: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE servers SET locked = 0, locked_by = NULL, locked_reason = NULL, updated_at = $2,
             generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(done.rows_affected() > 0)
}

/// Notes since when a server waits for its deletion: the first time counts.
pub async fn put_off(tx: &mut Tx, id: &str, at: Timestamp) -> Result<()> {
    sqlx::query("UPDATE servers SET soft_deleted_at = COALESCE(soft_deleted_at, $2) WHERE id = $1")
        .bind(id)
        .bind(at.0)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// It waits for no deletion any more.
pub async fn keep(tx: &mut Tx, id: &str) -> Result<()> {
    sqlx::query("UPDATE servers SET soft_deleted_at = NULL WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Servers that have waited for their deletion since before `limit` and on which nobody works.
pub async fn overdue(db: &Db, limit: Timestamp, most: i64) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT id FROM servers WHERE vm_state = 'soft-delete' AND task_state IS NULL AND deleted_at IS NULL
             AND soft_deleted_at <= $1
         ORDER BY soft_deleted_at LIMIT $2",
    )
    .bind(limit.0)
    .bind(most)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}

/// Keeps a password for the job that begins in this transaction; it is forgotten with the job.
pub async fn set_admin_pass(tx: &mut Tx, id: &str, password: &Secret) -> Result<()> {
    sqlx::query("UPDATE server_inputs SET admin_pass = $2 WHERE server_id = $1")
        .bind(id)
        .bind(&password.0)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// The password for a job under way.
pub async fn admin_pass(db: &Db, id: &str) -> Result<Option<Secret>> {
    let row: Option<(Option<String>,)> =
        sqlx::query_as("SELECT admin_pass FROM server_inputs WHERE server_id = $1")
            .bind(id)
            .fetch_optional(db.reader())
            .await
            .map_err(db_error)?;
    Ok(row.and_then(|(password,)| password).map(Secret))
}

/// Forgets the password of a job that has ended.
pub async fn forget_admin_pass(tx: &mut Tx, id: &str) -> Result<()> {
    sqlx::query("UPDATE server_inputs SET admin_pass = NULL WHERE server_id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// What the guest posted as its password.
pub async fn posted_password(db: &Db, id: &str) -> Result<Option<String>> {
    let row: Option<(Option<String>,)> =
        sqlx::query_as("SELECT posted_password FROM server_inputs WHERE server_id = $1")
            .bind(id)
            .fetch_optional(db.reader())
            .await
            .map_err(db_error)?;
    Ok(row.and_then(|(password,)| password))
}

/// Keeps what the guest on `host` posted, if it is there and has posted none before.
pub async fn post_password(db: &Db, id: &str, host: &str, password: &Secret) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE server_inputs SET posted_password = $3 WHERE server_id = $1 AND posted_password IS NULL
             AND EXISTS (SELECT 1 FROM servers WHERE id = $1 AND host = $2 AND deleted_at IS NULL)",
    )
    .bind(id)
    .bind(host)
    .bind(&password.0)
    .execute(db.writer())
    .await
    .map_err(db_error)?;
    Ok(done.rows_affected() > 0)
}

/// Forgets what the guest posted.
pub async fn clear_posted_password(db: &Db, id: &str) -> Result<()> {
    sqlx::query("UPDATE server_inputs SET posted_password = NULL WHERE server_id = $1")
        .bind(id)
        .execute(db.writer())
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Writes what the network service says now of its interfaces, if nobody has changed the server meanwhile.
pub async fn refresh_ports(db: &Db, id: &str, generation: i64, ports: &[NicSpec]) -> Result<bool> {
    let mut tx = db.begin_write().await?;
    let unchanged: Option<i64> = sqlx::query_scalar(
        "UPDATE servers SET generation = generation + 1
         WHERE id = $1 AND generation = $2 AND deleted_at IS NULL RETURNING generation",
    )
    .bind(id)
    .bind(generation)
    .fetch_optional(&mut *tx)
    .await
    .map_err(db_error)?;
    if unchanged.is_none() {
        return Ok(false);
    }
    super::change::set_ports(&mut tx, id, ports).await?;
    tx.commit().await.map_err(db_error)?;
    Ok(true)
}
