//! Roles and what they imply.

use super::{
    After, Exec, Wanted, changed,
    listing::{bound, fetch, listing},
    run, unique,
};
use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A role's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Role {
    /// 32 hex digits.
    pub id: String,
    /// Unique among global roles or in the domain.
    pub name: String,
    /// Empty: a global role.
    pub domain_id: String,
    /// Free text or null.
    pub description: Option<String>,
    /// JSON object of resource options.
    pub options: String,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

impl Role {
    /// The resource option `immutable`.
    pub fn immutable(&self) -> bool {
        super::members(&self.options).get("immutable").is_some_and(|v| v == true)
    }
}

/// Adds a role; 409 if the name is taken.
pub async fn insert<'e>(db: impl Exec<'e>, role: &Role) -> Result<()> {
    sqlx::query(
        "INSERT INTO role (id, name, domain_id, description, options, extra, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)",
    )
    .bind(role.id.as_str())
    .bind(role.name.as_str())
    .bind(role.domain_id.as_str())
    .bind(role.description.as_deref())
    .bind(role.options.as_str())
    .bind(role.extra.as_str())
    .bind(role.created_at)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(|e| unique(e, || name_taken(role)))
}

fn name_taken(role: &Role) -> ferrostack_model::Error {
    if role.domain_id.is_empty() {
        return faults::taken("role", &format!("Duplicate entry found with name {}", role.name));
    }
    faults::duplicate("role", &role.name, &role.domain_id)
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Role>> {
    sqlx::query_as("SELECT * FROM role WHERE id = $1").bind(id).fetch_optional(db).await.map_err(db_error)
}

/// A global role by name.
pub async fn get_by_name<'e>(db: impl Exec<'e>, name: &str) -> Result<Option<Role>> {
    sqlx::query_as("SELECT * FROM role WHERE domain_id = '' AND name = $1")
        .bind(name)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// The statement of [`list`].
pub(super) const LIST: &str = listing!("t.*", "role AS t", enabled "$3", "t.domain_id = $1");

/// The global roles, or a domain's, in the order of creation, so many at most.
pub async fn list<'e>(
    db: impl Exec<'e>,
    wanted: &'e Wanted,
    after: &'e After,
    limit: i64,
) -> Result<Vec<Role>> {
    fetch(db, bound(LIST, wanted, after, limit)).await
}

/// Every role of every domain.
pub async fn list_all<'e>(db: impl Exec<'e>) -> Result<Vec<Role>> {
    sqlx::query_as("SELECT * FROM role ORDER BY created_at, id").fetch_all(db).await.map_err(db_error)
}

/// Writes every changeable column if the row is still of `role.generation`.
pub async fn update<'e>(db: impl Exec<'e>, role: &Role) -> Result<Change> {
    sqlx::query(
        "UPDATE role SET name = $1, description = $2, options = $3, extra = $4, generation = generation + 1 WHERE id = $5 AND generation = $6",
    )
    .bind(role.name.as_str())
    .bind(role.description.as_deref())
    .bind(role.options.as_str())
    .bind(role.extra.as_str())
    .bind(role.id.as_str())
    .bind(role.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(|e| unique(e, || name_taken(role)))
}

/// Removes a role with its grants and implications; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM role WHERE id = $1").bind(id)).await
}

/// All implications as (prior, implied), sorted.
pub async fn implications<'e>(db: impl Exec<'e>) -> Result<Vec<(String, String)>> {
    sqlx::query_as("SELECT prior_id, implied_id FROM implied_role ORDER BY prior_id, implied_id")
        .fetch_all(db)
        .await
        .map_err(db_error)
}

/// Lets one role imply another; nothing happens if it does.
pub async fn imply<'e>(db: impl Exec<'e>, prior: &str, implied: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("INSERT INTO implied_role (prior_id, implied_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(prior)
            .bind(implied),
    )
    .await
}

/// Undoes [`imply`]; how many there were.
pub async fn stop_implying<'e>(db: impl Exec<'e>, prior: &str, implied: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("DELETE FROM implied_role WHERE prior_id = $1 AND implied_id = $2")
            .bind(prior)
            .bind(implied),
    )
    .await
}
