//! Hosts: what agents report, what operators set, what claims hold.

use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row, any::AnyRow},
};
use ferrostack_model::{
    Error, Result, Timestamp,
    host::{HostAggregate, HostReport, HostState},
    id,
};
use ferrostack_settings::Compute;

/// A row of `hosts`.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Service host name.
    pub host: String,
    /// UUID in os-services.
    pub service_id: String,
    /// Number in os-services below 2.53.
    pub service_number: i64,
    /// UUID in os-hypervisors.
    pub hypervisor_id: String,
    /// Number in os-hypervisors below 2.53.
    pub hypervisor_number: i64,
    /// Hypervisor's name of the host.
    pub hypervisor_hostname: String,
    /// The latest report.
    pub report: HostReport,
    /// Zone: that of an aggregate it is in, else what its agent reports.
    pub availability_zone: String,
    /// An operator took it out of scheduling.
    pub disabled: bool,
    /// Why.
    pub disabled_reason: Option<String>,
    /// An operator declared it down.
    pub forced_down: bool,
    /// Latest heartbeat.
    pub last_seen: Timestamp,
    /// First heartbeat.
    pub created_at: Timestamp,
    /// Latest change.
    pub updated_at: Option<Timestamp>,
    /// Rises with every change.
    pub generation: i64,
    /// Claimed virtual CPUs.
    pub vcpus_used: i64,
    /// Claimed MiB.
    pub memory_mb_used: i64,
    /// Claimed GiB.
    pub local_gb_used: i64,
    /// Servers with a claim here.
    pub num_instances: i64,
}

impl Host {
    /// Whether the host's agent is heard: a heartbeat within `down_seconds` and not forced down.
    pub fn is_up(&self, now: Timestamp, down_seconds: i64) -> bool {
        !self.forced_down && self.last_seen.plus_seconds(down_seconds) >= now
    }

    /// The host as schedulers see it; `busy` servers count as I/O operations.
    pub fn state(&self, settings: &Compute, busy: i64, aggregates: Vec<HostAggregate>) -> HostState {
        HostState {
            host: self.host.clone(),
            node: self.hypervisor_hostname.clone(),
            availability_zone: self.availability_zone.clone(),
            enabled: !self.disabled,
            // A host that was declared down must not get a server however loudly it beats.
            last_seen: if self.forced_down { Timestamp(0) } else { self.last_seen },
            vcpus: self.report.vcpus,
            vcpus_used: self.vcpus_used,
            memory_mb: self.report.memory_mb,
            memory_mb_used: self.memory_mb_used,
            local_gb: self.report.local_gb,
            local_gb_used: self.local_gb_used,
            cpu_allocation_ratio: settings.cpu_allocation_ratio,
            ram_allocation_ratio: settings.ram_allocation_ratio,
            disk_allocation_ratio: settings.disk_allocation_ratio,
            num_instances: self.num_instances,
            num_io_ops: busy,
            hypervisor_type: self.report.hypervisor_type.clone(),
            hypervisor_version: self.report.hypervisor_version,
            arch: self.report.arch.clone(),
            cpu_info: self.report.cpu_info.clone(),
            generation: self.generation,
            host_ip: self.report.host_ip.clone(),
            aggregates,
        }
    }
}

macro_rules! columns {
    () => {
        "host, service_id, service_number, hypervisor_id, hypervisor_number, hypervisor_hostname, report, \
         COALESCE(aggregate_zone, availability_zone) AS zone, disabled, disabled_reason, forced_down, last_seen, created_at, updated_at, generation, \
         vcpus_used, memory_mb_used, local_gb_used, num_instances"
    };
}

fn read(row: &AnyRow) -> Result<Host> {
    let text = |name: &str| row.try_get::<String, _>(name).map_err(db_error);
    let number = |name: &str| row.try_get::<i64, _>(name).map_err(db_error);
    let report: String = text("report")?;
    Ok(Host {
        host: text("host")?,
        service_id: text("service_id")?,
        service_number: number("service_number")?,
        hypervisor_id: text("hypervisor_id")?,
        hypervisor_number: number("hypervisor_number")?,
        hypervisor_hostname: text("hypervisor_hostname")?,
        report: serde_json::from_str(&report).map_err(|e| Error::internal(format!("hosts.report: {e}")))?,
        availability_zone: text("zone")?,
        disabled: number("disabled")? != 0,
        disabled_reason: row.try_get("disabled_reason").map_err(db_error)?,
        forced_down: number("forced_down")? != 0,
        last_seen: Timestamp(number("last_seen")?),
        created_at: Timestamp(number("created_at")?),
        updated_at: row.try_get::<Option<i64>, _>("updated_at").map_err(db_error)?.map(Timestamp),
        generation: number("generation")?,
        vcpus_used: number("vcpus_used")?,
        memory_mb_used: number("memory_mb_used")?,
        local_gb_used: number("local_gb_used")?,
        num_instances: number("num_instances")?,
    })
}

/// Every host, by name.
pub async fn list(db: &Db) -> Result<Vec<Host>> {
    let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM hosts ORDER BY host"))
        .fetch_all(db.reader())
        .await
        .map_err(db_error)?;
    rows.iter().map(read).collect()
}

/// A host by name.
pub async fn get(db: &Db, host: &str) -> Result<Option<Host>> {
    sqlx::query(concat!("SELECT ", columns!(), " FROM hosts WHERE host = $1"))
        .bind(host)
        .fetch_optional(db.reader())
        .await
        .map_err(db_error)?
        .map(|row| read(&row))
        .transpose()
}

/// Servers with a task under way, by host.
pub async fn busy(db: &Db) -> Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "SELECT host, CAST(COUNT(*) AS BIGINT) FROM servers
         WHERE host IS NOT NULL AND task_state IS NOT NULL AND deleted_at IS NULL GROUP BY host",
    )
    .fetch_all(db.reader())
    .await
    .map_err(db_error)
}

/// The next number of a counter.
pub async fn next_number(tx: &mut Tx, counter: &str) -> Result<i64> {
    sqlx::query_scalar("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value")
        .bind(counter)
        .fetch_one(&mut **tx)
        .await
        .map_err(db_error)
}

/// Takes a heartbeat: updates the host, or makes it at its first. Whether something but the time has changed.
pub async fn report(tx: &mut Tx, report: &HostReport, at: Timestamp) -> Result<bool> {
    let text =
        serde_json::to_string(report).map_err(|e| Error::internal(format!("encoding a host report: {e}")))?;
    let old: Option<String> = sqlx::query_scalar("SELECT report FROM hosts WHERE host = $1")
        .bind(&report.host)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)?;
    if old.is_some() {
        // A late message must not move the time back, nor bring an older start's facts.
        sqlx::query(
            "UPDATE hosts SET report = $2, hypervisor_hostname = $3, availability_zone = $4, vcpus = $5, memory_mb = $6,
                 local_gb = $7, last_seen = $8, updated_at = $8, generation = generation + 1
             WHERE host = $1 AND last_seen <= $8",
        )
        .bind(&report.host)
        .bind(&text)
        .bind(&report.hypervisor_hostname)
        .bind(&report.availability_zone)
        .bind(report.vcpus)
        .bind(report.memory_mb)
        .bind(report.local_gb)
        .bind(at.0)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
        let before = old.and_then(|t| serde_json::from_str::<HostReport>(&t).ok());
        return Ok(before.is_none_or(|b| {
            b != HostReport { uptime_seconds: b.uptime_seconds, agent_start: b.agent_start, ..report.clone() }
        }));
    }
    let service = next_number(tx, "service").await?;
    let hypervisor = next_number(tx, "hypervisor").await?;
    sqlx::query(
        "INSERT INTO hosts (host, service_id, service_number, hypervisor_id, hypervisor_number, hypervisor_hostname,
             report, availability_zone, last_seen, created_at, vcpus, memory_mb, local_gb)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12) ON CONFLICT (host) DO NOTHING",
    )
    .bind(&report.host)
    .bind(id::uuid())
    .bind(service)
    .bind(id::uuid())
    .bind(hypervisor)
    .bind(&report.hypervisor_hostname)
    .bind(&text)
    .bind(&report.availability_zone)
    .bind(at.0)
    .bind(report.vcpus)
    .bind(report.memory_mb)
    .bind(report.local_gb)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(true)
}
