//! Servers: the row, its insertion and reading. Changes of state are in [`change`], lists in [`list`].

pub mod change;
pub mod list;
pub mod moves;
pub mod moving;
pub mod rebuild;
pub mod states;

use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{
    Error, Result, Timestamp,
    auth::Secret,
    guest::{GuestFlavor, Personality},
    image::ImageSource,
    network::NicSpec,
    server::{PowerState, TaskState, VmState, status},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, HashMap};

/// A network interface that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicRequest {
    /// The network to make a port on; none if a port was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_id: Option<String>,
    /// The caller's own port: bound, and left alone when the server goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_id: Option<String>,
    /// A wanted address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_ip: Option<String>,
    /// Device tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Why a server is in ERROR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// 500 as a rule.
    pub code: i64,
    /// One sentence for everybody.
    pub message: String,
    /// More, for everybody.
    pub details: String,
    /// What only admins may read: host names and their errors.
    pub private: String,
    /// When.
    pub at: Timestamp,
}

/// A row of `servers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// UUID.
    pub id: String,
    /// Rises with every change.
    pub generation: i64,
    /// Owner.
    pub project_id: String,
    /// Creator.
    pub user_id: String,
    /// `name`.
    pub display_name: String,
    /// Host name inside the guest.
    pub hostname: String,
    /// `description`.
    pub description: Option<String>,
    /// libvirt domain name.
    pub instance_name: String,
    /// `r-…`.
    pub reservation_id: String,
    /// Number within a multi-create.
    pub launch_index: i64,
    /// What it durably is.
    pub vm_state: VmState,
    /// What is being done with it.
    pub task_state: Option<TaskState>,
    /// The hypervisor's view.
    pub power_state: PowerState,
    /// When the power state was observed.
    pub power_at: Timestamp,
    /// Per cent.
    pub progress: i64,
    /// Its host.
    pub host: Option<String>,
    /// The hypervisor's name of its host.
    pub node: Option<String>,
    /// Zone of its host; before it has one, the zone asked for.
    pub availability_zone: Option<String>,
    /// Zone asked for.
    pub pinned_az: Option<String>,
    /// The root disk's image.
    pub image: ImageSource,
    /// Direct kernel boot.
    pub kernel: Option<ImageSource>,
    /// Its ramdisk.
    pub ramdisk: Option<ImageSource>,
    /// The flavor as it was at creation.
    pub flavor: GuestFlavor,
    /// The flavor's public id then.
    pub flavor_id: String,
    /// Name of the injected key.
    pub key_name: Option<String>,
    /// The injected key.
    pub public_key: Option<String>,
    /// Whether a config drive is attached.
    pub config_drive: bool,
    /// `accessIPv4`.
    pub access_ip_v4: String,
    /// `accessIPv6`.
    pub access_ip_v6: String,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// Scheduler hints.
    pub hints: BTreeMap<String, Vec<String>>,
    /// Interfaces asked for.
    pub nics: Vec<NicRequest>,
    /// Interfaces bound.
    pub ports: Vec<NicSpec>,
    /// Why it is in ERROR.
    pub fault: Option<Fault>,
    /// `locked`.
    pub locked: bool,
    /// `locked_reason`.
    pub locked_reason: Option<String>,
    /// POST.
    pub created_at: Timestamp,
    /// Latest change a user can see.
    pub updated_at: Timestamp,
    /// First ACTIVE.
    pub launched_at: Option<Timestamp>,
    /// Its guest was destroyed.
    pub terminated_at: Option<Timestamp>,
    /// Gone.
    pub deleted_at: Option<Timestamp>,
    /// `tags`
    pub tags: Vec<String>,
    /// `trusted_image_certificates`
    pub trusted_certs: Option<Vec<String>>,
    /// `OS-DCF:diskConfig`: AUTO or MANUAL.
    pub disk_config: String,
}

impl Server {
    /// The `status` of answers.
    pub fn status(&self) -> &'static str {
        status(self.vm_state, self.task_state)
    }

    /// GiB of host disk it holds: root, ephemeral and swap rounded up.
    pub fn disk_gb(&self) -> i64 {
        let f = &self.flavor;
        i64::try_from(f.root_gb + f.ephemeral_gb + f.swap_mb.div_ceil(1024)).unwrap_or(i64::MAX)
    }
}

/// What a server is built from and lists do not read.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Base64, as the client gave it.
    pub user_data: Option<String>,
    /// Injected files.
    pub personality: Vec<Personality>,
    /// The guest's admin password: kept only while the server is built.
    pub admin_pass: Option<Secret>,
}

macro_rules! columns {
    () => {
        "id, generation, project_id, user_id, display_name, hostname, description, instance_name, reservation_id, \
         launch_index, vm_state, task_state, power_state, power_at, progress, host, node, availability_zone, \
         pinned_az, image, kernel, ramdisk, flavor, flavor_id, key_name, public_key, config_drive, access_ip_v4, \
         access_ip_v6, metadata, hints, nics, ports, fault_code, fault_message, fault_details, fault_private, \
         fault_at, locked, locked_reason, created_at, updated_at, launched_at, terminated_at, deleted_at, tags, \
         trusted_certs, disk_config"
    };
}
pub(crate) use columns;

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("encoding a server column: {e}")))
}

fn decode<T: DeserializeOwned>(column: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::internal(format!("servers.{column}: {e}")))
}

/// Reads a row by the order of [`columns!`]: by name would search every name for every row.
pub(crate) fn read(row: &AnyRow) -> Result<Server> {
    let text = |i: usize| row.try_get::<String, _>(i).map_err(db_error);
    let opt = |i: usize| row.try_get::<Option<String>, _>(i).map_err(db_error);
    let number = |i: usize| row.try_get::<i64, _>(i).map_err(db_error);
    let time = |i: usize| row.try_get::<Option<i64>, _>(i).map(|t| t.map(Timestamp)).map_err(db_error);
    let vm_state = text(10)?;
    let created_at = Timestamp(number(40)?);
    let fault = match row.try_get::<Option<i64>, _>(33).map_err(db_error)? {
        Some(code) => Some(Fault {
            code,
            message: opt(34)?.unwrap_or_default(),
            details: opt(35)?.unwrap_or_default(),
            private: opt(36)?.unwrap_or_default(),
            at: time(37)?.unwrap_or_default(),
        }),
        None => None,
    };
    Ok(Server {
        id: text(0)?,
        generation: number(1)?,
        project_id: text(2)?,
        user_id: text(3)?,
        display_name: text(4)?,
        hostname: text(5)?,
        description: opt(6)?,
        instance_name: text(7)?,
        reservation_id: text(8)?,
        launch_index: number(9)?,
        vm_state: VmState::parse(&vm_state)
            .ok_or_else(|| Error::internal(format!("unknown vm_state {vm_state}")))?,
        task_state: opt(11)?.as_deref().and_then(TaskState::parse),
        power_state: PowerState::from_code(number(12)?),
        power_at: Timestamp(number(13)?),
        progress: number(14)?,
        host: opt(15)?,
        node: opt(16)?,
        availability_zone: opt(17)?,
        pinned_az: opt(18)?,
        image: decode("image", &text(19)?)?,
        kernel: opt(20)?.map(|t| decode("kernel", &t)).transpose()?,
        ramdisk: opt(21)?.map(|t| decode("ramdisk", &t)).transpose()?,
        flavor: decode("flavor", &text(22)?)?,
        flavor_id: text(23)?,
        key_name: opt(24)?,
        public_key: opt(25)?,
        config_drive: number(26)? != 0,
        access_ip_v4: text(27)?,
        access_ip_v6: text(28)?,
        metadata: decode("metadata", &text(29)?)?,
        hints: decode("hints", &text(30)?)?,
        nics: decode("nics", &text(31)?)?,
        ports: decode("ports", &text(32)?)?,
        fault,
        locked: number(38)? != 0,
        locked_reason: opt(39)?,
        created_at,
        updated_at: time(41)?.unwrap_or(created_at),
        launched_at: time(42)?,
        terminated_at: time(43)?,
        deleted_at: time(44)?,
        tags: decode("tags", &text(45)?)?,
        trusted_certs: opt(46)?.map(|t| decode("trusted_certs", &t)).transpose()?,
        disk_config: text(47)?,
    })
}

/// 404 in Nova's words.
pub fn not_found(id: &str) -> Error {
    let short: String = id.chars().take(255).collect();
    Error::not_found(format!("Instance {short} could not be found."))
}

/// A server that is not deleted.
pub async fn get(db: &Db, id: &str) -> Result<Server> {
    find(db, id).await?.filter(|s| s.deleted_at.is_none()).ok_or_else(|| not_found(id))
}

/// A server, deleted or not.
pub async fn find(db: &Db, id: &str) -> Result<Option<Server>> {
    sqlx::query(concat!("SELECT ", columns!(), " FROM servers WHERE id = $1"))
        .bind(id)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?
        .map(|row| read(&row))
        .transpose()
}

/// A server inside a transaction, deleted or not.
pub async fn find_in(tx: &mut Tx, id: &str) -> Result<Option<Server>> {
    sqlx::query(concat!("SELECT ", columns!(), " FROM servers WHERE id = $1"))
        .bind(id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?
        .map(|row| read(&row))
        .transpose()
}

/// Live servers on a host.
pub async fn on_host(db: &Db, host: &str) -> Result<Vec<Server>> {
    let rows =
        sqlx::query(concat!("SELECT ", columns!(), " FROM servers WHERE host = $1 AND deleted_at IS NULL"))
            .bind(host)
            .fetch_all(db.reader())
            .await
            .map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// The hosts of living servers, by id; of those that have one. One statement for 500 servers.
pub async fn hosts_of(db: &Db, ids: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for part in ids.chunks(500) {
        let marks: Vec<String> = (1..=part.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT id, host FROM servers WHERE host IS NOT NULL AND deleted_at IS NULL AND id IN ({})",
            marks.join(", ")
        );
        let mut query = sqlx::query_as::<_, (String, String)>(sqlx::AssertSqlSafe(sql));
        for id in part {
            query = query.bind(*id);
        }
        found.extend(query.fetch_all(db.reader()).await.map_err(db_error)?);
    }
    Ok(found)
}

/// What a server is built from.
pub async fn inputs(db: &Db, id: &str) -> Result<Inputs> {
    let row =
        sqlx::query("SELECT user_data, personality, admin_pass FROM server_inputs WHERE server_id = $1")
            .bind(id)
            .fetch_optional(db.reader())
            .await
            .map_err(db_error)?;
    let Some(row) = row else { return Ok(Inputs::default()) };
    let text = |i: usize| row.try_get::<Option<String>, _>(i).map_err(db_error);
    Ok(Inputs {
        user_data: text(0)?,
        personality: text(1)?.map(|t| decode("personality", &t)).transpose()?.unwrap_or_default(),
        admin_pass: text(2)?.map(Secret),
    })
}

/// Numbers for `count` new servers, the first of them; those of a failed creation are lost.
pub async fn numbers(db: &Db, count: i64) -> Result<i64> {
    let last: i64 =
        sqlx::query_scalar("UPDATE counters SET value = value + $1 WHERE name = 'server' RETURNING value")
            .bind(count)
            .fetch_one(db.writer())
            .await
            .map_err(db_error)?;
    Ok(last - count + 1)
}

/// Adds a server and its inputs.
pub async fn insert(tx: &mut Tx, s: &Server, inputs: &Inputs) -> Result<()> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO servers (id, generation, project_id, user_id, display_name, hostname, description, instance_name,
             reservation_id, launch_index, vm_state, task_state, availability_zone, pinned_az, image_id, image, kernel,
             ramdisk, flavor, flavor_id, vcpus, memory_mb, root_gb, ephemeral_gb, swap_mb, key_name, public_key,
             config_drive, access_ip_v4, access_ip_v6, metadata, hints, nics, created_at, updated_at, tags, trusted_certs,
             disk_config)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
             $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $34, $35, $36, $37)",
    )
    .bind(&s.id)
    .bind(s.generation)
    .bind(&s.project_id)
    .bind(&s.user_id)
    .bind(&s.display_name)
    .bind(&s.hostname)
    .bind(&s.description)
    .bind(&s.instance_name)
    .bind(&s.reservation_id)
    .bind(s.launch_index)
    .bind(s.vm_state.as_str())
    .bind(s.task_state.map(TaskState::as_str))
    .bind(&s.availability_zone)
    .bind(&s.pinned_az)
    .bind(&s.image.id)
    .bind(encode(&s.image)?)
    .bind(s.kernel.as_ref().map(encode).transpose()?)
    .bind(s.ramdisk.as_ref().map(encode).transpose()?)
    .bind(encode(&s.flavor)?)
    .bind(&s.flavor_id)
    .bind(i64::from(s.flavor.vcpus))
    .bind(number(s.flavor.ram_mb))
    .bind(number(s.flavor.root_gb))
    .bind(number(s.flavor.ephemeral_gb))
    .bind(number(s.flavor.swap_mb))
    .bind(&s.key_name)
    .bind(&s.public_key)
    .bind(i64::from(s.config_drive))
    .bind(&s.access_ip_v4)
    .bind(&s.access_ip_v6)
    .bind(encode(&s.metadata)?)
    .bind(encode(&s.hints)?)
    .bind(encode(&s.nics)?)
    .bind(s.created_at.0)
    .bind(encode(&s.tags)?)
    .bind(s.trusted_certs.as_ref().map(encode).transpose()?)
    .bind(&s.disk_config)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    let personality = (!inputs.personality.is_empty()).then(|| encode(&inputs.personality)).transpose()?;
    sqlx::query(
        "INSERT INTO server_inputs (server_id, user_data, personality, admin_pass) VALUES ($1, $2, $3, $4)",
    )
    .bind(&s.id)
    .bind(&inputs.user_data)
    .bind(personality)
    .bind(inputs.admin_pass.as_ref().map(|p| &p.0))
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(())
}

/// User data by server, for the admin's view. One statement, however many servers.
pub async fn user_data(db: &Db, servers: &[Server]) -> Result<HashMap<String, String>> {
    let mut found = HashMap::new();
    for part in servers.chunks(500) {
        let marks: Vec<String> = (1..=part.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT server_id, user_data FROM server_inputs WHERE user_data IS NOT NULL AND server_id IN ({})",
            marks.join(", ")
        );
        let mut query = sqlx::query_as::<_, (String, String)>(sqlx::AssertSqlSafe(sql));
        for server in part {
            query = query.bind(&server.id);
        }
        found.extend(query.fetch_all(db.reader()).await.map_err(db_error)?);
    }
    Ok(found)
}
