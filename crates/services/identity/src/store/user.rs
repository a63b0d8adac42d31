//! Users.

use super::{Exec, changed, run, unique};
use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A user's row.
#[derive(Clone, Default, sqlx::FromRow)]
pub struct User {
    /// 32 hex digits.
    pub id: String,
    /// Unique in the domain.
    pub name: String,
    /// Owning domain.
    pub domain_id: String,
    /// Project of a login without scope; empty: none.
    pub default_project_id: String,
    /// 0 or 1.
    pub enabled: i64,
    /// Empty: no password, no login.
    pub password_hash: String,
    /// JSON object of resource options.
    pub options: String,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
    /// When the password was set, microseconds; 0: there never was one.
    pub password_created_at: i64,
    /// From when on the password only serves to set another, microseconds; 0: it does not expire.
    pub password_expires_at: i64,
    /// 1: the user has set the password, no administrator.
    pub password_own: i64,
    /// The last login by password, microseconds; 0: unknown. Kept only where idle users are disabled.
    pub last_active_at: i64,
}

/// Adds a user; 409 if the domain has the name.
pub async fn insert<'e>(db: impl Exec<'e>, user: &User) -> Result<()> {
    sqlx::query(
        "INSERT INTO account (id, name, domain_id, default_project_id, enabled, password_hash, options, extra, created_at, generation, password_created_at, password_expires_at, password_own, last_active_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, $10, $11, $12, $13)",
    )
    .bind(user.id.as_str())
    .bind(user.name.as_str())
    .bind(user.domain_id.as_str())
    .bind(user.default_project_id.as_str())
    .bind(user.enabled)
    .bind(user.password_hash.as_str())
    .bind(user.options.as_str())
    .bind(user.extra.as_str())
    .bind(user.created_at)
    .bind(user.password_created_at)
    .bind(user.password_expires_at)
    .bind(user.password_own)
    .bind(user.last_active_at)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(|e| unique(e, || faults::duplicate("user", &user.name, &user.domain_id)))
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<User>> {
    sqlx::query_as("SELECT * FROM account WHERE id = $1").bind(id).fetch_optional(db).await.map_err(db_error)
}

/// By name in a domain.
pub async fn get_by_name<'e>(db: impl Exec<'e>, domain_id: &str, name: &str) -> Result<Option<User>> {
    sqlx::query_as("SELECT * FROM account WHERE domain_id = $1 AND name = $2")
        .bind(domain_id)
        .bind(name)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// All of a domain (empty: of all domains), with the name (empty: any), in the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, domain_id: &str, name: &str) -> Result<Vec<User>> {
    sqlx::query_as(
        "SELECT * FROM account WHERE ($1 = '' OR domain_id = $1) AND ($2 = '' OR name = $2) ORDER BY created_at, id",
    )
    .bind(domain_id)
    .bind(name)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// The members of a group.
pub async fn list_of_group<'e>(db: impl Exec<'e>, group_id: &str) -> Result<Vec<User>> {
    sqlx::query_as(
        "SELECT account.* FROM account JOIN group_member ON group_member.user_id = account.id WHERE group_member.group_id = $1 ORDER BY account.created_at, account.id",
    )
    .bind(group_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Writes every changeable column if the row is still of `user.generation`.
pub async fn update<'e>(db: impl Exec<'e>, user: &User) -> Result<Change> {
    sqlx::query(
        "UPDATE account SET name = $1, default_project_id = $2, enabled = $3, password_hash = $4, options = $5, extra = $6, password_created_at = $7, password_expires_at = $8, password_own = $9, last_active_at = CASE WHEN last_active_at > $10 THEN last_active_at ELSE $10 END, generation = generation + 1 WHERE id = $11 AND generation = $12",
    )
    .bind(user.name.as_str())
    .bind(user.default_project_id.as_str())
    .bind(user.enabled)
    .bind(user.password_hash.as_str())
    .bind(user.options.as_str())
    .bind(user.extra.as_str())
    .bind(user.password_created_at)
    .bind(user.password_expires_at)
    .bind(user.password_own)
    .bind(user.last_active_at)
    .bind(user.id.as_str())
    .bind(user.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(|e| unique(e, || faults::duplicate("user", &user.name, &user.domain_id)))
}

/// Forgets a project as anybody's default.
pub async fn clear_default_project<'e>(db: impl Exec<'e>, project_id: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("UPDATE account SET default_project_id = '', generation = generation + 1 WHERE default_project_id = $1")
            .bind(project_id),
    )
    .await
}

/// Removes a user and its memberships; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM account WHERE id = $1").bind(id)).await
}
