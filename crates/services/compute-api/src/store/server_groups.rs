//! Server groups, their members, and the rule that a claim must keep.

use super::quota;
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{
    Error, Result, Timestamp,
    placement::{GroupPolicy, GroupWish},
};
use std::collections::{BTreeMap, HashMap};

/// A row of `server_groups`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerGroup {
    /// UUID.
    pub id: String,
    /// Owner.
    pub project_id: String,
    /// Creator.
    pub user_id: String,
    /// Name, not unique.
    pub name: String,
    /// Policy.
    pub policy: GroupPolicy,
    /// The rule of an anti-affinity group.
    pub max_server_per_host: Option<i64>,
    /// POST.
    pub created_at: Timestamp,
}

macro_rules! columns {
    () => {
        "id, project_id, user_id, name, policy, max_server_per_host, created_at"
    };
}

/// The hosts that members of group $1 hold something of, but for server $2: where they are, and where they move to.
macro_rules! held {
    () => {
        "SELECT c.server_id, c.host FROM server_group_members m JOIN claims c ON c.server_id = m.server_id
         WHERE m.group_id = $1 AND m.server_id <> $2
         UNION
         SELECT c.server_id, c.host FROM server_group_members m JOIN move_claims c ON c.server_id = m.server_id
         WHERE m.group_id = $1 AND m.server_id <> $2"
    };
}

fn policy(text: &str) -> Result<GroupPolicy> {
    GroupPolicy::parse(text)
        .ok_or_else(|| Error::internal(format!("unknown policy of a server group: {text}")))
}

fn read(row: &AnyRow) -> Result<ServerGroup> {
    let text = |i: usize| row.try_get::<String, _>(i).map_err(db_error);
    Ok(ServerGroup {
        id: text(0)?,
        project_id: text(1)?,
        user_id: text(2)?,
        name: text(3)?,
        policy: policy(&text(4)?)?,
        max_server_per_host: row.try_get(5).map_err(db_error)?,
        created_at: Timestamp(row.try_get(6).map_err(db_error)?),
    })
}

/// Nova's words for a group that is not there.
pub fn not_found(id: &str) -> Error {
    let short: String = id.chars().take(255).collect();
    Error::not_found(format!("Instance group {short} could not be found."))
}

/// Adds a group. 403 in Nova's words if its project or user has as many as it may; parallel calls cannot exceed that.
pub async fn insert(db: &Db, new: &ServerGroup, defaults: &ferrostack_settings::Quota) -> Result<()> {
    let of_project = quota::limits(db, &new.project_id, defaults).await?.server_groups;
    let of_user = quota::user_limits(db, &new.project_id, &new.user_id, defaults).await?.server_groups;
    let mut tx = db.begin_write().await?;
    quota::lock_owner(&mut tx, "project", &new.project_id).await?;
    let (all, own): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN user_id = $2 THEN 1 ELSE 0 END), 0) AS BIGINT)
         FROM server_groups WHERE project_id = $1",
    )
    .bind(&new.project_id)
    .bind(&new.user_id)
    .fetch_one(&mut *tx)
    .await
    .map_err(db_error)?;
    // A user's limit is the project's where none is set for the user: it then says nothing new.
    if (of_project >= 0 && all >= of_project) || (of_user >= 0 && own >= of_user) {
        return Err(Error::forbidden("Quota exceeded, too many server groups."));
    }
    sqlx::query(
        "INSERT INTO server_groups (id, project_id, user_id, name, policy, max_server_per_host, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&new.id)
    .bind(&new.project_id)
    .bind(&new.user_id)
    .bind(&new.name)
    .bind(new.policy.as_str())
    .bind(new.max_server_per_host)
    .bind(new.created_at.0)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
    tx.commit().await.map_err(db_error)
}

/// A group, else 404.
pub async fn get(db: &Db, id: &str) -> Result<ServerGroup> {
    sqlx::query(concat!("SELECT ", columns!(), " FROM server_groups WHERE id = $1"))
        .bind(id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?
        .map(|row| read(&row))
        .transpose()?
        .ok_or_else(|| not_found(id))
}

/// Groups of a project, or all, in the order they were made.
pub async fn list(db: &Db, project_id: Option<&str>, limit: i64, offset: i64) -> Result<Vec<ServerGroup>> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM server_groups WHERE ($1 = '' OR project_id = $1) ORDER BY created_at, id LIMIT $2 OFFSET $3"
    ))
    .bind(project_id.unwrap_or(""))
    .bind(limit)
    .bind(offset)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// How many groups a project has, or one user in it if `user_id` is not empty.
pub async fn count(db: &Db, project_id: &str, user_id: &str) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT COUNT(*) FROM server_groups WHERE project_id = $1 AND ($2 = '' OR user_id = $2)",
    )
    .bind(project_id)
    .bind(user_id)
    .fetch_one(db.reader())
    .await
    .map_err(db_error)
}

/// Removes a group; its servers go on without it. 404 if there is none.
pub async fn delete(db: &Db, id: &str) -> Result<()> {
    let mut tx = db.begin_write().await?;
    // The group's row first: a creation that is about to join holds it.
    if lock(&mut tx, id).await?.is_none() {
        return Err(not_found(id));
    }
    for statement in
        ["DELETE FROM server_group_members WHERE group_id = $1", "DELETE FROM server_groups WHERE id = $1"]
    {
        sqlx::query(statement).bind(id).execute(&mut *tx).await.map_err(db_error)?;
    }
    tx.commit().await.map_err(db_error)
}

async fn lock(tx: &mut Tx, id: &str) -> Result<Option<i64>> {
    sqlx::query_scalar(
        "UPDATE server_groups SET generation = generation + 1 WHERE id = $1 RETURNING generation",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)
}

/// Makes room for `count` new servers of `user_id` in a group and holds the group until the transaction ends. 400 if
/// it is gone, 403 if the user would have more than `limit` (-1: any number) in it.
pub async fn admit(tx: &mut Tx, id: &str, user_id: &str, count: i64, limit: i64) -> Result<()> {
    if lock(tx, id).await?.is_none() {
        return Err(Error::bad_request(not_found(id).public));
    }
    let own: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM server_group_members m JOIN servers s ON s.id = m.server_id
         WHERE m.group_id = $1 AND m.user_id = $2 AND s.deleted_at IS NULL",
    )
    .bind(id)
    .bind(user_id)
    .fetch_one(&mut **tx)
    .await
    .map_err(db_error)?;
    if limit >= 0 && own.saturating_add(count) > limit {
        return Err(Error::forbidden("Quota exceeded, too many servers in group"));
    }
    Ok(())
}

/// Puts a new server into a group that [`admit`]ted it.
pub async fn join(tx: &mut Tx, id: &str, server_id: &str, user_id: &str) -> Result<()> {
    sqlx::query("INSERT INTO server_group_members (server_id, group_id, user_id) VALUES ($1, $2, $3)")
        .bind(server_id)
        .bind(id)
        .bind(user_id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// The living members of groups, oldest first.
pub async fn members(db: &Db, groups: &[ServerGroup]) -> Result<HashMap<String, Vec<String>>> {
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for part in groups.chunks(500) {
        let marks: Vec<String> = (1..=part.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT m.group_id, m.server_id FROM server_group_members m JOIN servers s ON s.id = m.server_id
             WHERE s.deleted_at IS NULL AND m.group_id IN ({}) ORDER BY s.created_at, s.id",
            marks.join(", ")
        );
        let mut query = sqlx::query_as::<_, (String, String)>(sqlx::AssertSqlSafe(sql));
        for group in part {
            query = query.bind(&group.id);
        }
        for (group, server) in query.fetch_all(db.reader()).await.map_err(db_error)? {
            found.entry(group).or_default().push(server);
        }
    }
    Ok(found)
}

/// The group of a server.
pub async fn of_server(db: &Db, server_id: &str) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT group_id FROM server_group_members WHERE server_id = $1")
        .bind(server_id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)
}

/// What placing a server must know of its group: the policy, and where the others are.
pub async fn wish(db: &Db, server_id: &str) -> Result<Option<GroupWish>> {
    let group: Option<(String, String, Option<i64>)> = sqlx::query_as(
        "SELECT g.id, g.policy, g.max_server_per_host FROM server_groups g
         JOIN server_group_members m ON m.group_id = g.id WHERE m.server_id = $1",
    )
    .bind(server_id)
    .fetch_optional(db.reader())
    .await
    .map_err(db_error)?;
    let Some((id, text, max_server_per_host)) = group else { return Ok(None) };
    let hosts: Vec<(String, i64)> = sqlx::query_as(concat!(
        "SELECT x.host, CAST(COUNT(*) AS BIGINT) FROM (",
        held!(),
        ") x GROUP BY x.host"
    ))
    .bind(id)
    .bind(server_id)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    let hosts: BTreeMap<String, i64> = hosts.into_iter().collect();
    Ok(Some(GroupWish { policy: policy(&text)?, max_server_per_host, hosts }))
}

/// Whether the policy of the server's group lets it claim `host`. Holds the group until the transaction ends, so that
/// claims of its members are judged one after the other: schedulers that decide at the same time cannot see each
/// other. Only the hard policies are rules.
pub async fn permits(tx: &mut Tx, server_id: &str, host: &str) -> Result<bool> {
    let group: Option<(String, String, Option<i64>)> = sqlx::query_as(
        "UPDATE server_groups SET generation = generation + 1
         WHERE id = (SELECT group_id FROM server_group_members WHERE server_id = $1)
             AND policy IN ('affinity', 'anti-affinity')
         RETURNING id, policy, max_server_per_host",
    )
    .bind(server_id)
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)?;
    let Some((id, text, max_server_per_host)) = group else { return Ok(true) };
    let (here, elsewhere): (i64, i64) = sqlx::query_as(concat!(
        "SELECT CAST(COALESCE(SUM(CASE WHEN x.host = $3 THEN 1 ELSE 0 END), 0) AS BIGINT),
                 CAST(COALESCE(SUM(CASE WHEN x.host = $3 THEN 0 ELSE 1 END), 0) AS BIGINT) FROM (",
        held!(),
        ") x"
    ))
    .bind(id)
    .bind(server_id)
    .bind(host)
    .fetch_one(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(match policy(&text)? {
        // Members that came apart (an operator's move) leave the choice among their hosts.
        GroupPolicy::Affinity => elsewhere == 0 || here > 0,
        GroupPolicy::AntiAffinity => here < max_server_per_host.unwrap_or(1),
        GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity => true,
    })
}
