//! Host aggregates: named groups of hosts with metadata that schedulers read, and the zones made of them.

use super::hosts::next_number;
use ferrostack_db::{
    Db, Tx, db_error, is_unique_violation,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{Error, Result, Timestamp, host::HostAggregate, id};
use std::collections::{BTreeMap, HashMap};

/// The metadata key that is the zone.
pub const ZONE: &str = "availability_zone";

/// An aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// Number.
    pub id: i64,
    /// UUID.
    pub uuid: String,
    /// Name, unique.
    pub name: String,
    /// The zone of its hosts, if it gives them one.
    pub availability_zone: Option<String>,
    /// Metadata without the zone.
    pub metadata: BTreeMap<String, String>,
    /// Its hosts, by name.
    pub hosts: Vec<String>,
    /// Made at.
    pub created_at: Timestamp,
    /// Latest change of name, zone or metadata.
    pub updated_at: Option<Timestamp>,
}

impl Aggregate {
    /// The metadata as clients see it: with the zone.
    pub fn all_metadata(&self) -> BTreeMap<String, String> {
        let zone = self.availability_zone.iter().map(|zone| (ZONE.to_owned(), zone.clone()));
        self.metadata.clone().into_iter().chain(zone).collect()
    }
}

/// What is done to an aggregate, for the words of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Add,
    Update,
    Metadata,
}

impl Doing {
    /// Nova's refusal: a conflict of a host that is added, else a bad request.
    fn refused(self, id: i64, why: &str) -> Error {
        match self {
            Self::Add => Error::conflict(format!("Cannot add host to aggregate {id}. Reason: {why}.")),
            Self::Update => Error::bad_request(format!("Cannot update aggregate {id}. Reason: {why}.")),
            Self::Metadata => {
                Error::bad_request(format!("Cannot update metadata of aggregate {id}. Reason: {why}."))
            }
        }
    }
}

/// 404 in Nova's words.
pub fn not_found(id: i64) -> Error {
    Error::not_found(format!("Aggregate {id} could not be found."))
}

fn name_exists(name: &str) -> Error {
    Error::conflict(format!("Aggregate {name} already exists."))
}

fn read(row: &AnyRow) -> Result<Aggregate> {
    let text = |name: &str| row.try_get::<String, _>(name).map_err(db_error);
    let number = |name: &str| row.try_get::<i64, _>(name).map_err(db_error);
    Ok(Aggregate {
        id: number("id")?,
        uuid: text("uuid")?,
        name: text("name")?,
        availability_zone: row.try_get("availability_zone").map_err(db_error)?,
        metadata: serde_json::from_str(&text("metadata")?)
            .map_err(|e| Error::internal(format!("aggregates.metadata: {e}")))?,
        hosts: Vec::new(),
        created_at: Timestamp(number("created_at")?),
        updated_at: row.try_get::<Option<i64>, _>("updated_at").map_err(db_error)?.map(Timestamp),
    })
}

const SELECT: &str = "SELECT id, uuid, name, availability_zone, metadata, created_at, updated_at FROM aggregates \
     WHERE $1 = 0 OR id = $1 ORDER BY id";
const HOSTS: &str =
    "SELECT aggregate_id, host FROM aggregate_hosts WHERE $1 = 0 OR aggregate_id = $1 ORDER BY host";

fn join(rows: &[AnyRow], hosts: Vec<(i64, String)>) -> Result<Vec<Aggregate>> {
    let mut all: Vec<Aggregate> = rows.iter().map(read).collect::<Result<_>>()?;
    let index: HashMap<i64, usize> = all.iter().enumerate().map(|(at, a)| (a.id, at)).collect();
    for (id, host) in hosts {
        if let Some(at) = index.get(&id) {
            all[*at].hosts.push(host);
        }
    }
    Ok(all)
}

/// All aggregates, by number.
pub async fn list(db: &Db) -> Result<Vec<Aggregate>> {
    let rows = sqlx::query(SELECT).bind(0_i64).fetch_all(db.reader()).await.map_err(db_error)?;
    let hosts = sqlx::query_as(HOSTS).bind(0_i64).fetch_all(db.reader()).await.map_err(db_error)?;
    join(&rows, hosts)
}

/// An aggregate; 404 if there is none.
pub async fn get(db: &Db, id: i64) -> Result<Aggregate> {
    let rows = sqlx::query(SELECT).bind(id).fetch_all(db.reader()).await.map_err(db_error)?;
    let hosts = sqlx::query_as(HOSTS).bind(id).fetch_all(db.reader()).await.map_err(db_error)?;
    join(&rows, hosts)?.into_iter().find(|a| a.id == id).ok_or_else(|| not_found(id))
}

/// The aggregates of every host that is in any, as schedulers see them.
pub async fn by_host(db: &Db) -> Result<HashMap<String, Vec<HostAggregate>>> {
    let mut hosts: HashMap<String, Vec<HostAggregate>> = HashMap::new();
    for aggregate in list(db).await? {
        let seen = HostAggregate {
            id: aggregate.id,
            name: aggregate.name.clone(),
            metadata: aggregate.all_metadata(),
        };
        for host in aggregate.hosts {
            hosts.entry(host).or_default().push(seen.clone());
        }
    }
    Ok(hosts)
}

/// Makes an aggregate without hosts. 409 if the name is taken.
pub async fn insert(db: &Db, name: &str, zone: Option<&str>) -> Result<Aggregate> {
    let mut tx = db.begin_write().await?;
    let number = next_number(&mut tx, "aggregate").await?;
    let made = sqlx::query(
        "INSERT INTO aggregates (id, uuid, name, availability_zone, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(number)
    .bind(id::uuid())
    .bind(name)
    .bind(zone)
    .bind(Timestamp::now().0)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
    if made.rows_affected() == 0 {
        return Err(name_exists(name));
    }
    tx.commit().await.map_err(db_error)?;
    get(db, number).await
}

/// The aggregate with its row locked, so that changes of one aggregate wait for each other.
async fn lock(tx: &mut Tx, id: i64) -> Result<Aggregate> {
    sqlx::query("UPDATE aggregates SET generation = generation + 1 WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    let rows = sqlx::query(SELECT).bind(id).fetch_all(&mut **tx).await.map_err(db_error)?;
    let hosts = sqlx::query_as(HOSTS).bind(id).fetch_all(&mut **tx).await.map_err(db_error)?;
    join(&rows, hosts)?.into_iter().find(|a| a.id == id).ok_or_else(|| not_found(id))
}

/// Locks hosts (in the order of their names, as everybody does) and makes what schedulers know of them old.
async fn touch(tx: &mut Tx, hosts: &[String]) -> Result<()> {
    for host in hosts {
        sqlx::query("UPDATE hosts SET generation = generation + 1 WHERE host = $1")
            .bind(host)
            .execute(&mut **tx)
            .await
            .map_err(db_error)?;
    }
    Ok(())
}

/// Writes the zone that aggregates give `hosts`.
async fn write_zones(tx: &mut Tx, hosts: &[String]) -> Result<()> {
    for host in hosts {
        sqlx::query(
            "UPDATE hosts SET aggregate_zone = (SELECT MIN(a.availability_zone) FROM aggregates a \
             JOIN aggregate_hosts ah ON ah.aggregate_id = a.id WHERE ah.host = $1) WHERE host = $1",
        )
        .bind(host)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    }
    Ok(())
}

/// The zone of a host and how many servers are on it.
async fn zone_and_servers(tx: &mut Tx, host: &str) -> Result<Option<(String, i64)>> {
    sqlx::query_as(
        "SELECT COALESCE(h.aggregate_zone, h.availability_zone), CAST((SELECT COUNT(*) FROM servers s \
         WHERE s.host = h.host AND s.deleted_at IS NULL) AS BIGINT) FROM hosts h WHERE h.host = $1",
    )
    .bind(host)
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)
}

/// Refuses to give `hosts`, locked, the zone `zone` by the aggregate `id` if another one of theirs says otherwise.
async fn check_zone(tx: &mut Tx, doing: Doing, id: i64, hosts: &[String], zone: &str) -> Result<()> {
    let mut others = Vec::new();
    for host in hosts {
        let found: Vec<(i64, String)> = sqlx::query_as(
            "SELECT a.id, a.availability_zone FROM aggregates a JOIN aggregate_hosts ah ON ah.aggregate_id = a.id \
             WHERE ah.host = $1 AND a.id <> $2 AND a.availability_zone IS NOT NULL AND a.availability_zone <> $3",
        )
        .bind(host)
        .bind(id)
        .bind(zone)
        .fetch_all(&mut **tx)
        .await
        .map_err(db_error)?;
        others.extend(found);
    }
    others.sort();
    others.dedup();
    if others.is_empty() {
        return Ok(());
    }
    // As Python shows a list.
    let zones: Vec<String> = others.iter().map(|(_, zone)| format!("'{zone}'")).collect();
    Err(doing
        .refused(id, &format!("One or more hosts already in availability zone(s) [{}]", zones.join(", "))))
}

/// A new zone for a locked aggregate. Refused where Nova refuses: without a name, against another aggregate of a
/// host, and while there are servers on its hosts, whose zone would change under them.
async fn change_zone(tx: &mut Tx, doing: Doing, aggregate: &Aggregate, zone: Option<&str>) -> Result<()> {
    let Some(zone) = zone.filter(|z| !z.is_empty()) else {
        let why = format!("Aggregate {} does not support empty named availability zone", aggregate.name);
        return Err(doing.refused(aggregate.id, &why));
    };
    check_zone(tx, doing, aggregate.id, &aggregate.hosts, zone).await?;
    if aggregate.availability_zone.as_deref() == Some(zone) {
        return Ok(());
    }
    for host in &aggregate.hosts {
        if zone_and_servers(tx, host).await?.is_some_and(|(_, servers)| servers > 0) {
            return Err(doing.refused(aggregate.id, "One or more hosts contain instances in this zone"));
        }
    }
    sqlx::query("UPDATE aggregates SET availability_zone = $2 WHERE id = $1")
        .bind(aggregate.id)
        .bind(zone)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    write_zones(tx, &aggregate.hosts).await
}

/// Changes name and zone; `None` stays, a zone of `Some(None)` is refused. All or nothing.
pub async fn update(db: &Db, id: i64, name: Option<&str>, zone: Option<Option<&str>>) -> Result<Aggregate> {
    let mut tx = db.begin_write().await?;
    let aggregate = lock(&mut tx, id).await?;
    touch(&mut tx, &aggregate.hosts).await?;
    if let Some(zone) = zone {
        change_zone(&mut tx, Doing::Update, &aggregate, zone).await?;
    }
    let done = sqlx::query("UPDATE aggregates SET name = COALESCE($2, name), updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(name)
        .bind(Timestamp::now().0)
        .execute(&mut *tx)
        .await;
    if let Err(error) = done {
        let taken = is_unique_violation(&error);
        return Err(if taken { name_exists(name.unwrap_or_default()) } else { db_error(error) });
    }
    tx.commit().await.map_err(db_error)?;
    get(db, id).await
}

/// Merges `changes` into the metadata; `None` removes a key.
pub async fn set_metadata(db: &Db, id: i64, changes: &BTreeMap<String, Option<String>>) -> Result<Aggregate> {
    let mut tx = db.begin_write().await?;
    let mut aggregate = lock(&mut tx, id).await?;
    touch(&mut tx, &aggregate.hosts).await?;
    for (key, value) in changes {
        if key == ZONE {
            change_zone(&mut tx, Doing::Metadata, &aggregate, value.as_deref()).await?;
        } else if let Some(value) = value {
            aggregate.metadata.insert(key.clone(), value.clone());
        } else {
            aggregate.metadata.remove(key);
        }
    }
    let metadata = serde_json::to_string(&aggregate.metadata)
        .map_err(|e| Error::internal(format!("encoding aggregate metadata: {e}")))?;
    sqlx::query("UPDATE aggregates SET metadata = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(metadata)
        .bind(Timestamp::now().0)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
    tx.commit().await.map_err(db_error)?;
    get(db, id).await
}

/// Removes an aggregate, which must have no hosts.
pub async fn delete(db: &Db, id: i64) -> Result<()> {
    let mut tx = db.begin_write().await?;
    if !lock(&mut tx, id).await?.hosts.is_empty() {
        return Err(Error::bad_request(format!(
            "Cannot remove host from aggregate {id}. Reason: Host aggregate is not empty."
        )));
    }
    sqlx::query("DELETE FROM aggregates WHERE id = $1").bind(id).execute(&mut *tx).await.map_err(db_error)?;
    tx.commit().await.map_err(db_error)
}

fn would_move(doing: &str, from: &str, to: &str, servers: i64) -> String {
    format!(
        "The host cannot be {doing} the aggregate as the availability zone of the host would change from '{from}' to \
         '{to}' but the host already has {servers} instance(s). Changing the AZ of an existing instance is not \
         supported by this action. Move the instances away from this host then try again. If you need to move the \
         instances between AZs then you can use shelve_offload and unshelve to achieve this"
    )
}

/// Adds a host. 404 if there is no such host; 409 if it is in already, or its zone would become another while it is
/// in a zone by another aggregate or has servers.
pub async fn add_host(db: &Db, id: i64, host: &str) -> Result<Aggregate> {
    let mut tx = db.begin_write().await?;
    let known: Option<String> = sqlx::query_scalar("SELECT host FROM hosts WHERE host = $1")
        .bind(host)
        .fetch_optional(&mut *tx)
        .await
        .map_err(db_error)?;
    if known.is_none() {
        return Err(Error::not_found(format!("Compute host {host} could not be found.")));
    }
    let aggregate = lock(&mut tx, id).await?;
    let this = [host.to_owned()];
    touch(&mut tx, &this).await?;
    if aggregate.hosts.contains(&this[0]) {
        return Err(Error::conflict(format!("Aggregate {id} already has host {host}.")));
    }
    if let Some(zone) = &aggregate.availability_zone {
        check_zone(&mut tx, Doing::Add, id, &this, zone).await?;
        if let Some((now, servers)) = zone_and_servers(&mut tx, host).await?
            && now != *zone
            && servers > 0
        {
            return Err(Doing::Add.refused(id, &would_move("added to", &now, zone, servers)));
        }
    }
    sqlx::query("INSERT INTO aggregate_hosts (aggregate_id, host) VALUES ($1, $2)")
        .bind(id)
        .bind(host)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
    write_zones(&mut tx, &this).await?;
    tx.commit().await.map_err(db_error)?;
    get(db, id).await
}

/// Removes a host. In Nova's words 404 if it is not in, and 409 if servers on it would be in another zone.
pub async fn remove_host(db: &Db, id: i64, host: &str) -> Result<Aggregate> {
    let text = || format!("Cannot remove host {host} in aggregate {id}");
    let mut tx = db.begin_write().await?;
    let aggregate = lock(&mut tx, id).await.map_err(|_| Error::not_found(text()))?;
    let this = [host.to_owned()];
    if !aggregate.hosts.contains(&this[0]) {
        return Err(Error::not_found(text()));
    }
    touch(&mut tx, &this).await?;
    let before = zone_and_servers(&mut tx, host).await?;
    sqlx::query("DELETE FROM aggregate_hosts WHERE aggregate_id = $1 AND host = $2")
        .bind(id)
        .bind(host)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
    write_zones(&mut tx, &this).await?;
    let after = zone_and_servers(&mut tx, host).await?;
    if let (Some((from, servers)), Some((to, _))) = (before, after)
        && from != to
        && servers > 0
    {
        let why = would_move("removed from", &from, &to, servers);
        tracing::info!(host, aggregate = id, why, "host stays in its aggregate");
        return Err(Error::conflict(text()));
    }
    tx.commit().await.map_err(db_error)?;
    get(db, id).await
}
