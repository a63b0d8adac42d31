//! Users.

use super::{
    After, Exec, Wanted, changed,
    listing::{bound, fetch, listing},
    run, unique,
};
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

/// The statements of [`list`].
pub(super) const LISTS: [&str; 3] = [
    listing!("t.*", "account AS t", enabled "t.enabled", "t.created_at >= 0"),
    listing!("t.*", "account AS t", enabled "t.enabled", "t.domain_id = $1"),
    listing!("t.*", "account AS t", enabled "t.enabled", "t.name = $2"),
];

/// In the order of creation, so many at most.
pub async fn list<'e>(
    db: impl Exec<'e>,
    wanted: &'e Wanted,
    after: &'e After,
    limit: i64,
) -> Result<Vec<User>> {
    let statement = match wanted {
        w if !w.name.is_empty() => LISTS[2],
        w if !w.domain_id.is_empty() => LISTS[1],
        _ => LISTS[0],
    };
    fetch(db, bound(statement, wanted, after, limit)).await
}

/// The statement of [`page_of_group`].
pub(super) const MEMBERS: &str = listing!(
    "t.*", "group_member AS m JOIN account AS t ON t.id = m.user_id", enabled "t.enabled", "m.group_id = $9",
    "$6 >= -1 AND m.user_id > $7 ORDER BY m.user_id"
);

/// The members of the group `wanted.owner`, by id, so many at most.
pub async fn page_of_group<'e>(
    db: impl Exec<'e>,
    wanted: &'e Wanted,
    after: &'e After,
    limit: i64,
) -> Result<Vec<User>> {
    fetch(db, bound(MEMBERS, wanted, after, limit).bind(wanted.owner.as_str())).await
}

/// The ids of the members of a group.
pub async fn ids_of_group<'e>(db: impl Exec<'e>, group_id: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT user_id FROM group_member WHERE group_id = $1 ORDER BY user_id")
            .bind(group_id)
            .fetch_all(db)
            .await
            .map_err(db_error)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
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
