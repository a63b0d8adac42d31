//! Shelved servers: the image that holds what their disk was, and the states they go through.

use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_model::{Result, Timestamp, server::TaskState};

/// The image of a shelved server.
pub async fn image(db: &Db, server_id: &str) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT image_id FROM shelved_servers WHERE server_id = $1")
        .bind(server_id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)
}

/// The same inside a transaction.
pub async fn image_in(tx: &mut Tx, server_id: &str) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT image_id FROM shelved_servers WHERE server_id = $1")
        .bind(server_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)
}

/// Shelves a server, still on its host; `task` goes on.
pub async fn shelve(tx: &mut Tx, server_id: &str, image_id: &str, task: Option<TaskState>) -> Result<()> {
    let now = Timestamp::now().0;
    sqlx::query(
        "UPDATE servers SET vm_state = 'shelved', task_state = COALESCE($2, task_state), power_state = 4,
             power_at = $3, updated_at = $3, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(server_id)
    .bind(task.map(TaskState::as_str))
    .bind(now)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    sqlx::query(
        "INSERT INTO shelved_servers (server_id, image_id, shelved_at) VALUES ($1, $2, $3)
         ON CONFLICT (server_id) DO UPDATE SET image_id = excluded.image_id, shelved_at = excluded.shelved_at",
    )
    .bind(server_id)
    .bind(image_id)
    .bind(now)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// The server is off its host. Its addresses stay: its ports do.
pub async fn offload(tx: &mut Tx, server_id: &str) -> Result<()> {
    sqlx::query(
        "UPDATE servers SET vm_state = 'shelved_offloaded', task_state = NULL, power_state = 4, power_at = $2,
             host = NULL, node = NULL, availability_zone = pinned_az, updated_at = $2, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(server_id)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// The server is off the shelf, or gone.
pub async fn forget(tx: &mut Tx, server_id: &str) -> Result<()> {
    sqlx::query("DELETE FROM shelved_servers WHERE server_id = $1")
        .bind(server_id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Binds a server to a zone, or to none.
pub async fn pin(tx: &mut Tx, server_id: &str, zone: Option<&str>) -> Result<()> {
    sqlx::query(
        "UPDATE servers SET pinned_az = $2, availability_zone = CASE WHEN host IS NULL THEN $2 ELSE availability_zone END,
             generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(server_id)
    .bind(zone)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Servers that were shelved before `before`, are still on their hosts, and that nobody works on; oldest first.
pub async fn due(db: &Db, before: Timestamp, limit: i64) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT s.id FROM shelved_servers x JOIN servers s ON s.id = x.server_id
         WHERE x.shelved_at <= $1 AND s.vm_state = 'shelved' AND s.task_state IS NULL AND s.deleted_at IS NULL
         ORDER BY x.shelved_at LIMIT $2",
    )
    .bind(before.0)
    .bind(limit)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}
