//! Application credentials with their roles and access rules.

use super::{Exec, access_rule::AccessRule, run, unique};
use crate::faults;
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::{Result, Timestamp};

/// An application credential's row.
#[derive(Clone, sqlx::FromRow)]
pub struct Row {
    /// 32 hex digits.
    pub id: String,
    /// The owner.
    pub user_id: String,
    /// The only project of its tokens.
    pub project_id: String,
    /// Unique among the owner's.
    pub name: String,
    /// Free text or null.
    pub description: Option<String>,
    /// Keyed digest or hash.
    pub secret: String,
    /// Microseconds; 0: never.
    pub expires_at: i64,
    /// 0 or 1 as it was given.
    pub unrestricted: Option<i64>,
    /// Microseconds.
    pub created_at: i64,
}

/// An application credential with what belongs to it.
#[derive(Clone)]
pub struct AppCred {
    /// The row.
    pub row: Row,
    /// Ids of the roles it gives at most, without what they imply.
    pub roles: Vec<String>,
    /// The only requests it may make; empty: all.
    pub rules: Vec<AccessRule>,
}

impl AppCred {
    /// Whether it may make further credentials.
    pub fn unrestricted(&self) -> bool {
        self.row.unrestricted == Some(1)
    }
    /// Whether its time is over.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.row.expires_at != 0 && self.row.expires_at <= now.0
    }
}

/// Adds a credential with its roles; its access rules are there already. 409 if the user has the name.
pub async fn insert(db: &mut sqlx::AnyConnection, cred: &AppCred) -> Result<()> {
    let row = &cred.row;
    sqlx::query(
        "INSERT INTO application_credential (id, user_id, project_id, name, description, secret, expires_at, unrestricted, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)",
    )
    .bind(row.id.as_str())
    .bind(row.user_id.as_str())
    .bind(row.project_id.as_str())
    .bind(row.name.as_str())
    .bind(row.description.as_deref())
    .bind(row.secret.as_str())
    .bind(row.expires_at)
    .bind(row.unrestricted)
    .bind(row.created_at)
    .execute(&mut *db)
    .await
    .map_err(|e| {
        unique(e, || {
            faults::taken("application_credential", &format!("Duplicate entry found with name {}", row.name))
        })
    })?;
    for role in &cred.roles {
        run(
            &mut *db,
            sqlx::query(
                "INSERT INTO application_credential_role (application_credential_id, role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            )
            .bind(row.id.as_str())
            .bind(role.as_str()),
        )
        .await?;
    }
    for (place, rule) in (0_i64..).zip(&cred.rules) {
        run(
            &mut *db,
            sqlx::query(
                "INSERT INTO application_credential_access_rule (application_credential_id, access_rule_id, place) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(row.id.as_str())
            .bind(rule.id.as_str())
            .bind(place),
        )
        .await?;
    }
    Ok(())
}

/// By id, with roles and access rules.
pub async fn get(db: &sqlx::AnyPool, id: &str) -> Result<Option<AppCred>> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM application_credential WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)?;
    match row {
        Some(row) => whole(db, row).await.map(Some),
        None => Ok(None),
    }
}

/// By owner and name.
pub async fn get_by_name(db: &sqlx::AnyPool, user_id: &str, name: &str) -> Result<Option<AppCred>> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM application_credential WHERE user_id = $1 AND name = $2")
            .bind(user_id)
            .bind(name)
            .fetch_optional(db)
            .await
            .map_err(db_error)?;
    match row {
        Some(row) => whole(db, row).await.map(Some),
        None => Ok(None),
    }
}

/// A user's, in the order of their making.
pub async fn list(db: &sqlx::AnyPool, user_id: &str) -> Result<Vec<AppCred>> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM application_credential WHERE user_id = $1 ORDER BY created_at, id")
            .bind(user_id)
            .fetch_all(db)
            .await
            .map_err(db_error)?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        all.push(whole(db, row).await?);
    }
    Ok(all)
}

async fn whole(db: &sqlx::AnyPool, row: Row) -> Result<AppCred> {
    let roles: Vec<(String,)> = sqlx::query_as(
        "SELECT role_id FROM application_credential_role WHERE application_credential_id = $1 ORDER BY role_id",
    )
    .bind(row.id.as_str())
    .fetch_all(db)
    .await
    .map_err(db_error)?;
    let rules = sqlx::query_as(
        "SELECT access_rule.* FROM access_rule JOIN application_credential_access_rule used ON used.access_rule_id = access_rule.id WHERE used.application_credential_id = $1 ORDER BY used.place",
    )
    .bind(row.id.as_str())
    .fetch_all(db)
    .await
    .map_err(db_error)?;
    Ok(AppCred { row, roles: roles.into_iter().map(|(id,)| id).collect(), rules })
}

/// How many a user has. The user's row is locked until the transaction ends, so that no other adds one meanwhile.
pub async fn count_locked(db: &mut sqlx::AnyConnection, user_id: &str) -> Result<i64> {
    run(&mut *db, sqlx::query("UPDATE account SET enabled = enabled WHERE id = $1").bind(user_id)).await?;
    let (count,): (i64,) =
        sqlx::query_as("SELECT CAST(COUNT(*) AS BIGINT) FROM application_credential WHERE user_id = $1")
            .bind(user_id)
            .fetch_one(db)
            .await
            .map_err(db_error)?;
    Ok(count)
}

/// Removes one; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM application_credential WHERE id = $1").bind(id)).await
}

/// Removes a user's; how many there were.
pub async fn delete_of_user<'e>(db: impl Exec<'e>, user_id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM application_credential WHERE user_id = $1").bind(user_id)).await
}

/// Removes those that give a role; how many there were.
pub async fn delete_with_role<'e>(db: impl Exec<'e>, role_id: &str) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "DELETE FROM application_credential WHERE id IN (SELECT application_credential_id FROM application_credential_role WHERE role_id = $1)",
        )
        .bind(role_id),
    )
    .await
}
