//! Groups and their members.

use super::{Exec, changed, run, unique};
use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A group's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Group {
    /// 32 hex digits.
    pub id: String,
    /// Unique in the domain.
    pub name: String,
    /// Owning domain.
    pub domain_id: String,
    /// Free text.
    pub description: String,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

/// Adds a group; 409 if the domain has the name.
pub async fn insert<'e>(db: impl Exec<'e>, group: &Group) -> Result<()> {
    sqlx::query(
        "INSERT INTO user_group (id, name, domain_id, description, extra, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, 1)",
    )
    .bind(group.id.as_str())
    .bind(group.name.as_str())
    .bind(group.domain_id.as_str())
    .bind(group.description.as_str())
    .bind(group.extra.as_str())
    .bind(group.created_at)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(|e| unique(e, || faults::duplicate("group", &group.name, &group.domain_id)))
}

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Group>> {
    sqlx::query_as("SELECT * FROM user_group WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// All of a domain (empty: of all), with the name (empty: any), in the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, domain_id: &str, name: &str) -> Result<Vec<Group>> {
    sqlx::query_as(
        "SELECT * FROM user_group WHERE ($1 = '' OR domain_id = $1) AND ($2 = '' OR name = $2) ORDER BY created_at, id",
    )
    .bind(domain_id)
    .bind(name)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// The groups a user is in.
pub async fn list_of_user<'e>(db: impl Exec<'e>, user_id: &str) -> Result<Vec<Group>> {
    sqlx::query_as(
        "SELECT user_group.* FROM user_group JOIN group_member ON group_member.group_id = user_group.id WHERE group_member.user_id = $1 ORDER BY user_group.created_at, user_group.id",
    )
    .bind(user_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Writes every changeable column if the row is still of `group.generation`.
pub async fn update<'e>(db: impl Exec<'e>, group: &Group) -> Result<Change> {
    sqlx::query(
        "UPDATE user_group SET name = $1, description = $2, extra = $3, generation = generation + 1 WHERE id = $4 AND generation = $5",
    )
    .bind(group.name.as_str())
    .bind(group.description.as_str())
    .bind(group.extra.as_str())
    .bind(group.id.as_str())
    .bind(group.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(|e| unique(e, || faults::duplicate("group", &group.name, &group.domain_id)))
}

/// Removes a group and its memberships; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM user_group WHERE id = $1").bind(id)).await
}

/// Puts a user into a group; nothing happens if it is there.
pub async fn add_member<'e>(db: impl Exec<'e>, group_id: &str, user_id: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("INSERT INTO group_member (group_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(group_id)
            .bind(user_id),
    )
    .await
}

/// Whether a user is in a group.
pub async fn has_member<'e>(db: impl Exec<'e>, group_id: &str, user_id: &str) -> Result<bool> {
    sqlx::query("SELECT 1 FROM group_member WHERE group_id = $1 AND user_id = $2")
        .bind(group_id)
        .bind(user_id)
        .fetch_optional(db)
        .await
        .map(|row| row.is_some())
        .map_err(db_error)
}

/// Takes a user out of a group; how many there were.
pub async fn remove_member<'e>(db: impl Exec<'e>, group_id: &str, user_id: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("DELETE FROM group_member WHERE group_id = $1 AND user_id = $2")
            .bind(group_id)
            .bind(user_id),
    )
    .await
}

/// All memberships as (group, user).
pub async fn memberships<'e>(db: impl Exec<'e>) -> Result<Vec<(String, String)>> {
    sqlx::query_as("SELECT group_id, user_id FROM group_member ORDER BY group_id, user_id")
        .fetch_all(db)
        .await
        .map_err(db_error)
}
