//! Which servers lived when: what usage reports are made of.

use ferrostack_db::{
    Db, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Result, Timestamp};

/// A server's life as far as usage counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Life {
    /// Server id.
    pub id: String,
    /// Its project.
    pub project_id: String,
    /// Its name.
    pub name: String,
    /// Its flavor's name.
    pub flavor: String,
    /// vm_state.
    pub vm_state: String,
    /// Virtual CPUs.
    pub vcpus: i64,
    /// MiB.
    pub memory_mb: i64,
    /// Root and ephemeral disk, GiB.
    pub local_gb: i64,
    /// First ACTIVE.
    pub launched_at: Timestamp,
    /// When its guest was destroyed.
    pub terminated_at: Option<Timestamp>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// From.
    pub start: Timestamp,
    /// To.
    pub stop: Timestamp,
    /// Of this project; of all if empty.
    pub project_id: &'a str,
    /// After this server; from the first if empty.
    pub marker: &'a str,
    /// At most so many servers.
    pub limit: i64,
}

/// The servers that lived within the window, deleted ones included, by launch; `None` if the marker is no server.
pub async fn list(db: &Db, window: Window<'_>) -> Result<Option<Vec<Life>>> {
    let mut after = i64::MIN;
    if !window.marker.is_empty() {
        let launched: Option<Option<i64>> =
            sqlx::query_scalar("SELECT launched_at FROM servers WHERE id = $1")
                .bind(window.marker)
                .fetch_optional(db.reader())
                .await
                .map_err(db_error)?;
        match launched.flatten() {
            Some(at) => after = at,
            None => return Ok(None),
        }
    }
    let rows = sqlx::query(
        "SELECT id, project_id, display_name, flavor, vm_state, vcpus, memory_mb, root_gb + ephemeral_gb AS local_gb, \
         launched_at, terminated_at FROM servers WHERE launched_at < $1 \
         AND (terminated_at IS NULL OR terminated_at > $2) AND ($3 = '' OR project_id = $3) \
         AND (launched_at > $4 OR (launched_at = $4 AND id > $5)) ORDER BY launched_at, id LIMIT $6",
    )
    .bind(window.stop.0)
    .bind(window.start.0)
    .bind(window.project_id)
    .bind(after)
    .bind(window.marker)
    .bind(window.limit)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter().map(read).collect::<Result<_>>().map(Some)
}

fn read(row: &AnyRow) -> Result<Life> {
    let text = |name: &str| row.try_get::<String, _>(name).map_err(db_error);
    let number = |name: &str| row.try_get::<i64, _>(name).map_err(db_error);
    let flavor: serde_json::Value = serde_json::from_str(&text("flavor")?).unwrap_or_default();
    Ok(Life {
        id: text("id")?,
        project_id: text("project_id")?,
        name: text("display_name")?,
        flavor: flavor["name"].as_str().unwrap_or_default().to_owned(),
        vm_state: text("vm_state")?,
        vcpus: number("vcpus")?,
        memory_mb: number("memory_mb")?,
        local_gb: number("local_gb")?,
        launched_at: Timestamp(number("launched_at")?),
        terminated_at: row.try_get::<Option<i64>, _>("terminated_at").map_err(db_error)?.map(Timestamp),
    })
}
