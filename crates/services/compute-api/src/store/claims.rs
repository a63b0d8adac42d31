//! Claims: what servers hold of their hosts. Capacity is never exceeded, whoever chose the host.

use super::server_groups;
use ferrostack_db::{Tx, db_error, sqlx};
use ferrostack_model::{Result, Timestamp};
use ferrostack_settings::Compute;

/// What a server wants of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Virtual CPUs.
    pub vcpus: i64,
    /// MiB.
    pub memory_mb: i64,
    /// GiB.
    pub local_gb: i64,
}

/// A claimed host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The hypervisor's name of it.
    pub node: String,
    /// Its zone.
    pub availability_zone: String,
}

/// An allocation ratio in thousandths, so that the comparison is of integers on every database.
pub(super) fn thousandths(ratio: f64) -> i64 {
    let scaled = (ratio * 1000.0).round();
    if scaled.is_finite() { scaled.clamp(0.0, 1_000_000_000.0) as i64 } else { 1000 }
}

/// Claims `want` on `host` for a server that holds no claim; `None` if it does not fit, the host is disabled or the
/// server's group forbids it.
/// `forced` is an operator's explicit choice of host: a disabled host is taken too.
pub async fn claim(
    tx: &mut Tx,
    server_id: &str,
    host: &str,
    want: Want,
    settings: &Compute,
    forced: bool,
) -> Result<Option<Claimed>> {
    if !server_groups::permits(tx, server_id, host).await? {
        return Ok(None);
    }
    let taken: Option<(String, String)> = sqlx::query_as(
        "UPDATE hosts SET vcpus_used = vcpus_used + $2, memory_mb_used = memory_mb_used + $3,
             local_gb_used = local_gb_used + $4, num_instances = num_instances + 1, generation = generation + 1
         WHERE host = $1 AND (disabled = 0 OR CAST($8 AS BIGINT) = 1)
             AND (vcpus_used + $2) * 1000 <= vcpus * $5
             AND (memory_mb_used + $3) * 1000 <= memory_mb * $6
             AND (local_gb_used + $4) * 1000 <= local_gb * $7
         RETURNING hypervisor_hostname, COALESCE(aggregate_zone, availability_zone)",
    )
    .bind(host)
    .bind(want.vcpus)
    .bind(want.memory_mb)
    .bind(want.local_gb)
    .bind(thousandths(settings.cpu_allocation_ratio))
    .bind(thousandths(settings.ram_allocation_ratio))
    .bind(thousandths(settings.disk_allocation_ratio))
    .bind(i64::from(forced))
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)?;
    let Some((node, availability_zone)) = taken else { return Ok(None) };
    sqlx::query(
        "INSERT INTO claims (server_id, host, vcpus, memory_mb, local_gb, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(server_id)
    .bind(host)
    .bind(want.vcpus)
    .bind(want.memory_mb)
    .bind(want.local_gb)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(Some(Claimed { node, availability_zone }))
}

/// Gives a server's claim back; the host it was on. `None` if it held none.
pub async fn release(tx: &mut Tx, server_id: &str) -> Result<Option<String>> {
    let held: Option<(String, i64, i64, i64)> =
        sqlx::query_as("DELETE FROM claims WHERE server_id = $1 RETURNING host, vcpus, memory_mb, local_gb")
            .bind(server_id)
            .fetch_optional(&mut **tx)
            .await
            .map_err(db_error)?;
    let Some((host, vcpus, memory_mb, local_gb)) = held else { return Ok(None) };
    sqlx::query(
        "UPDATE hosts SET vcpus_used = vcpus_used - $2, memory_mb_used = memory_mb_used - $3,
             local_gb_used = local_gb_used - $4, num_instances = num_instances - 1, generation = generation + 1
         WHERE host = $1",
    )
    .bind(&host)
    .bind(vcpus)
    .bind(memory_mb)
    .bind(local_gb)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(Some(host))
}
