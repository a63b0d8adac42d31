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
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// `user` or `group`.
    pub actor_kind: String,
    /// Their id.
    pub actor_id: String,
    /// `project`, `domain` or `system`.
    pub target_kind: String,
    /// Its id.
    pub target_id: String,
    /// The role.
    pub role_id: String,
    /// Only inherited ones.
    pub inherited: bool,
    /// Only on this domain and its projects.
    pub within: String,
}

macro_rules! scan {
    ($condition:literal, $after:literal, $order:literal) => {
        concat!(
            "SELECT * FROM assignment WHERE ", $condition,
            " AND ($1 = '' OR actor_kind = $1) AND ($2 = '' OR actor_id = $2) AND ($3 = '' OR target_kind = $3)",
            " AND ($4 = '' OR target_id = $4) AND ($5 = '' OR role_id = $5) AND ($6 = 0 OR inherited = 1)",
            " AND ($7 = '' OR (target_kind = 'domain' AND target_id = $7) OR (target_kind = 'project' AND EXISTS (",
            "SELECT 1 FROM project WHERE project.id = target_id AND project.domain_id = $7)))",
            " AND ", $after, " ORDER BY ", $order, " LIMIT $14"
        )
    };
}

/// The statements of [`list`]. All parameters of the place to go on after are there in each.
pub(super) const LISTS: [&str; 4] = [
    scan!(
        "inherited >= 0",
        "(actor_kind, actor_id, target_kind, target_id, role_id, inherited) > ($8, $9, $10, $11, $12, $13)",
        "actor_kind, actor_id, target_kind, target_id, role_id, inherited"
    ),
    scan!(
        "actor_kind = $1 AND actor_id = $2 AND $8 >= '' AND $9 >= ''",
        "(target_kind, target_id, role_id, inherited) > ($10, $11, $12, $13)",
        "target_kind, target_id, role_id, inherited"
    ),
    scan!(
        "target_kind = $3 AND target_id = $4 AND $10 >= '' AND $11 >= ''",
        "(actor_kind, actor_id, role_id, inherited) > ($8, $9, $12, $13)",
        "actor_kind, actor_id, role_id, inherited"
    ),
    scan!(
        "role_id = $5 AND $12 >= ''",
        "(actor_kind, actor_id, target_kind, target_id, inherited) > ($8, $9, $10, $11, $13)",
        "actor_kind, actor_id, target_kind, target_id, inherited"
    ),
];

/// In a fixed order that depends on what is wanted, so many at most, those after `after`.
pub async fn list<'e>(
    db: impl Exec<'e>,
    scan: &'e Scan,
    after: Option<&'e Assignment>,
    limit: i64,
) -> Result<Vec<Assignment>> {
    let statement = match scan {
        s if !s.actor_kind.is_empty() && !s.actor_id.is_empty() => LISTS[1],
        s if !s.target_kind.is_empty() && !s.target_id.is_empty() => LISTS[2],
        s if !s.role_id.is_empty() => LISTS[3],
        _ => LISTS[0],
    };
    let text = |of: fn(&'e Assignment) -> &'e str| after.map_or("", of);
    sqlx::query_as(statement)
        .bind(scan.actor_kind.as_str())
        .bind(scan.actor_id.as_str())
        .bind(scan.target_kind.as_str())
        .bind(scan.target_id.as_str())
        .bind(scan.role_id.as_str())
        .bind(i64::from(scan.inherited))
        .bind(scan.within.as_str())
        .bind(text(|a| &a.actor_kind))
        .bind(text(|a| &a.actor_id))
        .bind(text(|a| &a.target_kind))
        .bind(text(|a| &a.target_id))
        .bind(text(|a| &a.role_id))
        .bind(after.map_or(-1, |a| a.inherited))
        .bind(limit)
        .fetch_all(db)
        .await
        .map_err(db_error)
}

/// Everything granted to a group.
pub async fn list_of_group<'e>(db: impl Exec<'e>, group_id: &str) -> Result<Vec<Assignment>> {
    sqlx::query_as(
        "SELECT * FROM assignment WHERE actor_kind = 'group' AND actor_id = $1 ORDER BY target_kind DESC, target_id, role_id",
    )
    .bind(group_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// The statement of [`list_of_user`].
pub(super) const OF_USER: &str = concat!(
    "SELECT * FROM assignment WHERE actor_kind = 'user' AND actor_id = $1 ",
    "UNION ALL SELECT a.* FROM group_member AS m CROSS JOIN assignment AS a ",
    "WHERE a.actor_kind = 'group' AND a.actor_id = m.group_id AND m.user_id = $1 ",
    "ORDER BY target_kind DESC, target_id, role_id"
);

/// Everything granted to a user, directly or by a group.
pub async fn list_of_user<'e>(db: impl Exec<'e>, user_id: &str) -> Result<Vec<Assignment>> {
    sqlx::query_as(OF_USER).bind(user_id).fetch_all(db).await.map_err(db_error)
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
