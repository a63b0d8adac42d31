//! Revocation rules and the clock that numbers and stamps them.

use super::{Exec, run};
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::{Error, Result, RevocationEvent, Timestamp};

/// The clock: the last number given and the latest stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Clock {
    /// Highest sequence number.
    pub seq: i64,
    /// Highest `issued_before`, microseconds. A token issued later is refused by no rule that exists.
    pub stamp: i64,
    /// How many changes were committed that an answer about a token may depend on.
    pub changes: i64,
}

/// Reads the clock.
pub async fn clock<'e>(db: impl Exec<'e>) -> Result<Clock> {
    sqlx::query_as("SELECT seq, stamp, changes FROM revocation_clock WHERE id = 1")
        .fetch_one(db)
        .await
        .map_err(db_error)
}

/// Inserts a rule with the next number and a stamp above every earlier one. The clock's row stays locked until
/// the transaction ends, so numbers appear in order.
pub async fn insert(
    db: &mut sqlx::AnyConnection,
    mut rule: RevocationEvent,
    expires_at: Timestamp,
) -> Result<RevocationEvent> {
    let now = Timestamp::now().0.max(rule.issued_before.0);
    let clock: Clock = sqlx::query_as(
        "UPDATE revocation_clock SET seq = seq + 1, stamp = CASE WHEN stamp >= $1 THEN stamp + 1 ELSE $1 END WHERE id = 1 RETURNING seq, stamp, changes",
    )
    .bind(now)
    .fetch_one(&mut *db)
    .await
    .map_err(db_error)?;
    rule.seq = clock.seq;
    rule.issued_before = Timestamp(clock.stamp);
    rule.expires_at = expires_at;
    let text = serde_json::to_string(&rule).map_err(|e| Error::internal(format!("revocation: {e}")))?;
    run(
        db,
        sqlx::query("INSERT INTO revocation (seq, issued_before, expires_at, rule) VALUES ($1, $2, $3, $4)")
            .bind(rule.seq)
            .bind(rule.issued_before.0)
            .bind(rule.expires_at.0)
            .bind(text),
    )
    .await?;
    Ok(rule)
}

/// Counts a change, for the other replicas to see. To be done last in a transaction: it holds the clock's row.
pub async fn count_change<'e>(db: impl Exec<'e>) -> Result<u64> {
    run(db, sqlx::query("UPDATE revocation_clock SET changes = changes + 1 WHERE id = 1")).await
}

/// Rules numbered above `after` up to `upto`, in order, at most `limit`.
pub async fn list<'e>(db: impl Exec<'e>, after: i64, upto: i64, limit: i64) -> Result<Vec<RevocationEvent>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT rule FROM revocation WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3")
            .bind(after)
            .bind(upto)
            .bind(limit)
            .fetch_all(db)
            .await
            .map_err(db_error)?;
    read(&rows)
}

/// Rules stamped at or after `since`, in order.
pub async fn list_since<'e>(db: impl Exec<'e>, since: Timestamp) -> Result<Vec<RevocationEvent>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT rule FROM revocation WHERE issued_before >= $1 ORDER BY seq")
            .bind(since.0)
            .fetch_all(db)
            .await
            .map_err(db_error)?;
    read(&rows)
}

fn read(rows: &[(String,)]) -> Result<Vec<RevocationEvent>> {
    rows.iter()
        .map(|(text,)| serde_json::from_str(text).map_err(|e| Error::internal(format!("revocation: {e}"))))
        .collect()
}

/// Forgets rules that no token can match any more; how many there were.
pub async fn delete_expired<'e>(db: impl Exec<'e>, now: Timestamp) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM revocation WHERE expires_at < $1").bind(now.0)).await
}
