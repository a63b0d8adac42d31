//! Who has which role where.

use super::{Exec, run};
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::Result;

/// A role assignment's row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Assignment {
    /// `user` or `group`.
    pub actor_kind: String,
    /// Their id.
    pub actor_id: String,
    /// `project`, `domain` or `system`.
    pub target_kind: String,
    /// Its id; `system` for the system.
    pub target_id: String,
    /// The role.
    pub role_id: String,
    /// 1: on the projects below the target, not on the target itself.
    pub inherited: i64,
}

/// Grants; nothing happens if it is there. How many were added.
pub async fn insert<'e>(db: impl Exec<'e>, row: &Assignment) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO assignment (actor_kind, actor_id, target_kind, target_id, role_id, inherited) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(row.actor_kind.as_str())
        .bind(row.actor_id.as_str())
        .bind(row.target_kind.as_str())
        .bind(row.target_id.as_str())
        .bind(row.role_id.as_str())
        .bind(row.inherited),
    )
    .await
}

/// Revokes; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, row: &Assignment) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "DELETE FROM assignment WHERE actor_kind = $1 AND actor_id = $2 AND target_kind = $3 AND target_id = $4 AND role_id = $5 AND inherited = $6",
        )
        .bind(row.actor_kind.as_str())
        .bind(row.actor_id.as_str())
        .bind(row.target_kind.as_str())
        .bind(row.target_id.as_str())
        .bind(row.role_id.as_str())
        .bind(row.inherited),
    )
    .await
}

/// What to list; empty texts do not filter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// `user` or `group`.
    pub actor_kind: &'a str,
    /// Their id.
    pub actor_id: &'a str,
    /// `project`, `domain` or `system`.
    pub target_kind: &'a str,
    /// Its id.
    pub target_id: &'a str,
    /// The role.
    pub role_id: &'a str,
}

/// In a fixed order.
pub async fn list<'e>(db: impl Exec<'e>, wanted: &Wanted<'_>) -> Result<Vec<Assignment>> {
    sqlx::query_as(
        "SELECT * FROM assignment WHERE ($1 = '' OR actor_kind = $1) AND ($2 = '' OR actor_id = $2) AND ($3 = '' OR target_kind = $3) AND ($4 = '' OR target_id = $4) AND ($5 = '' OR role_id = $5) ORDER BY target_kind DESC, target_id, actor_kind, actor_id, role_id, inherited",
    )
    .bind(wanted.actor_kind)
    .bind(wanted.actor_id)
    .bind(wanted.target_kind)
    .bind(wanted.target_id)
    .bind(wanted.role_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Everything granted to a user, directly or by a group.
pub async fn list_of_user<'e>(db: impl Exec<'e>, user_id: &str) -> Result<Vec<Assignment>> {
    sqlx::query_as(
        "SELECT * FROM assignment WHERE (actor_kind = 'user' AND actor_id = $1) OR (actor_kind = 'group' AND actor_id IN (SELECT group_id FROM group_member WHERE user_id = $1)) ORDER BY target_kind DESC, target_id, role_id",
    )
    .bind(user_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Removes all of an actor.
pub async fn delete_of_actor<'e>(db: impl Exec<'e>, kind: &str, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM assignment WHERE actor_kind = $1 AND actor_id = $2").bind(kind).bind(id))
        .await
}

/// Removes all on a target.
pub async fn delete_on_target<'e>(db: impl Exec<'e>, kind: &str, id: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("DELETE FROM assignment WHERE target_kind = $1 AND target_id = $2").bind(kind).bind(id),
    )
    .await
}
