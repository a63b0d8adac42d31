//! Groups and their members.

use super::{
    After, Exec, Wanted, changed,
    listing::{bound, fetch, listing},
    run, unique,
};
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

/// The statements of [`list`].
pub(super) const LISTS: [&str; 3] = [
    listing!("t.*", "user_group AS t", enabled "$3", "t.created_at >= 0"),
    listing!("t.*", "user_group AS t", enabled "$3", "t.domain_id = $1"),
    listing!("t.*", "user_group AS t", enabled "$3", "t.name = $2"),
];

/// In the order of creation, so many at most.
pub async fn list<'e>(
    db: impl Exec<'e>,
    wanted: &'e Wanted,
    after: &'e After,
    limit: i64,
) -> Result<Vec<Group>> {
    let statement = match wanted {
        w if !w.name.is_empty() => LISTS[2],
        w if !w.domain_id.is_empty() => LISTS[1],
        _ => LISTS[0],
    };
    fetch(db, bound(statement, wanted, after, limit)).await
}

/// The statement of [`page_of_user`].
pub(super) const OF_USER: &str = listing!(
    "t.*", "group_member AS m JOIN user_group AS t ON t.id = m.group_id", enabled "$3", "m.user_id = $9",
    "$6 >= -1 AND m.group_id > $7 ORDER BY m.group_id"
);

/// The groups that the user `wanted.owner` is in, by id, so many at most.
pub async fn page_of_user<'e>(
    db: impl Exec<'e>,
    wanted: &'e Wanted,
    after: &'e After,
    limit: i64,
) -> Result<Vec<Group>> {
    fetch(db, bound(OF_USER, wanted, after, limit).bind(wanted.owner.as_str())).await
}

/// The ids of the groups that a user is in.
pub async fn ids_of_user<'e>(db: impl Exec<'e>, user_id: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        sqlx::query_as("SELECT group_id FROM group_member WHERE user_id = $1 ORDER BY group_id")
            .bind(user_id)
            .fetch_all(db)
            .await
            .map_err(db_error)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
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
