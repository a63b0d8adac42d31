//! What operators do to the compute services of hosts. The rows are the hosts table's.

use super::hosts::{self, Host};
use ferrostack_db::{Db, db_error, sqlx};
use ferrostack_model::{Error, Result, Timestamp};

/// What is changed of a service; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Taken out of scheduling, or back in.
    pub disabled: Option<bool>,
    /// Why; an empty reason is none. Only with `disabled`.
    pub disabled_reason: Option<String>,
    /// Declared down, or no longer.
    pub forced_down: Option<bool>,
}

/// Changes the service of `host`; the host as it is then, `None` if there is no such host.
pub async fn update(db: &Db, host: &str, change: &Change) -> Result<Option<Host>> {
    sqlx::query(
        "UPDATE hosts SET disabled = CASE WHEN $2 < 0 THEN disabled ELSE $2 END, \
         disabled_reason = CASE WHEN $2 < 0 THEN disabled_reason ELSE $3 END, \
         forced_down = CASE WHEN $4 < 0 THEN forced_down ELSE $4 END, \
         updated_at = $5, generation = generation + 1 WHERE host = $1",
    )
    .bind(host)
    .bind(change.disabled.map_or(-1, i64::from))
    .bind(change.disabled_reason.as_deref().filter(|r| !r.is_empty()))
    .bind(change.forced_down.map_or(-1, i64::from))
    .bind(Timestamp::now().0)
    .execute(db.writer())
    .await
    .map_err(db_error)?;
    hosts::get(db, host).await
}

/// Forgets a host, which must hold no server and owe nothing: 409 otherwise. An agent that still runs registers
/// again with its next report.
pub async fn delete(db: &Db, host: &str) -> Result<()> {
    let mut tx = db.begin_write().await?;
    let held: i64 = sqlx::query_scalar(
        "SELECT (SELECT COUNT(*) FROM servers WHERE host = $1 AND deleted_at IS NULL) \
         + (SELECT COUNT(*) FROM claims WHERE host = $1) + (SELECT COUNT(*) FROM guests WHERE host = $1) \
         + (SELECT COUNT(*) FROM move_claims WHERE host = $1)",
    )
    .bind(host)
    .fetch_one(&mut *tx)
    .await
    .map_err(db_error)?;
    if held > 0 {
        return Err(Error::conflict(
            "Unable to delete compute service that is hosting instances. Migrate or delete the instances first.",
        ));
    }
    sqlx::query("DELETE FROM aggregate_hosts WHERE host = $1")
        .bind(host)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
    sqlx::query("DELETE FROM hosts WHERE host = $1").bind(host).execute(&mut *tx).await.map_err(db_error)?;
    tx.commit().await.map_err(db_error)
}

/// What the living servers of each project use on `host`: project, vCPUs, MiB, GiB of root and ephemeral disk.
pub async fn usage(db: &Db, host: &str) -> Result<Vec<(String, i64, i64, i64)>> {
    sqlx::query_as(
        "SELECT project_id, CAST(SUM(vcpus) AS BIGINT), CAST(SUM(memory_mb) AS BIGINT), \
         CAST(SUM(root_gb + ephemeral_gb) AS BIGINT) FROM servers WHERE host = $1 AND deleted_at IS NULL \
         GROUP BY project_id ORDER BY project_id",
    )
    .bind(host)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}

/// Id and name of the living servers on each host: host, id, name; by host and age.
pub async fn servers(db: &Db) -> Result<Vec<(String, String, String)>> {
    sqlx::query_as(
        "SELECT host, id, instance_name FROM servers WHERE host IS NOT NULL AND deleted_at IS NULL \
         ORDER BY host, created_at, id",
    )
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}
