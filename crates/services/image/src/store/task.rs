//! Records of imports.

use super::Sql;
use crate::task::{FAILURE, PROCESSING, SUCCESS, Task};
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Result, Timestamp};

const COLUMNS: &str = "SELECT id, image_id, type, status, owner, user_id, request_id, input, message, created_at, \
     updated_at FROM image_task";

/// Inserts the task of an import that begins.
pub async fn insert(tx: &mut Tx, task: &Task) -> Result<()> {
    sqlx::query(
        "INSERT INTO image_task (id, image_id, type, status, owner, user_id, request_id, input, message, created_at, \
         updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&task.id)
    .bind(&task.image_id)
    .bind(&task.kind)
    .bind(&task.status)
    .bind(&task.owner)
    .bind(&task.user_id)
    .bind(&task.request_id)
    .bind(&task.input)
    .bind(&task.message)
    .bind(task.created_at.0)
    .bind(task.updated_at.0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Ends the task of the image that is under way; `failed` says why, if it did.
pub async fn finish(tx: &mut Tx, image_id: &str, failed: Option<&str>) -> Result<()> {
    sqlx::query(
        "UPDATE image_task SET status = $1, message = $2, updated_at = $3 WHERE image_id = $4 AND status = $5",
    )
    .bind(if failed.is_some() { FAILURE } else { SUCCESS })
    .bind(failed.unwrap_or(""))
    .bind(Timestamp::now().0)
    .bind(image_id)
    .bind(PROCESSING)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// One task.
pub async fn get(db: &Db, id: &str) -> Result<Option<Task>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ");
    sql.bind(id);
    Ok(fetch(db, sql).await?.pop())
}

/// The tasks of an image, newest first.
pub async fn of_image(db: &Db, image_id: &str) -> Result<Vec<Task>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE image_id = ");
    sql.bind(image_id);
    sql.push(" ORDER BY created_at DESC, id DESC");
    fetch(db, sql).await
}

/// A page of all tasks, newest first, of a type and in a status if given.
pub async fn list(
    db: &Db,
    kind: Option<&str>,
    status: Option<&str>,
    marker: Option<&Task>,
    limit: i64,
) -> Result<Vec<Task>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1");
    if let Some(kind) = kind {
        sql.push(" AND type = ");
        sql.bind(kind);
    }
    if let Some(status) = status {
        sql.push(" AND status = ");
        sql.bind(status);
    }
    if let Some(marker) = marker {
        sql.push(" AND (created_at < ");
        sql.bind(marker.created_at.0);
        sql.push(" OR (created_at = ");
        sql.bind(marker.created_at.0);
        sql.push(" AND id < ");
        sql.bind(marker.id.as_str());
        sql.push("))");
    }
    sql.push(" ORDER BY created_at DESC, id DESC LIMIT ");
    sql.bind(limit);
    fetch(db, sql).await
}

async fn fetch(db: &Db, sql: Sql) -> Result<Vec<Task>> {
    let rows = sql.fetch_all(db.reader()).await.map_err(db_error)?;
    rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(db_error)
}

fn read(row: &AnyRow) -> sqlx::Result<Task> {
    Ok(Task {
        id: row.try_get("id")?,
        image_id: row.try_get("image_id")?,
        kind: row.try_get("type")?,
        status: row.try_get("status")?,
        owner: row.try_get("owner")?,
        user_id: row.try_get("user_id")?,
        request_id: row.try_get("request_id")?,
        input: row.try_get("input")?,
        message: row.try_get("message")?,
        created_at: Timestamp(row.try_get("created_at")?),
        updated_at: Timestamp(row.try_get("updated_at")?),
    })
}
