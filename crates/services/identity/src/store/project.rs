//! Projects. Domains are rows of the same table: `store::domain`.

use super::{Exec, changed, run, unique};
use crate::faults;
use ferrostack_db::{Change, db_error, sqlx};
use ferrostack_model::Result;

/// A project's or domain's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Project {
    /// 32 hex digits, or `default`.
    pub id: String,
    /// Unique in the domain; a domain's unique among domains.
    pub name: String,
    /// Owning domain; empty for a domain.
    pub domain_id: String,
    /// Project or domain above; empty for a domain.
    pub parent_id: String,
    /// 0 or 1.
    pub is_domain: i64,
    /// Free text.
    pub description: String,
    /// 0 or 1.
    pub enabled: i64,
    /// JSON object of resource options.
    pub options: String,
    /// JSON object of members we only keep.
    pub extra: String,
    /// Microseconds.
    pub created_at: i64,
    /// Counts changes.
    pub generation: i64,
}

impl Project {
    /// The resource option `immutable`.
    pub fn immutable(&self) -> bool {
        super::members(&self.options).get("immutable").is_some_and(|v| v == true)
    }
}

/// Adds a project or domain; 409 if the name is taken.
pub async fn insert<'e>(db: impl Exec<'e>, project: &Project) -> Result<()> {
    sqlx::query(
        "INSERT INTO project (id, name, domain_id, parent_id, is_domain, description, enabled, options, extra, created_at, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1)",
    )
    .bind(project.id.as_str())
    .bind(project.name.as_str())
    .bind(project.domain_id.as_str())
    .bind(project.parent_id.as_str())
    .bind(project.is_domain)
    .bind(project.description.as_str())
    .bind(project.enabled)
    .bind(project.options.as_str())
    .bind(project.extra.as_str())
    .bind(project.created_at)
    .execute(db)
    .await
    .map(|_| ())
    .map_err(|e| unique(e, || name_taken(project)))
}

fn name_taken(project: &Project) -> ferrostack_model::Error {
    if project.is_domain == 1 {
        return faults::taken("domain", &format!("Duplicate entry found with name {}", project.name));
    }
    faults::duplicate("project", &project.name, &project.domain_id)
}

/// A project or domain by id.
pub async fn get<'e>(db: impl Exec<'e>, id: &str) -> Result<Option<Project>> {
    sqlx::query_as("SELECT * FROM project WHERE id = $1").bind(id).fetch_optional(db).await.map_err(db_error)
}

/// A project (not a domain) by name in a domain.
pub async fn get_by_name<'e>(db: impl Exec<'e>, domain_id: &str, name: &str) -> Result<Option<Project>> {
    sqlx::query_as("SELECT * FROM project WHERE domain_id = $1 AND name = $2 AND is_domain = 0")
        .bind(domain_id)
        .bind(name)
        .fetch_optional(db)
        .await
        .map_err(db_error)
}

/// What to list; empty texts do not filter.
#[derive(Default)]
pub struct Wanted<'a> {
    /// Domains instead of projects.
    pub domains: bool,
    /// Owning domain.
    pub domain_id: &'a str,
    /// Name.
    pub name: &'a str,
    /// Parent.
    pub parent_id: &'a str,
}

/// In the order of their making.
pub async fn list<'e>(db: impl Exec<'e>, wanted: &Wanted<'_>) -> Result<Vec<Project>> {
    sqlx::query_as(
        "SELECT * FROM project WHERE is_domain = $1 AND ($2 = '' OR domain_id = $2) AND ($3 = '' OR name = $3) AND ($4 = '' OR parent_id = $4) ORDER BY created_at, id",
    )
    .bind(i64::from(wanted.domains))
    .bind(wanted.domain_id)
    .bind(wanted.name)
    .bind(wanted.parent_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Ids of projects below another project, at most `limit`.
pub async fn nested<'e>(db: impl Exec<'e>, limit: i64) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT project.id FROM project JOIN project parent ON parent.id = project.parent_id WHERE parent.is_domain = 0 ORDER BY project.id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await
    .map_err(db_error)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Writes every changeable column if the row is still of `project.generation`.
pub async fn update<'e>(db: impl Exec<'e>, project: &Project) -> Result<Change> {
    sqlx::query(
        "UPDATE project SET name = $1, description = $2, enabled = $3, options = $4, extra = $5, generation = generation + 1 WHERE id = $6 AND generation = $7",
    )
    .bind(project.name.as_str())
    .bind(project.description.as_str())
    .bind(project.enabled)
    .bind(project.options.as_str())
    .bind(project.extra.as_str())
    .bind(project.id.as_str())
    .bind(project.generation)
    .execute(db)
    .await
    .map(changed)
    .map_err(|e| unique(e, || name_taken(project)))
}

/// Removes a project with its tags; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, id: &str) -> Result<u64> {
    run(db, sqlx::query("DELETE FROM project WHERE id = $1").bind(id)).await
}

/// Tags of all projects (empty id) or one, as (project, tag), sorted.
pub async fn tags<'e>(db: impl Exec<'e>, project_id: &str) -> Result<Vec<(String, String)>> {
    sqlx::query_as(
        "SELECT project_id, tag FROM project_tag WHERE ($1 = '' OR project_id = $1) ORDER BY project_id, tag",
    )
    .bind(project_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Adds a tag; nothing happens if it is there.
pub async fn add_tag<'e>(db: impl Exec<'e>, project_id: &str, tag: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("INSERT INTO project_tag (project_id, tag) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(project_id)
            .bind(tag),
    )
    .await
}

/// Removes one tag, or all if `tag` is empty; how many there were.
pub async fn remove_tags<'e>(db: impl Exec<'e>, project_id: &str, tag: &str) -> Result<u64> {
    run(
        db,
        sqlx::query("DELETE FROM project_tag WHERE project_id = $1 AND ($2 = '' OR tag = $2)")
            .bind(project_id)
            .bind(tag),
    )
    .await
}
