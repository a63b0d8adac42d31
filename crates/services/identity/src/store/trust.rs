//! Trusts with their roles. Deleted ones stay, so that their tokens can still be told.

use super::{Exec, run};
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::{Result, Timestamp};

/// A trust's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Trust {
    /// 32 hex digits.
    pub id: String,
    /// Who lends roles.
    pub trustor_user_id: String,
    /// Who may use them.
    pub trustee_user_id: String,
    /// Where; empty: nowhere.
    pub project_id: String,
    /// 1: tokens are the trustor's.
    pub impersonation: i64,
    /// Microseconds; 0: never.
    pub expires_at: i64,
    /// Tokens that can still be got; null: any number.
    pub remaining_uses: Option<i64>,
    /// The trust this one hands on; empty: none.
    pub redelegated_trust_id: String,
    /// How many times it can be handed on.
    pub redelegation_count: i64,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
}

impl Trust {
    /// Whether it still gives anything at `now`: its last token may be in use when it gives no more.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at != 0 && self.expires_at <= now.0
    }
    /// Whether every use is used up.
    pub fn used_up(&self) -> bool {
        self.remaining_uses.is_some_and(|n| n <= 0)
    }
    /// The user of its tokens.
    pub fn user_id(&self) -> &str {
        if self.impersonation == 1 { &self.trustor_user_id } else { &self.trustee_user_id }
    }
}

/// Adds a trust with its roles and everybody it depends on.
pub async fn insert(
    db: &mut sqlx::AnyConnection,
    trust: &Trust,
    roles: &[String],
    parties: &[String],
) -> Result<()> {
    run(
        &mut *db,
        sqlx::query(
            "INSERT INTO trust (id, trustor_user_id, trustee_user_id, project_id, impersonation, expires_at, remaining_uses, redelegated_trust_id, redelegation_count, extra, deleted_at, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, 1)",
        )
        .bind(trust.id.as_str())
        .bind(trust.trustor_user_id.as_str())
        .bind(trust.trustee_user_id.as_str())
        .bind(trust.project_id.as_str())
        .bind(trust.impersonation)
        .bind(trust.expires_at)
        .bind(trust.remaining_uses)
        .bind(trust.redelegated_trust_id.as_str())
        .bind(trust.redelegation_count)
        .bind(trust.extra.as_str())
        .bind(trust.created_at),
    )
    .await?;
    for role in roles {
        run(
            &mut *db,
            sqlx::query("INSERT INTO trust_role (trust_id, role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(trust.id.as_str())
                .bind(role.as_str()),
        )
        .await?;
    }
    for user in parties {
        run(
            &mut *db,
            sqlx::query("INSERT INTO trust_party (trust_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(trust.id.as_str())
                .bind(user.as_str()),
        )
        .await?;
    }
    Ok(())
}

/// By id, unless it is deleted.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Trust>> {
    sqlx::query_as("SELECT * FROM trust WHERE id = $1 AND deleted_at = 0")
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// Ids of a trust's roles, of which some may be gone.
pub async fn roles<'e>(db: impl Exec<'e>, id: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT role_id FROM trust_role WHERE trust_id = $1 ORDER BY role_id")
            .bind(id)
            .fetch_all(db)
            .await
            .map_err(db_error)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Those that are not deleted, in the order of their making; empty texts do not filter.
pub async fn list<'e>(db: impl Exec<'e>, trustor: &str, trustee: &str) -> Result<Vec<Trust>> {
    sqlx::query_as(
        "SELECT * FROM trust WHERE deleted_at = 0 AND ($1 = '' OR trustor_user_id = $1) AND ($2 = '' OR trustee_user_id = $2) ORDER BY created_at, id",
    )
    .bind(trustor)
    .bind(trustee)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Takes one use, if there is one left; how many it took. Of logins at once each takes its own.
pub async fn consume<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "UPDATE trust SET remaining_uses = remaining_uses - 1, generation = generation + 1 WHERE id = $1 AND deleted_at = 0 AND remaining_uses > 0",
        )
        .bind(id),
    )
    .await
}

/// Deletes a trust and all that were handed on from it; their ids.
pub async fn delete(db: &mut sqlx::AnyConnection, id: &str, now: Timestamp) -> Result<Vec<String>> {
    let mut gone: Vec<String> = Vec::new();
    let mut open = vec![id.to_owned()];
    while let Some(id) = open.pop() {
        let done = run(
            &mut *db,
            sqlx::query(
                "UPDATE trust SET deleted_at = $1, generation = generation + 1 WHERE id = $2 AND deleted_at = 0",
            )
            .bind(now.0)
            .bind(id.as_str()),
        )
        .await?;
        if done == 0 {
            continue;
        }
        let below: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM trust WHERE redelegated_trust_id = $1 AND deleted_at = 0")
                .bind(id.as_str())
                .fetch_all(&mut *db)
                .await
                .map_err(db_error)?;
        open.extend(below.into_iter().map(|(id,)| id));
        gone.push(id);
    }
    Ok(gone)
}

/// Deletes all that depend on a user.
pub async fn delete_of_user<'e>(db: impl Exec<'e>, user_id: &str, now: Timestamp) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "UPDATE trust SET deleted_at = $1, generation = generation + 1 WHERE deleted_at = 0 AND id IN (SELECT trust_id FROM trust_party WHERE user_id = $2)",
        )
        .bind(now.0)
        .bind(user_id),
    )
    .await
}

/// Deletes all about a project.
pub async fn delete_of_project<'e>(db: impl Exec<'e>, project_id: &str, now: Timestamp) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "UPDATE trust SET deleted_at = $1, generation = generation + 1 WHERE deleted_at = 0 AND project_id = $2",
        )
        .bind(now.0)
        .bind(project_id),
    )
    .await
}

/// Deletes those of the ids; how many there were.
pub async fn delete_all(db: &mut sqlx::AnyConnection, ids: &[String], now: Timestamp) -> Result<u64> {
    let mut count = 0;
    for id in ids {
        count += run(
            &mut *db,
            sqlx::query(
                "UPDATE trust SET deleted_at = $1, generation = generation + 1 WHERE id = $2 AND deleted_at = 0",
            )
            .bind(now.0)
            .bind(id.as_str()),
        )
        .await?;
    }
    Ok(count)
}

/// Whether any trust was ever handed on.
pub async fn any_handed_on<'e>(db: impl Exec<'e>) -> Result<bool> {
    sqlx::query("SELECT 1 FROM trust WHERE redelegated_trust_id > '' LIMIT 1")
        .fetch_optional(db)
        .await
        .map(|row| row.is_some())
        .map_err(db_error)
}

/// Ids of trusts that a user stands behind without being trustor or trustee, whose tokens may still live: those
/// not deleted before `since`.
pub async fn behind<'e>(db: impl Exec<'e>, user_id: &str, since: Timestamp) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT trust.id FROM trust JOIN trust_party ON trust_party.trust_id = trust.id WHERE trust_party.user_id = $1 AND trust.trustor_user_id <> $1 AND trust.trustee_user_id <> $1 AND (trust.deleted_at = 0 OR trust.deleted_at > $2) ORDER BY trust.id",
    )
    .bind(user_id)
    .bind(since.0)
    .fetch_all(db)
    .await
    .map_err(db_error)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Ids of trusts that depend on users or projects of a domain, whose tokens may still live.
pub async fn of_domain<'e>(db: impl Exec<'e>, domain_id: &str, since: Timestamp) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT id FROM trust WHERE (deleted_at = 0 OR deleted_at > $2) AND (id IN (SELECT trust_party.trust_id FROM trust_party JOIN account ON account.id = trust_party.user_id WHERE account.domain_id = $1) OR project_id IN (SELECT id FROM project WHERE domain_id = $1)) ORDER BY id",
    )
    .bind(domain_id)
    .bind(since.0)
    .fetch_all(db)
    .await
    .map_err(db_error)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
