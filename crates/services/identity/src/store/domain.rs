//! Domains: rows of `project` with `is_domain` 1.

use super::{Exec, project::Project, run};
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::Result;

/// By id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Project>> {
    sqlx::query_as("SELECT * FROM project WHERE id = $1 AND is_domain = 1")
        .bind(id)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// By name.
pub async fn get_by_name<'e>(db: impl Exec<'e>, name: &str) -> Result<Option<Project>> {
    sqlx::query_as("SELECT * FROM project WHERE is_domain = 1 AND name = $1")
        .bind(name)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// Removes everything a domain owns, and the domain. In a transaction.
pub async fn delete(db: &mut sqlx::AnyConnection, id: &str) -> Result<()> {
    for statement in [
        // Held first, so that nobody adds to them any more.
        "UPDATE project SET generation = generation WHERE id = $1",
        "UPDATE project SET generation = generation WHERE domain_id = $1",
        "DELETE FROM assignment WHERE target_kind = 'domain' AND target_id = $1",
        "DELETE FROM assignment WHERE target_kind = 'project' AND target_id IN (SELECT id FROM project WHERE domain_id = $1)",
        "DELETE FROM assignment WHERE actor_kind = 'user' AND actor_id IN (SELECT id FROM account WHERE domain_id = $1)",
        "DELETE FROM assignment WHERE actor_kind = 'group' AND actor_id IN (SELECT id FROM user_group WHERE domain_id = $1)",
        "UPDATE account SET default_project_id = '' WHERE default_project_id IN (SELECT id FROM project WHERE domain_id = $1)",
        "DELETE FROM role WHERE domain_id = $1",
        "DELETE FROM user_group WHERE domain_id = $1",
        "DELETE FROM account WHERE domain_id = $1",
        "DELETE FROM project WHERE domain_id = $1",
        "DELETE FROM project WHERE id = $1",
    ] {
        run(&mut *db, sqlx::query(statement).bind(id)).await?;
    }
    Ok(())
}
