//! Projects. Domains are rows of the same table: `store::domain`.

use super::{
    After, Exec, Wanted, changed,
    listing::{bound, fetch, listing},
    run, unique,
};
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

/// A project with its tags.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Tagged {
    /// The project or domain.
    #[sqlx(flatten)]
    pub project: Project,
    /// Separated by commas, in no order; a tag has none in it.
    pub tags: String,
}

impl Tagged {
    /// As (id, tag), sorted.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut tags: Vec<&str> = self.tags.split(',').filter(|tag| !tag.is_empty()).collect();
        tags.sort_unstable();
        tags.into_iter().map(|tag| (self.project.id.clone(), tag.to_owned())).collect()
    }
}

macro_rules! projects {
    ($from:literal, $condition:literal) => {
        listing!(
            "t.*, COALESCE((SELECT string_agg(g.tag, ',') FROM project_tag AS g WHERE g.project_id = t.id), '') AS tags",
            $from, enabled "t.enabled", $condition
        )
    };
}

/// The statements of [`list`].
pub(super) const LISTS: [&str; 5] = [
    projects!("project AS t", "t.is_domain = $9 AND ($10 = '' OR t.parent_id = $10)"),
    projects!("project AS t", "t.domain_id = $1 AND t.is_domain = $9 AND ($10 = '' OR t.parent_id = $10)"),
    projects!("project AS t", "t.name = $2 AND t.is_domain = $9 AND ($10 = '' OR t.parent_id = $10)"),
    projects!("project AS t", "t.parent_id = $10 AND t.is_domain = $9"),
    projects!(
        "project_tag AS w JOIN project AS t ON t.id = w.project_id",
        "w.tag = $11 AND t.is_domain = $9 AND ($10 = '' OR t.parent_id = $10)"
    ),
];

/// In the order of creation, so many at most.
pub async fn list<'e>(
    db: impl Exec<'e>,
    wanted: &'e Wanted,
    after: &'e After,
    limit: i64,
) -> Result<Vec<Tagged>> {
    let statement = match wanted {
        w if !w.name.is_empty() => LISTS[2],
        w if !w.parent_id.is_empty() => LISTS[3],
        w if !w.tag.is_empty() => LISTS[4],
        w if !w.domain_id.is_empty() => LISTS[1],
        _ => LISTS[0],
    };
    let query = bound(statement, wanted, after, limit)
        .bind(i64::from(wanted.domains))
        .bind(wanted.parent_id.as_str());
    // SQLite wants no more parameters than there are.
    fetch(db, if statement == LISTS[4] { query.bind(wanted.tag.as_str()) } else { query }).await
}

/// `WITH RECURSIVE mine …`, more common tables, and the page of the projects in `reach`. CROSS JOIN keeps SQLite to
/// the order in which they are written.
macro_rules! of_user {
    ($more:literal) => {
        concat!(
            "WITH RECURSIVE mine (kind, id, inherited) AS (",
            "SELECT target_kind, target_id, inherited FROM assignment WHERE actor_kind = 'user' AND actor_id = $9 ",
            "UNION SELECT a.target_kind, a.target_id, a.inherited FROM group_member AS m CROSS JOIN assignment AS a ",
            "WHERE a.actor_kind = 'group' AND a.actor_id = m.group_id AND m.user_id = $9), ",
            $more,
            projects!(
                "reach CROSS JOIN project AS t JOIN project AS o ON o.id = t.domain_id",
                "t.id = reach.id AND t.is_domain = 0 AND ($10 = 0 OR (t.enabled = 1 AND o.enabled = 1))"
            )
        )
    };
}

/// The statement of [`page_of_user`] for a user without inherited roles.
pub(super) const OF_USER: &str =
    of_user!("reach (id) AS (SELECT id FROM mine WHERE kind = 'project' AND inherited = 0) ");

/// The statement of [`page_of_user`] for the others. It looks at all that lies below what they inherit from.
pub(super) const OF_USER_INHERITED: &str = of_user!(
    "below (id) AS (SELECT p.id FROM mine CROSS JOIN project AS p WHERE p.parent_id = mine.id AND mine.inherited = 1 UNION SELECT p.id FROM below CROSS JOIN project AS p WHERE p.parent_id = below.id), reach (id) AS (SELECT id FROM mine WHERE kind = 'project' AND inherited = 0 UNION SELECT id FROM below) "
);

/// The projects that the user `wanted.owner` has a role on, directly, by a group or inherited, in the order of
/// creation, so many at most; with `usable` only those a token can be got for.
pub async fn page_of_user(
    db: &sqlx::AnyPool,
    wanted: &Wanted,
    usable: bool,
    after: &After,
    limit: i64,
) -> Result<Vec<Tagged>> {
    let assignments = super::assignment::list_of_user(db, &wanted.owner).await?;
    let statement = match assignments.iter().any(|a| a.inherited == 1) {
        true => OF_USER_INHERITED,
        false => OF_USER,
    };
    let query = bound(statement, wanted, after, limit).bind(wanted.owner.as_str()).bind(i64::from(usable));
    fetch(db, query).await
}

/// Whether the user has a role on the project, directly, by a group or inherited.
pub async fn is_of_user<'e>(db: impl Exec<'e>, user_id: &str, project_id: &str) -> Result<bool> {
    sqlx::query(IS_OF_USER)
        .bind(user_id)
        .bind(project_id)
        .fetch_optional(db)
        .await
        .map(|row| row.is_some())
        .map_err(db_error)
}

/// The statement of [`is_of_user`].
pub(super) const IS_OF_USER: &str = concat!(
    "WITH RECURSIVE above (id) AS (SELECT parent_id FROM project WHERE id = $2 AND parent_id <> '' ",
    "UNION SELECT p.parent_id FROM above CROSS JOIN project AS p WHERE p.id = above.id AND p.parent_id <> ''), ",
    "actor (kind, id) AS (SELECT 'user', $1 UNION ALL SELECT 'group', group_id FROM group_member WHERE user_id = $1) ",
    "SELECT 1 FROM actor CROSS JOIN assignment AS a WHERE a.actor_kind = actor.kind AND a.actor_id = actor.id ",
    "AND ((a.inherited = 0 AND a.target_kind = 'project' AND a.target_id = $2) ",
    "OR (a.inherited = 1 AND a.target_id IN (SELECT id FROM above))) LIMIT 1"
);

/// The statement of [`list_below`].
pub(super) const BELOW: &str = concat!(
    "WITH RECURSIVE below (id) AS (SELECT id FROM project WHERE parent_id = $1 ",
    "UNION SELECT p.id FROM below CROSS JOIN project AS p WHERE p.parent_id = below.id) ",
    "SELECT t.* FROM below CROSS JOIN project AS t WHERE t.id = below.id ORDER BY t.created_at, t.id"
);

/// The projects below a project or domain, at any depth, in the order of creation.
pub async fn list_below<'e>(db: impl Exec<'e>, id: &str) -> Result<Vec<Project>> {
    sqlx::query_as(BELOW).bind(id).fetch_all(db).await.map_err(db_error)
}

/// Whether there is a project right below.
pub async fn has_children<'e>(db: impl Exec<'e>, id: &str) -> Result<bool> {
    sqlx::query("SELECT 1 FROM project WHERE parent_id = $1 LIMIT 1")
        .bind(id)
        .fetch_optional(db)
        .await
        .map(|row| row.is_some())
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

/// A project's tags as (project, tag), sorted.
pub async fn tags<'e>(db: impl Exec<'e>, project_id: &str) -> Result<Vec<(String, String)>> {
    sqlx::query_as("SELECT project_id, tag FROM project_tag WHERE project_id = $1 ORDER BY tag")
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
