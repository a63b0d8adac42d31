//! Networks.

use super::{encode, flag, json, number, text, time};
use ferrostack_db::{
    Change, Db, Tx, db_error, is_foreign_key_violation,
    sqlx::{self, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp};

/// A virtual network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// UUID.
    pub id: String,
    /// Owner; empty for the bootstrapped network before the service project is known.
    pub project_id: String,
    /// Name, not unique.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Whether it is meant to work.
    pub admin_state_up: bool,
    /// Whether every project may use it.
    pub shared: bool,
    /// Largest packet, bytes.
    pub mtu: i64,
    /// Default of its ports' attribute of the same name; false while nothing filters.
    pub port_security_enabled: bool,
    /// Domain of its ports' DNS names, ending in a dot, or empty.
    pub dns_domain: String,
    /// Zones asked for.
    pub availability_zone_hints: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Made.
    pub created_at: Timestamp,
    /// Last changed.
    pub updated_at: Timestamp,
    /// Raised by every change; `revision_number`.
    pub generation: i64,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, project_id, name, description, admin_state_up, shared, mtu, port_security_enabled,
                    dns_domain, availability_zone_hints, tags, created_at, updated_at, generation FROM network ",
            $tail
        )
    };
}

/// Which networks a list looks at; the rest of the query is applied to these.
#[derive(Clone, Debug)]
pub enum Scope<'a> {
    /// By id.
    Id(&'a str),
    /// By name.
    Name(&'a str),
    /// Of a project, and shared ones.
    Visible(&'a str),
    /// All.
    All,
}

fn read(row: &AnyRow) -> Result<Network> {
    Ok(Network {
        id: text(row, "id")?,
        project_id: text(row, "project_id")?,
        name: text(row, "name")?,
        description: text(row, "description")?,
        admin_state_up: flag(row, "admin_state_up")?,
        shared: flag(row, "shared")?,
        mtu: number(row, "mtu")?,
        port_security_enabled: flag(row, "port_security_enabled")?,
        dns_domain: text(row, "dns_domain")?,
        availability_zone_hints: json(row, "availability_zone_hints")?,
        tags: json(row, "tags")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        generation: number(row, "generation")?,
    })
}

/// Inserts; `false` if the id exists.
pub async fn insert(tx: &mut Tx, n: &Network) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO network (id, project_id, name, description, admin_state_up, shared, mtu, port_security_enabled,
                              dns_domain, availability_zone_hints, tags, created_at, updated_at, generation)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
    )
    .bind(&n.id)
    .bind(&n.project_id)
    .bind(&n.name)
    .bind(&n.description)
    .bind(i64::from(n.admin_state_up))
    .bind(i64::from(n.shared))
    .bind(n.mtu)
    .bind(i64::from(n.port_security_enabled))
    .bind(&n.dns_domain)
    .bind(encode(&n.availability_zone_hints)?)
    .bind(encode(&n.tags)?)
    .bind(n.created_at.0)
    .bind(n.updated_at.0)
    .bind(n.generation)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(done.rows_affected() == 1)
}

/// The network `id`.
pub async fn get(db: &Db, id: &str) -> Result<Option<Network>> {
    if !super::storable(id) {
        return Ok(None);
    }
    let row = sqlx::query(select!("WHERE id = $1")).bind(id).fetch_optional(db.reader()).await;
    row.map_err(db_error)?.as_ref().map(read).transpose()
}

/// The networks of `scope`, by id.
pub async fn list(db: &Db, scope: &Scope<'_>) -> Result<Vec<Network>> {
    let query = match scope {
        Scope::Id(id) => sqlx::query(select!("WHERE id = $1")).bind(*id),
        Scope::Name(name) => sqlx::query(select!("WHERE name = $1 ORDER BY id")).bind(*name),
        Scope::Visible(project) => {
            sqlx::query(select!("WHERE project_id = $1 OR shared = 1 ORDER BY id")).bind(*project)
        }
        Scope::All => sqlx::query(select!("ORDER BY id")),
    };
    query.fetch_all(db.reader()).await.map_err(db_error)?.iter().map(read).collect()
}

/// Writes `n` over the row that still has `n.generation`, and raises the generation.
pub async fn update(tx: &mut Tx, n: &Network) -> Result<Change> {
    let done = sqlx::query(
        "UPDATE network SET name = $3, description = $4, admin_state_up = $5, shared = $6, mtu = $7,
                port_security_enabled = $8, dns_domain = $9, tags = $10, updated_at = $11, generation = generation + 1
         WHERE id = $1 AND generation = $2",
    )
    .bind(&n.id)
    .bind(n.generation)
    .bind(&n.name)
    .bind(&n.description)
    .bind(i64::from(n.admin_state_up))
    .bind(i64::from(n.shared))
    .bind(n.mtu)
    .bind(i64::from(n.port_security_enabled))
    .bind(&n.dns_domain)
    .bind(encode(&n.tags)?)
    .bind(n.updated_at.0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(if done.rows_affected() == 1 { Change::Updated } else { Change::Stale })
}

/// Whether there is a network without an owner.
pub async fn any_without_owner(db: &Db) -> Result<bool> {
    let row =
        sqlx::query("SELECT id FROM network WHERE project_id = '' LIMIT 1").fetch_optional(db.reader()).await;
    Ok(row.map_err(db_error)?.is_some())
}

/// Raises the generation of a network whose subnets change; the row is locked until the transaction ends.
/// Whether there is such a network.
pub async fn touch(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool> {
    let done = sqlx::query("UPDATE network SET generation = generation + 1, updated_at = $2 WHERE id = $1")
        .bind(id)
        .bind(now.0)
        .execute(&mut **tx)
        .await;
    Ok(done.map_err(db_error)?.rows_affected() == 1)
}

/// Gives the networks without an owner, and their subnets, to `project_id`.
pub async fn adopt(tx: &mut Tx, project_id: &str) -> Result<()> {
    for sql in [
        "UPDATE network SET project_id = $1 WHERE project_id = ''",
        "UPDATE subnet SET project_id = $1 WHERE project_id = ''",
    ] {
        sqlx::query(sql).bind(project_id).execute(&mut **tx).await.map_err(db_error)?;
    }
    Ok(())
}

/// Whether a project other than `owner` has ports or subnets on the network.
pub async fn used_by_others(tx: &mut Tx, id: &str, owner: &str) -> Result<bool> {
    let row = sqlx::query(
        "SELECT id FROM port WHERE network_id = $1 AND project_id <> $2
         UNION ALL SELECT id FROM subnet WHERE network_id = $1 AND project_id <> $2 LIMIT 1",
    )
    .bind(id)
    .bind(owner)
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(row.is_some())
}

/// Deletes the network with its subnets. `Conflict` if it has ports; whether there was such a network.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<bool> {
    let rows = sqlx::query("SELECT id FROM subnet WHERE network_id = $1 ORDER BY id")
        .bind(id)
        .fetch_all(&mut **tx)
        .await
        .map_err(db_error)?;
    for row in &rows {
        // Before anything else, as whoever allocates addresses does: so the two cannot lock each other out.
        super::allocation::lock(tx, &text(row, "id")?).await?;
    }
    let ports = sqlx::query("SELECT id FROM port WHERE network_id = $1 ORDER BY id LIMIT 20")
        .bind(id)
        .fetch_all(&mut **tx)
        .await
        .map_err(db_error)?;
    if !ports.is_empty() {
        let ids = ports.iter().map(|row| text(row, "id")).collect::<Result<Vec<_>>>()?;
        return Err(in_use(id, &ids));
    }
    for row in &rows {
        super::subnet::delete(tx, &text(row, "id")?).await?;
    }
    match sqlx::query("DELETE FROM network WHERE id = $1").bind(id).execute(&mut **tx).await {
        Ok(done) => Ok(done.rows_affected() == 1),
        // A port or subnet was added a moment ago.
        Err(e) if is_foreign_key_violation(&e) => Err(in_use(id, &[])),
        Err(e) => Err(db_error(e)),
    }
}

fn in_use(id: &str, ports: &[String]) -> Error {
    let which = if ports.is_empty() {
        String::new()
    } else {
        format!(", id for these ports is: {}", ports.join(","))
    };
    Error::conflict(format!(
        "Unable to complete operation on network {id}. There are one or more ports still in use on the network{which}."
    ))
    .named("NetworkInUse")
}
