//! Notifications that wait to be sent.

use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_model::{Result, Timestamp};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Pending {
    /// Its message id.
    pub id: String,
    /// When it was decided, microseconds.
    pub created_at: i64,
    /// `INFO` or `ERROR`.
    pub priority: String,
    /// The message as it is sent.
    pub body: String,
}

/// Adds one.
pub async fn insert(tx: &mut Tx, id: &str, at: Timestamp, priority: &str, body: &str) -> Result<()> {
    sqlx::query("INSERT INTO notifications (id, created_at, priority, body) VALUES ($1, $2, $3, $4)")
        .bind(id)
        .bind(at.0)
        .bind(priority)
        .bind(body)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// The oldest ones, for `owner` alone until `until`. None while another replica has some: they are sent in order.
pub async fn claim(db: &Db, owner: &str, until: Timestamp, limit: i64) -> Result<Vec<Pending>> {
    let mut found: Vec<Pending> = sqlx::query_as(
        "UPDATE notifications SET owner = $1, lease_until = $2
         WHERE id IN (SELECT id FROM notifications ORDER BY created_at, id LIMIT $3)
             AND NOT EXISTS (SELECT 1 FROM notifications WHERE owner <> $1 AND lease_until > $4)
         RETURNING id, created_at, priority, body",
    )
    .bind(owner)
    .bind(until.0)
    .bind(limit)
    .bind(Timestamp::now().0)
    .fetch_all(db.writer())
    .await
    .map_err(db_error)?;
    found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(found)
}

/// Forgets those that were sent.
pub async fn remove(db: &Db, owner: &str, sent: &[Pending]) -> Result<()> {
    let mut tx = db.begin_write().await?;
    for one in sent {
        sqlx::query("DELETE FROM notifications WHERE id = $1 AND owner = $2")
            .bind(&one.id)
            .bind(owner)
            .execute(&mut *tx)
            .await
            .map_err(db_error)?;
    }
    tx.commit().await.map_err(db_error)
}

/// User and project that asked for an action.
pub async fn initiator(tx: &mut Tx, server_id: &str, request_id: &str) -> Result<Option<(String, String)>> {
    sqlx::query_as(
        "SELECT user_id, project_id FROM instance_actions WHERE server_id = $1 AND request_id = $2",
    )
    .bind(server_id)
    .bind(request_id)
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)
}
