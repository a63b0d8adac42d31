//! Flavors, their extra specs and who may use them.

use super::numbers;
use ferrostack_db::{Db, Tx, db_error, is_unique_violation, sqlx};
use ferrostack_model::{Error, Result, Timestamp, guest::GuestFlavor, id};
use serde::{Deserialize, Serialize};
use sqlx::{Row, any::AnyRow};
use std::collections::BTreeMap;

/// What a server is made of: sizes and extra specs. Serializes for keeping a copy with a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flavor {
    /// The id clients use (Nova's flavorid).
    pub id: String,
    /// The internal integer id.
    pub number: i64,
    /// Name, unique; `original_name` where a server embeds it.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: i64,
    /// MiB.
    pub memory_mb: i64,
    /// Root disk, GiB; 0 is the size of the image.
    pub root_gb: i64,
    /// Ephemeral disk, GiB.
    pub ephemeral_gb: i64,
    /// Swap disk, MiB.
    pub swap_mb: i64,
    /// Bandwidth factor; only shown.
    pub rxtx_factor: f64,
    /// Whether every project may use it.
    pub is_public: bool,
    /// Always false by the API of today; shown.
    pub disabled: bool,
    /// Free text.
    pub description: Option<String>,
    /// Extra specs in the order of their keys.
    pub extra_specs: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its description was last changed.
    pub updated_at: Option<Timestamp>,
}

impl Flavor {
    /// What agents get of it.
    pub fn guest(&self) -> GuestFlavor {
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        GuestFlavor {
            name: self.name.clone(),
            vcpus: u32::try_from(self.vcpus).unwrap_or(1),
            ram_mb: number(self.memory_mb),
            root_gb: number(self.root_gb),
            ephemeral_gb: number(self.ephemeral_gb),
            swap_mb: number(self.swap_mb),
            extra_specs: self.extra_specs.clone(),
        }
    }
}

/// Whose flavors are looked at: a project sees public ones and those it was given, an admin all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer<'a> {
    /// Everything.
    Admin,
    /// Public ones and those this project has access to.
    Project(&'a str),
}

impl Viewer<'_> {
    /// What `caller` sees.
    pub fn of(caller: &ferrostack_model::Caller) -> Viewer<'_> {
        if caller.is_admin() { Viewer::Admin } else { Viewer::Project(caller.project_id()) }
    }
}

/// 404 in Nova's words.
pub fn not_found(id: &str) -> Error {
    let short: String = id.chars().take(255).collect();
    Error::not_found(format!("Flavor {short} could not be found."))
}

/// The flavor with `id` if `viewer` may see it, else 404.
pub async fn get_by_id(db: &Db, id: &str, viewer: Viewer<'_>) -> Result<Flavor> {
    let row = match viewer {
        Viewer::Admin => sqlx::query("SELECT * FROM flavors WHERE id = $1").bind(id),
        Viewer::Project(project) => sqlx::query(
            "SELECT * FROM flavors WHERE id = $1 AND (is_public = 1 OR EXISTS \
             (SELECT 1 FROM flavor_access a WHERE a.flavor_id = flavors.id AND a.project_id = $2))",
        )
        .bind(id)
        .bind(project),
    };
    let row = row.fetch_optional(db.reader()).await.map_err(db_error)?.ok_or_else(|| not_found(id))?;
    let mut flavor = read(&row)?;
    let specs = sqlx::query("SELECT key, value FROM flavor_extra_specs WHERE flavor_id = $1")
        .bind(id)
        .fetch_all(db.reader())
        .await
        .map_err(db_error)?;
    for spec in specs {
        flavor.extra_specs.insert(text(&spec, "key")?, text(&spec, "value")?);
    }
    Ok(flavor)
}

/// What a list of flavors is narrowed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// `Some(true)`: public ones and those `project` has; `Some(false)`: only others; `None`: all.
    pub is_public: Option<bool>,
    /// The caller's project.
    pub project: &'a str,
    /// At least so much memory, MiB.
    pub min_ram: i64,
    /// At least so large a root disk, GiB.
    pub min_disk: i64,
}

/// All flavors that fit, with their extra specs, by id. A catalog is small: paging is done on the result.
pub async fn list(db: &Db, filter: Filter<'_>) -> Result<Vec<Flavor>> {
    let want = filter.is_public.map_or(-1, i64::from);
    let rows = sqlx::query(
        "SELECT * FROM flavors WHERE memory_mb >= $1 AND root_gb >= $2 AND ($3 = -1 OR is_public = $3 \
         OR ($3 = 1 AND EXISTS (SELECT 1 FROM flavor_access a WHERE a.flavor_id = flavors.id AND a.project_id = $4)))",
    )
    .bind(filter.min_ram)
    .bind(filter.min_disk)
    .bind(want)
    .bind(filter.project)
    .fetch_all(db.reader())
    .await
    .map_err(db_error)?;
    let mut flavors = BTreeMap::new();
    for row in &rows {
        let flavor = read(row)?;
        flavors.insert(flavor.id.clone(), flavor);
    }
    let specs = sqlx::query("SELECT flavor_id, key, value FROM flavor_extra_specs")
        .fetch_all(db.reader())
        .await
        .map_err(db_error)?;
    for spec in specs {
        if let Some(flavor) = flavors.get_mut(&text(&spec, "flavor_id")?) {
            flavor.extra_specs.insert(text(&spec, "key")?, text(&spec, "value")?);
        }
    }
    Ok(flavors.into_values().collect())
}

/// A flavor to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewFlavor {
    /// `None`: a random UUID.
    pub id: Option<String>,
    /// Name, unique.
    pub name: String,
    /// Virtual CPUs.
    pub vcpus: i64,
    /// MiB.
    pub memory_mb: i64,
    /// Root disk, GiB.
    pub root_gb: i64,
    /// Ephemeral disk, GiB.
    pub ephemeral_gb: i64,
    /// Swap disk, MiB.
    pub swap_mb: i64,
    /// Bandwidth factor.
    pub rxtx_factor: f64,
    /// Whether every project may use it.
    pub is_public: bool,
    /// Free text.
    pub description: Option<String>,
}

/// Makes a flavor. A private one is nobody's at first, not even its maker's project's. 409 if its name or id is
/// taken.
pub async fn insert(db: &Db, new: NewFlavor) -> Result<Flavor> {
    let mut tx = db.begin_write().await?;
    let flavor = insert_in(&mut tx, new).await?;
    tx.commit().await.map_err(db_error)?;
    Ok(flavor)
}

async fn insert_in(tx: &mut Tx, new: NewFlavor) -> Result<Flavor> {
    let id = new.id.unwrap_or_else(id::uuid);
    let by_name = || Error::conflict(format!("Flavor with name {} already exists.", new.name));
    let by_id = || Error::conflict(format!("Flavor with ID {id} already exists."));
    let taken: Option<String> =
        sqlx::query_scalar("SELECT name FROM flavors WHERE name = $1 OR id = $2 ORDER BY CASE WHEN name = $1 THEN 0 ELSE 1 END LIMIT 1")
            .bind(&new.name)
            .bind(&id)
            .fetch_optional(&mut **tx)
            .await
            .map_err(db_error)?;
    match taken {
        Some(name) if name == new.name => return Err(by_name()),
        Some(_) => return Err(by_id()),
        None => {}
    }
    let flavor = Flavor {
        number: numbers::next(tx, "flavor").await?,
        name: new.name.clone(),
        vcpus: new.vcpus,
        memory_mb: new.memory_mb,
        root_gb: new.root_gb,
        ephemeral_gb: new.ephemeral_gb,
        swap_mb: new.swap_mb,
        rxtx_factor: new.rxtx_factor,
        is_public: new.is_public,
        disabled: false,
        description: new.description.clone(),
        extra_specs: BTreeMap::new(),
        created_at: Timestamp::now(),
        updated_at: None,
        id: id.clone(),
    };
    let made = sqlx::query(
        "INSERT INTO flavors (id, number, name, vcpus, memory_mb, root_gb, ephemeral_gb, swap_mb, rxtx_factor, \
         is_public, description, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(&flavor.id)
    .bind(flavor.number)
    .bind(&flavor.name)
    .bind(flavor.vcpus)
    .bind(flavor.memory_mb)
    .bind(flavor.root_gb)
    .bind(flavor.ephemeral_gb)
    .bind(flavor.swap_mb)
    .bind(flavor.rxtx_factor.to_string())
    .bind(i64::from(flavor.is_public))
    .bind(&flavor.description)
    .bind(flavor.created_at.0)
    .execute(&mut **tx)
    .await;
    match made {
        Ok(_) => {}
        Err(e) if is_unique_violation(&e) => return Err(by_name()),
        Err(e) => return Err(db_error(e)),
    }
    Ok(flavor)
}

/// Changes the description, the only thing of a flavor that may change. 404 if there is none.
pub async fn update_description(db: &Db, id: &str, description: Option<&str>) -> Result<()> {
    let done = sqlx::query(
        "UPDATE flavors SET description = $1, updated_at = $2, generation = generation + 1 WHERE id = $3",
    )
    .bind(description)
    .bind(Timestamp::now().0)
    .bind(id)
    .execute(db.writer())
    .await
    .map_err(db_error)?;
    if done.rows_affected() == 0 { Err(not_found(id)) } else { Ok(()) }
}

/// Removes a flavor with its extra specs and access list; servers keep their copy. 404 if there is none.
pub async fn delete(db: &Db, id: &str) -> Result<()> {
    let done = sqlx::query("DELETE FROM flavors WHERE id = $1")
        .bind(id)
        .execute(db.writer())
        .await
        .map_err(db_error)?;
    if done.rows_affected() == 0 { Err(not_found(id)) } else { Ok(()) }
}

/// Locks the flavor's row for the rest of the transaction; 404 if there is none.
async fn touch(tx: &mut Tx, id: &str) -> Result<()> {
    let done = sqlx::query("UPDATE flavors SET generation = generation + 1 WHERE id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    if done.rows_affected() == 0 { Err(not_found(id)) } else { Ok(()) }
}

/// Sets extra specs, leaving others as they are. 404 if there is no such flavor.
pub async fn set_extra_specs(db: &Db, id: &str, specs: &BTreeMap<String, String>) -> Result<()> {
    let mut tx = db.begin_write().await?;
    touch(&mut tx, id).await?;
    for (key, value) in specs {
        sqlx::query(
            "INSERT INTO flavor_extra_specs (flavor_id, key, value) VALUES ($1, $2, $3) \
             ON CONFLICT (flavor_id, key) DO UPDATE SET value = excluded.value",
        )
        .bind(id)
        .bind(key)
        .bind(value)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
    }
    tx.commit().await.map_err(db_error)
}

/// Removes an extra spec; false if the flavor has none of this key.
pub async fn delete_extra_spec(db: &Db, id: &str, key: &str) -> Result<bool> {
    sqlx::query("DELETE FROM flavor_extra_specs WHERE flavor_id = $1 AND key = $2")
        .bind(id)
        .bind(key)
        .execute(db.writer())
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(db_error)
}

/// The projects that may use a private flavor, sorted.
pub async fn list_access(db: &Db, id: &str) -> Result<Vec<String>> {
    sqlx::query_scalar("SELECT project_id FROM flavor_access WHERE flavor_id = $1 ORDER BY project_id")
        .bind(id)
        .fetch_all(db.reader())
        .await
        .map_err(db_error)
}

/// Lets `project` use the flavor; false if it already may. 404 if there is no such flavor.
pub async fn add_access(db: &Db, id: &str, project: &str) -> Result<bool> {
    let mut tx = db.begin_write().await?;
    touch(&mut tx, id).await?;
    let done = sqlx::query(
        "INSERT INTO flavor_access (flavor_id, project_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(project)
    .execute(&mut *tx)
    .await
    .map_err(db_error)?;
    tx.commit().await.map_err(db_error)?;
    Ok(done.rows_affected() > 0)
}

/// Takes the flavor from `project`; false if it had no access.
pub async fn remove_access(db: &Db, id: &str, project: &str) -> Result<bool> {
    sqlx::query("DELETE FROM flavor_access WHERE flavor_id = $1 AND project_id = $2")
        .bind(id)
        .bind(project)
        .execute(db.writer())
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(db_error)
}

/// The flavors of a new cloud: id, name, vCPUs, MiB, GiB. The sizes are those OpenStack used to ship.
const DEFAULTS: [(&str, &str, i64, i64, i64); 6] = [
    ("0", "m1.nano", 1, 128, 1),
    ("1", "m1.tiny", 1, 512, 1),
    ("2", "m1.small", 1, 2048, 20),
    ("3", "m1.medium", 2, 4096, 40),
    ("4", "m1.large", 4, 8192, 80),
    ("5", "m1.xlarge", 8, 16384, 160),
];

/// Makes the default flavors, once in the life of the database: deleted ones stay deleted, and a name or id that
/// an operator took before is left alone.
pub async fn bootstrap(db: &Db) -> Result<()> {
    let mut tx = db.begin_write().await?;
    let first =
        sqlx::query("INSERT INTO bootstrap (name, done_at) VALUES ('flavors', $1) ON CONFLICT DO NOTHING")
            .bind(Timestamp::now().0)
            .execute(&mut *tx)
            .await
            .map_err(db_error)?;
    if first.rows_affected() == 0 {
        return Ok(());
    }
    for (id, name, vcpus, memory_mb, root_gb) in DEFAULTS {
        let taken: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM flavors WHERE id = $1 OR name = $2")
            .bind(id)
            .bind(name)
            .fetch_one(&mut *tx)
            .await
            .map_err(db_error)?;
        if taken > 0 {
            continue;
        }
        let new = NewFlavor {
            id: Some(id.into()),
            name: name.into(),
            vcpus,
            memory_mb,
            root_gb,
            ephemeral_gb: 0,
            swap_mb: 0,
            rxtx_factor: 1.0,
            is_public: true,
            description: None,
        };
        insert_in(&mut tx, new).await?;
    }
    tx.commit().await.map_err(db_error)
}

fn text(row: &AnyRow, column: &str) -> Result<String> {
    row.try_get(column).map_err(db_error)
}

fn read(row: &AnyRow) -> Result<Flavor> {
    let int = |column: &str| row.try_get::<i64, _>(column).map_err(db_error);
    Ok(Flavor {
        id: text(row, "id")?,
        number: int("number")?,
        name: text(row, "name")?,
        vcpus: int("vcpus")?,
        memory_mb: int("memory_mb")?,
        root_gb: int("root_gb")?,
        ephemeral_gb: int("ephemeral_gb")?,
        swap_mb: int("swap_mb")?,
        rxtx_factor: text(row, "rxtx_factor")?
            .parse()
            .map_err(|e| Error::internal(format!("flavors.rxtx_factor: {e}")))?,
        is_public: int("is_public")? != 0,
        disabled: int("disabled")? != 0,
        description: row.try_get("description").map_err(db_error)?,
        extra_specs: BTreeMap::new(),
        created_at: Timestamp(int("created_at")?),
        updated_at: row.try_get::<Option<i64>, _>("updated_at").map_err(db_error)?.map(Timestamp),
    })
}
