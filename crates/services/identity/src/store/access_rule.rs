//! Access rules: requests that application credentials may make.

use super::{Exec, run};
use crate::faults;
use ferrostack_db::{db_error, is_foreign_key_violation, sqlx};
use ferrostack_model::{Error, Result};

/// An access rule's row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AccessRule {
    /// 32 hex digits.
    pub id: String,
    /// The owner.
    pub user_id: String,
    /// Service type.
    pub service: String,
    /// Path with `*`, `**` and `{names}`.
    pub path: String,
    /// HTTP method.
    pub method: String,
    /// Microseconds.
    pub created_at: i64,
}

/// The user's rule with this content: one that is there, else `rule` itself, added. Of two requests that add the
/// same at once, both get the one that stays.
pub async fn ensure(db: &mut sqlx::AnyConnection, rule: &AccessRule) -> Result<AccessRule> {
    run(
        &mut *db,
        sqlx::query(
            "INSERT INTO access_rule (id, user_id, service, path, method, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT (user_id, service, path, method) DO NOTHING",
        )
        .bind(rule.id.as_str())
        .bind(rule.user_id.as_str())
        .bind(rule.service.as_str())
        .bind(rule.path.as_str())
        .bind(rule.method.as_str())
        .bind(rule.created_at),
    )
    .await?;
    sqlx::query_as(
        "SELECT * FROM access_rule WHERE user_id = $1 AND service = $2 AND path = $3 AND method = $4",
    )
    .bind(rule.user_id.as_str())
    .bind(rule.service.as_str())
    .bind(rule.path.as_str())
    .bind(rule.method.as_str())
    .fetch_optional(db)
    .await
    .map_err(db_error)?
    .ok_or_else(|| faults::raced("access_rule"))
}

/// A user's rule by id.
pub async fn get<'e>(db: impl Exec<'e>, user_id: &str, id: &str) -> Result<Option<AccessRule>> {
    sqlx::query_as("SELECT * FROM access_rule WHERE user_id = $1 AND id = $2")
        .bind(user_id)
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// A user's, in the order of their making; empty texts do not filter.
pub async fn list<'e>(
    db: impl Exec<'e>,
    user_id: &str,
    service: &str,
    path: &str,
    method: &str,
) -> Result<Vec<AccessRule>> {
    sqlx::query_as(
        "SELECT * FROM access_rule WHERE user_id = $1 AND ($2 = '' OR service = $2) AND ($3 = '' OR path = $3) AND ($4 = '' OR method = $4) ORDER BY created_at, id",
    )
    .bind(user_id)
    .bind(service)
    .bind(path)
    .bind(method)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Removes a user's rule; how many there were. 403 while a credential uses it.
pub async fn delete<'e>(db: impl Exec<'e>, user_id: &str, id: &str) -> Result<u64> {
    let done = sqlx::query("DELETE FROM access_rule WHERE user_id = $1 AND id = $2")
        .bind(user_id)
        .bind(id)
        .execute(db)
        .await;
    match done {
        Ok(done) => Ok(done.rows_affected()),
        Err(error) if is_foreign_key_violation(&error) => {
            Err(Error::forbidden("May not delete access rule in use"))
        }
        Err(error) => Err(db_error(error)),
    }
}
