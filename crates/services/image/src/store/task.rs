//! Records of imports.

use super::Sql;
use crate::task::{FAILURE, SUCCESS, Task};
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Result, Timestamp};

const COLUMNS: &str = "SELECT id, image_id, type, status, owner, user_id, request_id, input, message, created_at, \
     updated_at, expires_at FROM image_task";

/// Inserts the task of an import that begins.
pub async fn insert(tx: &mut Tx, task: &Task) -> Result<()> {
    sqlx::query(
        "INSERT INTO image_task (id, image_id, type, status, owner, user_id, request_id, input, message, created_at, \
         updated_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
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
    .bind(task.expires_at.map(|t| t.0))
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Ends a task that is under way; `failed` says why, if it did.
pub async fn finish(tx: &mut Tx, id: &str, failed: Option<&str>, expires_at: Timestamp) -> Result<()> {
    sqlx::query(
        "UPDATE image_task SET status = $1, message = $2, updated_at = $3, expires_at = $4 \
         WHERE id = $5 AND status IN ('pending', 'processing')",
    )
    .bind(if failed.is_some() { FAILURE } else { SUCCESS })
    .bind(failed.unwrap_or(""))
    .bind(Timestamp::now().0)
    .bind(expires_at.0)
    .bind(id)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Forgets tasks that expired before `now`, and ended ones of which nobody said when (those of deleted images) that
/// did not change since `ended_before`; how many.
pub async fn expire(db: &Db, now: Timestamp, ended_before: Timestamp) -> Result<u64> {
    sqlx::query(
        "DELETE FROM image_task WHERE status IN ('success', 'failure') \
         AND (expires_at < $1 OR (expires_at IS NULL AND updated_at < $2))",
    )
    .bind(now.0)
    .bind(ended_before.0)
    .execute(db.writer())
    .await
    .map(|done| done.rows_affected())
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

/// By what a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// `id`
    Id,
    /// `type`
    Kind,
    /// `status`
    Status,
    /// `created_at`
    CreatedAt,
    /// `updated_at`
    UpdatedAt,
    /// `expires_at`; tasks without one as if they expired at the beginning of time.
    ExpiresAt,
}

impl SortKey {
    /// Reads the API's word.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "id" => Self::Id,
            "type" => Self::Kind,
            "status" => Self::Status,
            "created_at" => Self::CreatedAt,
            "updated_at" => Self::UpdatedAt,
            "expires_at" => Self::ExpiresAt,
            _ => return None,
        })
    }

    fn column(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Kind => "type",
            Self::Status => "status",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::ExpiresAt => "COALESCE(expires_at, 0)",
        }
    }

    fn bind(self, sql: &mut Sql, task: &Task) {
        match self {
            Self::Id => sql.bind(task.id.as_str()),
            Self::Kind => sql.bind(task.kind.as_str()),
            Self::Status => sql.bind(task.status.as_str()),
            Self::CreatedAt => sql.bind(task.created_at.0),
            Self::UpdatedAt => sql.bind(task.updated_at.0),
            Self::ExpiresAt => sql.bind(task.expires_at.map_or(0, |t| t.0)),
        }
    }
}

/// What to list.
#[derive(Clone, Debug)]
pub struct Query {
    /// Of this type.
    pub kind: Option<String>,
    /// In this state.
    pub status: Option<String>,
    /// Of this project.
    pub owner: Option<String>,
    /// Order.
    pub sort: SortKey,
    /// Upwards.
    pub ascending: bool,
    /// Most tasks.
    pub limit: i64,
}

/// A page of the tasks, behind `marker` if given.
pub async fn list(db: &Db, query: &Query, marker: Option<&Task>) -> Result<Vec<Task>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE 1 = 1");
    for (column, value) in
        [(" AND type = ", &query.kind), (" AND status = ", &query.status), (" AND owner = ", &query.owner)]
    {
        if let Some(value) = value {
            sql.push(column);
            sql.bind(value.as_str());
        }
    }
    let (beyond, order) = if query.ascending { (" > ", " ASC") } else { (" < ", " DESC") };
    if let Some(marker) = marker {
        sql.push(" AND (");
        sql.push(query.sort.column());
        sql.push(beyond);
        query.sort.bind(&mut sql, marker);
        sql.push(" OR (");
        sql.push(query.sort.column());
        sql.push(" = ");
        query.sort.bind(&mut sql, marker);
        sql.push(" AND id");
        sql.push(beyond);
        sql.bind(marker.id.as_str());
        sql.push("))");
    }
    sql.push(" ORDER BY ");
    sql.push(query.sort.column());
    sql.push(order);
    sql.push(", id");
    sql.push(order);
    sql.push(" LIMIT ");
    sql.bind(query.limit);
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
        expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp),
    })
}
