//! Services of the control plane, by their reports.

use super::hosts::next_number;
use ferrostack_db::{Db, db_error, sqlx};
use ferrostack_model::{Error, Result, Timestamp, id, message::ServiceReport};

/// A row of `control_services`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlService {
    /// Nova's name of it.
    pub binary: String,
    /// The machine it runs on.
    pub host: String,
    /// UUID.
    pub id: String,
    /// Number below 2.53.
    pub number: i64,
    /// Latest report.
    pub last_seen: Timestamp,
}

impl ControlService {
    /// Whether it was heard within `down_seconds`.
    pub fn is_up(&self, now: Timestamp, down_seconds: i64) -> bool {
        self.last_seen.plus_seconds(down_seconds) >= now
    }
}

/// Takes a report: of a new service or a known one. A late report moves no time back. 400 for a binary that is not
/// of the control plane.
pub async fn report(db: &Db, report: &ServiceReport, at: Timestamp) -> Result<()> {
    let sound = matches!(report.binary.as_str(), "nova-conductor" | "nova-scheduler")
        && (1..=255).contains(&report.host.len());
    if !sound {
        return Err(Error::bad_request("service.report of an unknown binary or without a host"));
    }
    let known = sqlx::query(
        "UPDATE control_services SET last_seen = CASE WHEN last_seen < $3 THEN $3 ELSE last_seen END \
         WHERE binary_name = $1 AND host = $2",
    )
    .bind(&report.binary)
    .bind(&report.host)
    .bind(at.0)
    .execute(db.writer())
    .await
    .map_err(db_error)?;
    if known.rows_affected() > 0 {
        return Ok(());
    }
    let mut tx = db.begin_write().await?;
    let number = next_number(&mut tx, "service").await?;
    sqlx::query(
        "INSERT INTO control_services (binary_name, host, id, number, last_seen, created_at) \
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (binary_name, host) DO NOTHING",
    )
    .bind(&report.binary)
    .bind(&report.host)
    .bind(id::uuid())
    .bind(number)
    .bind(at.0)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
    tx.commit().await.map_err(db_error)
}

/// All of them, by number.
pub async fn list(db: &Db) -> Result<Vec<ControlService>> {
    let rows: Vec<(String, String, String, i64, i64)> = sqlx::query_as(
        "SELECT binary_name, host, id, number, last_seen FROM control_services ORDER BY number",
    )
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    Ok(rows
        .into_iter()
        .map(|(binary, host, id, number, last_seen)| ControlService {
            binary,
            host,
            id,
            number,
            last_seen: Timestamp(last_seen),
        })
        .collect())
}

/// Forgets one. If it lives it is back with its next report.
pub async fn delete(db: &Db, id: &str) -> Result<()> {
    sqlx::query("DELETE FROM control_services WHERE id = $1")
        .bind(id)
        .execute(db.writer())
        .await
        .map(|_| ())
        .map_err(db_error)
}
