//! What logins leave behind: failures, sources, the last activity.

use super::{Exec, run};
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::Result;

/// Failures in a row, as far as they still count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Failures {
    /// How many.
    pub failures: i64,
    /// The latest, microseconds.
    pub last_at: i64,
}

/// The failures of a user from a source.
pub async fn failures<'e>(db: impl Exec<'e>, user_id: &str, source: &str) -> Result<Option<Failures>> {
    sqlx::query_as("SELECT failures, last_at FROM login_failure WHERE user_id = $1 AND source = $2")
        .bind(user_id)
        .bind(source)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// One more failure at `now`. At `most` the count stands still until the last one is older than `since`; then it
/// begins anew.
pub async fn fail<'e>(
    db: impl Exec<'e>,
    user_id: &str,
    source: &str,
    most: i64,
    since: i64,
    now: i64,
) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO login_failure (user_id, source, failures, last_at) VALUES ($1, $2, 1, $3) ON CONFLICT (user_id, source) DO UPDATE SET failures = CASE WHEN login_failure.failures < $4 THEN login_failure.failures + 1 WHEN login_failure.last_at > $5 THEN login_failure.failures ELSE 1 END, last_at = CASE WHEN login_failure.failures >= $4 AND login_failure.last_at > $5 THEN login_failure.last_at ELSE $3 END",
        )
        .bind(user_id)
        .bind(source)
        .bind(now)
        .bind(most)
        .bind(since),
    )
    .await
}

/// Forgets the failures of a user from a source.
pub async fn forgive<'e>(db: impl Exec<'e>, user_id: &str, source: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("DELETE FROM login_failure WHERE user_id = $1 AND source = $2")
            .bind(user_id)
            .bind(source),
    )
    .await
}

/// Forgets all failures of a user.
pub async fn forgive_all<'e>(db: impl Exec<'e>, user_id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM login_failure WHERE user_id = $1").bind(user_id)).await
}

/// Whether the user has logged in from the source since a time.
pub async fn is_known<'e>(db: impl Exec<'e>, user_id: &str, source: &str, since: i64) -> Result<bool> {
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT last_at FROM login_source WHERE user_id = $1 AND source = $2 AND last_at > $3",
    )
    .bind(user_id)
    .bind(source)
    .bind(since)
    .fetch_optional(db)
    .await
    .map_err(db_error)?;
    Ok(row.is_some())
}

/// Notes a login from a source, and keeps only the `keep` latest sources of the user.
pub async fn note_source(
    db: &mut sqlx::AnyConnection,
    user_id: &str,
    source: &str,
    keep: i64,
    now: i64,
) -> Result<()> {
    let upsert = "INSERT INTO login_source (user_id, source, last_at) VALUES ($1, $2, $3) ON CONFLICT (user_id, source) DO UPDATE SET last_at = $3";
    run(&mut *db, sqlx::query(upsert).bind(user_id).bind(source).bind(now)).await?;
    let trim = "DELETE FROM login_source WHERE user_id = $1 AND source NOT IN (SELECT source FROM login_source WHERE user_id = $1 ORDER BY last_at DESC, source LIMIT $2)";
    run(db, sqlx::query(trim).bind(user_id).bind(keep)).await?;
    Ok(())
}

/// Notes that the user was here. No change of the account, so its generation stays.
pub async fn note_activity<'e>(db: impl Exec<'e>, user_id: &str, now: i64) -> Result<u64> {
    run(
        db,
        sqlx::query("UPDATE account SET last_active_at = $1 WHERE id = $2 AND last_active_at < $1")
            .bind(now)
            .bind(user_id),
    )
    .await
}

/// Enabled users who were not here since a time, with their options; at most `limit`, after the id `after`.
pub async fn idle<'e>(
    db: impl Exec<'e>,
    before: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, String)>> {
    sqlx::query_as(
        "SELECT id, options FROM account WHERE enabled = 1 AND (CASE WHEN last_active_at > 0 THEN last_active_at ELSE created_at END) < $1 AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(before)
    .bind(after)
    .bind(limit)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Disables a user who is still idle.
pub async fn disable_idle<'e>(db: impl Exec<'e>, user_id: &str, before: i64) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "UPDATE account SET enabled = 0, generation = generation + 1 WHERE id = $1 AND enabled = 1 AND (CASE WHEN last_active_at > 0 THEN last_active_at ELSE created_at END) < $2",
        )
        .bind(user_id)
        .bind(before),
    )
    .await
}

/// Forgets failures and sources older than a time.
pub async fn delete_old(db: &mut sqlx::AnyConnection, failures: i64, sources: i64) -> Result<()> {
    run(&mut *db, sqlx::query("DELETE FROM login_failure WHERE last_at < $1").bind(failures)).await?;
    run(db, sqlx::query("DELETE FROM login_source WHERE last_at < $1").bind(sources)).await?;
    Ok(())
}
