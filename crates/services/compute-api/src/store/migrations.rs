//! Moves of servers between hosts and sizes: cold and live migrations, resizes and evacuations.

use super::{flavors::Flavor, numbers, servers::Server};
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{
    Error, Result, Timestamp,
    guest::GuestFlavor,
    id,
    migration::{Kind, Status},
    server::VmState,
};

/// One of a server's flavors, as kept with a migration.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    /// The public id.
    pub flavor_id: String,
    /// The internal number; none if the flavor is not in the catalog any more.
    pub number: Option<i64>,
    /// Its numbers.
    pub flavor: GuestFlavor,
}

impl Size {
    /// A flavor of the catalog.
    pub fn of(flavor: &Flavor) -> Self {
        Self { flavor_id: flavor.id.clone(), number: Some(flavor.number), flavor: flavor.guest() }
    }

    /// What a server is now.
    pub async fn of_server(db: &Db, server: &Server) -> Result<Self> {
        let number = sqlx::query_scalar("SELECT number FROM flavors WHERE id = $1")
            .bind(&server.flavor_id)
            .fetch_optional(db.reader())
            .await
            .map_err(db_error)?;
        Ok(Self { flavor_id: server.flavor_id.clone(), number, flavor: server.flavor.clone() })
    }

    /// GiB of host disk: root, ephemeral and swap rounded up.
    pub fn disk_gb(&self) -> i64 {
        let f = &self.flavor;
        i64::try_from(f.root_gb + f.ephemeral_gb + f.swap_mb.div_ceil(1024)).unwrap_or(i64::MAX)
    }
}

/// One side of a move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The service host.
    pub host: Option<String>,
    /// The hypervisor's name of it.
    pub node: Option<String>,
}

impl Place {
    /// Where a server is.
    pub fn of(server: &Server) -> Self {
        Self { host: server.host.clone(), node: server.node.clone() }
    }
}

/// How far the copying is; bytes, `None`: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All of it.
    pub total: Option<i64>,
    /// Done.
    pub processed: Option<i64>,
    /// To do.
    pub remaining: Option<i64>,
}

/// A row of `migrations`.
#[derive(Clone, Debug, PartialEq)]
pub struct Migration {
    /// The integer id.
    pub id: i64,
    /// The UUID, shown from 2.59.
    pub uuid: String,
    /// The server.
    pub server_id: String,
    /// `migration_type`
    pub kind: Kind,
    /// `status`
    pub status: Status,
    /// Who asked.
    pub user_id: String,
    /// In which project.
    pub project_id: String,
    /// By which request.
    pub request_id: Option<String>,
    /// From.
    pub source: Place,
    /// To; empty while it is being chosen.
    pub dest: Place,
    /// Address of the destination.
    pub dest_host: Option<String>,
    /// The size before.
    pub old: Size,
    /// The size after; the same for all but resizes.
    pub new: Size,
    /// What the server was before.
    pub old_vm_state: VmState,
    /// Memory copied.
    pub memory: Progress,
    /// Disk copied.
    pub disk: Progress,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Latest change.
    pub updated_at: Timestamp,
}

/// A new row.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// The server, where it is now.
    pub server: &'a Server,
    /// What kind of move.
    pub kind: Kind,
    /// The first status.
    pub status: Status,
    /// Who asks.
    pub user_id: &'a str,
    /// In which project.
    pub project_id: &'a str,
    /// The request.
    pub request_id: &'a str,
    /// The size now.
    pub old: &'a Size,
    /// The size wanted.
    pub new: &'a Size,
}

macro_rules! columns {
    () => {
        "id, uuid, server_id, type, status, user_id, project_id, request_id, source_compute, source_node, \
         dest_compute, dest_node, dest_host, old_flavor_id, old_flavor_number, old_flavor, new_flavor_id, \
         new_flavor_number, new_flavor, old_vm_state, memory_total, memory_processed, memory_remaining, disk_total, \
         disk_processed, disk_remaining, created_at, updated_at"
    };
}

fn read(row: &AnyRow) -> Result<Migration> {
    let text = |i: usize| row.try_get::<String, _>(i).map_err(db_error);
    let opt = |i: usize| row.try_get::<Option<String>, _>(i).map_err(db_error);
    let number = |i: usize| row.try_get::<i64, _>(i).map_err(db_error);
    let maybe = |i: usize| row.try_get::<Option<i64>, _>(i).map_err(db_error);
    let bad = |what: &str, value: &str| Error::internal(format!("migrations.{what}: unknown {value}"));
    let size = |id: usize| {
        let flavor = text(id + 2)?;
        let flavor = serde_json::from_str(&flavor).map_err(|e| bad("flavor", &e.to_string()))?;
        Ok::<_, Error>(Size { flavor_id: text(id)?, number: maybe(id + 1)?, flavor })
    };
    let progress = |i: usize| {
        Ok::<_, Error>(Progress { total: maybe(i)?, processed: maybe(i + 1)?, remaining: maybe(i + 2)? })
    };
    let (kind, status, vm_state) = (text(3)?, text(4)?, text(19)?);
    Ok(Migration {
        id: number(0)?,
        uuid: text(1)?,
        server_id: text(2)?,
        kind: Kind::parse(&kind).ok_or_else(|| bad("type", &kind))?,
        status: Status::parse(&status).ok_or_else(|| bad("status", &status))?,
        user_id: text(5)?,
        project_id: text(6)?,
        request_id: opt(7)?,
        source: Place { host: opt(8)?, node: opt(9)? },
        dest: Place { host: opt(10)?, node: opt(11)? },
        dest_host: opt(12)?,
        old: size(13)?,
        new: size(16)?,
        old_vm_state: VmState::parse(&vm_state).ok_or_else(|| bad("old_vm_state", &vm_state))?,
        memory: progress(20)?,
        disk: progress(23)?,
        created_at: Timestamp(number(26)?),
        updated_at: Timestamp(number(27)?),
    })
}

/// Adds a row; its id.
pub async fn insert(tx: &mut Tx, new: New<'_>) -> Result<i64> {
    let number = numbers::next(tx, "migration").await?;
    let encode = |size: &Size| {
        serde_json::to_string(&size.flavor).map_err(|e| Error::internal(format!("encoding a flavor: {e}")))
    };
    let server = new.server;
    sqlx::query(
        "INSERT INTO migrations (id, uuid, server_id, type, status, user_id, project_id, request_id, source_compute,
             source_node, old_flavor_id, old_flavor_number, old_flavor, new_flavor_id, new_flavor_number, new_flavor,
             old_vm_state, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)",
    )
    .bind(number)
    .bind(id::uuid())
    .bind(&server.id)
    .bind(new.kind.as_str())
    .bind(new.status.as_str())
    .bind(new.user_id)
    .bind(new.project_id)
    .bind(new.request_id)
    .bind(&server.host)
    .bind(&server.node)
    .bind(&new.old.flavor_id)
    .bind(new.old.number)
    .bind(encode(new.old)?)
    .bind(&new.new.flavor_id)
    .bind(new.new.number)
    .bind(encode(new.new)?)
    .bind(server.vm_state.as_str())
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(number)
}

/// Goes on to another status; whether the row is there.
pub async fn set_status(tx: &mut Tx, id: i64, status: Status) -> Result<bool> {
    sqlx::query("UPDATE migrations SET status = $2, updated_at = $3 WHERE id = $1")
        .bind(id)
        .bind(status.as_str())
        .bind(Timestamp::now().0)
        .execute(&mut **tx)
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(db_error)
}

/// Goes on from one status to another; whether it was in `before`.
pub async fn advance(tx: &mut Tx, id: i64, before: Status, status: Status) -> Result<bool> {
    sqlx::query("UPDATE migrations SET status = $3, updated_at = $4 WHERE id = $1 AND status = $2")
        .bind(id)
        .bind(before.as_str())
        .bind(status.as_str())
        .bind(Timestamp::now().0)
        .execute(&mut **tx)
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(db_error)
}

/// Notes the destination; `None` takes it back.
pub async fn set_dest(tx: &mut Tx, id: i64, dest: &Place, address: Option<&str>) -> Result<()> {
    sqlx::query(
        "UPDATE migrations SET dest_compute = $2, dest_node = $3, dest_host = $4, updated_at = $5 WHERE id = $1",
    )
    .bind(id)
    .bind(&dest.host)
    .bind(&dest.node)
    .bind(address)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Notes how far it is, without touching its status.
pub async fn set_progress(db: &Db, id: i64, memory: Progress, disk: Progress) -> Result<()> {
    sqlx::query(
        "UPDATE migrations SET memory_total = $2, memory_processed = $3, memory_remaining = $4, disk_total = $5,
             disk_processed = $6, disk_remaining = $7, updated_at = $8 WHERE id = $1",
    )
    .bind(id)
    .bind(memory.total)
    .bind(memory.processed)
    .bind(memory.remaining)
    .bind(disk.total)
    .bind(disk.processed)
    .bind(disk.remaining)
    .bind(Timestamp::now().0)
    .execute(db.writer())
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// A migration by its integer id.
pub async fn get(db: &Db, id: i64) -> Result<Option<Migration>> {
    sqlx::query(concat!("SELECT ", columns!(), " FROM migrations WHERE id = $1"))
        .bind(id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?
        .map(|row| read(&row))
        .transpose()
}

/// A migration by its integer id inside a transaction.
pub async fn get_in(tx: &mut Tx, id: i64) -> Result<Option<Migration>> {
    sqlx::query(concat!("SELECT ", columns!(), " FROM migrations WHERE id = $1"))
        .bind(id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?
        .map(|row| read(&row))
        .transpose()
}

/// A migration by its UUID.
pub async fn by_uuid(db: &Db, uuid: &str) -> Result<Option<Migration>> {
    sqlx::query(concat!("SELECT ", columns!(), " FROM migrations WHERE uuid = $1"))
        .bind(uuid)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?
        .map(|row| read(&row))
        .transpose()
}

/// The latest migration of a server in `status`.
pub async fn of_server(db: &Db, server_id: &str, status: Status) -> Result<Option<Migration>> {
    sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM migrations WHERE server_id = $1 AND status = $2 ORDER BY id DESC LIMIT 1"
    ))
    .bind(server_id)
    .bind(status.as_str())
    .fetch_optional(db.reader())
    .await
    .map_err(db_error)?
    .map(|row| read(&row))
    .transpose()
}

/// Live migrations of a server that go on, oldest first.
pub async fn live_of_server(db: &Db, server_id: &str) -> Result<Vec<Migration>> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM migrations WHERE server_id = $1 AND type = 'live-migration'
          AND status IN ('queued', 'preparing', 'running', 'post-migrating') ORDER BY id"
    ))
    .bind(server_id)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// Resizes and cold migrations that wait for a decision since before `before`, oldest first.
pub async fn undecided(db: &Db, before: Timestamp, limit: i64) -> Result<Vec<Migration>> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM migrations WHERE status = 'finished' AND updated_at <= $1 ORDER BY updated_at LIMIT $2"
    ))
    .bind(before.0)
    .bind(limit)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// Whether a move of the server that is not over may still need its guest on `host`.
pub async fn keeps(db: &Db, server_id: &str, host: &str) -> Result<bool> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM migrations WHERE server_id = $1 AND (source_compute = $2 OR dest_compute = $2)
             AND type <> 'evacuation' AND status NOT IN ('confirmed', 'reverted', 'error', 'failed', 'completed',
             'cancelled', 'done')",
    )
    .bind(server_id)
    .bind(host)
    .fetch_one(db.reader())
    .await
    .map_err(db_error)?;
    Ok(count > 0)
}

/// Ends what a server's deletion leaves open: what was only to be confirmed is, the rest has failed.
pub async fn end_for_deleted(tx: &mut Tx, server_id: &str) -> Result<()> {
    sqlx::query(
        "UPDATE migrations SET updated_at = $2,
             status = CASE WHEN status IN ('finished', 'confirming') THEN 'confirmed' ELSE 'error' END
         WHERE server_id = $1 AND status NOT IN ('confirmed', 'reverted', 'error', 'failed', 'completed', 'cancelled',
             'done')",
    )
    .bind(server_id)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Which migrations a list wants; `None` is any.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    /// Of this server.
    pub server_id: Option<&'a str>,
    /// From or to this host.
    pub host: Option<&'a str>,
    /// From this host.
    pub source_compute: Option<&'a str>,
    /// In this status.
    pub status: Option<&'a str>,
    /// Of this kind.
    pub kind: Option<&'a str>,
    /// Asked for by this user.
    pub user_id: Option<&'a str>,
    /// Asked for in this project.
    pub project_id: Option<&'a str>,
    /// Changed at or after.
    pub since: Option<Timestamp>,
    /// Changed at or before.
    pub before: Option<Timestamp>,
    /// After this one in the list's order.
    pub after: Option<(Timestamp, i64)>,
}

/// Migrations, newest first, at most `limit`.
pub async fn list(db: &Db, filter: &Filter<'_>, limit: i64) -> Result<Vec<Migration>> {
    let (time, id) = filter.after.map_or((i64::MAX, i64::MAX), |(time, id)| (time.0, id));
    let rows = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM migrations WHERE hidden = 0
             AND (CAST($1 AS TEXT) IS NULL OR server_id = $1)
             AND (CAST($2 AS TEXT) IS NULL OR source_compute = $2 OR dest_compute = $2)
             AND (CAST($3 AS TEXT) IS NULL OR source_compute = $3)
             AND (CAST($4 AS TEXT) IS NULL OR status = $4)
             AND (CAST($5 AS TEXT) IS NULL OR type = $5)
             AND (CAST($6 AS TEXT) IS NULL OR user_id = $6)
             AND (CAST($7 AS TEXT) IS NULL OR project_id = $7)
             AND updated_at >= $8 AND updated_at <= $9
             AND (created_at < $10 OR (created_at = $10 AND id < $11))
         ORDER BY created_at DESC, id DESC LIMIT $12"
    ))
    .bind(filter.server_id)
    .bind(filter.host)
    .bind(filter.source_compute)
    .bind(filter.status)
    .bind(filter.kind)
    .bind(filter.user_id)
    .bind(filter.project_id)
    .bind(filter.since.map_or(i64::MIN, |t| t.0))
    .bind(filter.before.map_or(i64::MAX, |t| t.0))
    .bind(time)
    .bind(id)
    .bind(limit)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    rows.iter().map(read).collect()
}
