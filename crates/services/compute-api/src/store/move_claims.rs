//! What a server holds beside its claim while it moves: its share of the other host, or on the same host what the
//! larger of its two sizes takes more. Capacity is never exceeded, whichever way the move ends.

use super::{
    claims::{Claimed, Want, thousandths},
    server_groups,
};
use ferrostack_db::{Tx, db_error, sqlx};
use ferrostack_model::{Error, Result, Timestamp};
use ferrostack_settings::Compute;

type Held = (String, i64, i64, i64);

async fn claim_of(tx: &mut Tx, server_id: &str) -> Result<Option<Held>> {
    sqlx::query_as("SELECT host, vcpus, memory_mb, local_gb FROM claims WHERE server_id = $1")
        .bind(server_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)
}

/// Claims the destination of a move: `want` on another host, or what it takes more than the server's claim on the same
/// one. `None` if it does not fit, the server's group forbids the host, or the host is disabled (`forced` takes a disabled one too). The server must hold a
/// claim and no move claim.
pub async fn claim(
    tx: &mut Tx,
    server_id: &str,
    host: &str,
    want: Want,
    settings: &Compute,
    forced: bool,
) -> Result<Option<Claimed>> {
    let held = claim_of(tx, server_id).await?;
    let (more, instances) = match &held {
        Some((at, vcpus, memory_mb, local_gb)) if at == host => {
            let more = Want {
                vcpus: (want.vcpus - vcpus).max(0),
                memory_mb: (want.memory_mb - memory_mb).max(0),
                local_gb: (want.local_gb - local_gb).max(0),
            };
            (more, 0)
        }
        _ if !server_groups::permits(tx, server_id, host).await? => return Ok(None),
        _ => (want, 1),
    };
    // Growth by nothing always fits: a host that is full may hold what it holds.
    let taken: Option<(String, String)> = sqlx::query_as(
        "UPDATE hosts SET vcpus_used = vcpus_used + $2, memory_mb_used = memory_mb_used + $3,
             local_gb_used = local_gb_used + $4, num_instances = num_instances + $9, generation = generation + 1
         WHERE host = $1 AND (disabled = 0 OR CAST($8 AS BIGINT) = 1)
             AND ($2 = 0 OR (vcpus_used + $2) * 1000 <= vcpus * $5)
             AND ($3 = 0 OR (memory_mb_used + $3) * 1000 <= memory_mb * $6)
             AND ($4 = 0 OR (local_gb_used + $4) * 1000 <= local_gb * $7)
         RETURNING hypervisor_hostname, availability_zone",
    )
    .bind(host)
    .bind(more.vcpus)
    .bind(more.memory_mb)
    .bind(more.local_gb)
    .bind(thousandths(settings.cpu_allocation_ratio))
    .bind(thousandths(settings.ram_allocation_ratio))
    .bind(thousandths(settings.disk_allocation_ratio))
    .bind(i64::from(forced))
    .bind(instances)
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)?;
    let Some((node, availability_zone)) = taken else { return Ok(None) };
    insert(tx, server_id, host, more, instances).await?;
    Ok(Some(Claimed { node, availability_zone }))
}

async fn insert(tx: &mut Tx, server_id: &str, host: &str, want: Want, instances: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO move_claims (server_id, host, vcpus, memory_mb, local_gb, instances, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(server_id)
    .bind(host)
    .bind(want.vcpus)
    .bind(want.memory_mb)
    .bind(want.local_gb)
    .bind(instances)
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// The guest is on the other side now: the server's claim becomes `want` on `host`, the rest of what both hold together
/// is the move's. What hosts hold does not change. An error if the server holds nothing on `host`.
pub async fn switch(tx: &mut Tx, server_id: &str, host: &str, want: Want) -> Result<()> {
    let lost = || Error::internal(format!("server {server_id} holds no claim on {host} to move to"));
    let Some((at, vcpus, memory_mb, local_gb)) = claim_of(tx, server_id).await? else { return Err(lost()) };
    let moving: Option<Held> =
        sqlx::query_as("SELECT host, vcpus, memory_mb, local_gb FROM move_claims WHERE server_id = $1")
            .bind(server_id)
            .fetch_optional(&mut **tx)
            .await
            .map_err(db_error)?;
    let Some((to, more_vcpus, more_memory_mb, more_local_gb)) = moving else { return Err(lost()) };
    let (rest_host, rest) = if at == to {
        if at != host {
            return Err(lost());
        }
        let all = (vcpus + more_vcpus, memory_mb + more_memory_mb, local_gb + more_local_gb);
        let rest = (all.0 - want.vcpus, all.1 - want.memory_mb, all.2 - want.local_gb);
        if rest.0 < 0 || rest.1 < 0 || rest.2 < 0 {
            return Err(lost());
        }
        (at, rest)
    } else if to == host {
        (at, (vcpus, memory_mb, local_gb))
    } else {
        // It is there already.
        return if at == host { Ok(()) } else { Err(lost()) };
    };
    sqlx::query(
        "UPDATE claims SET host = $2, vcpus = $3, memory_mb = $4, local_gb = $5 WHERE server_id = $1",
    )
    .bind(server_id)
    .bind(host)
    .bind(want.vcpus)
    .bind(want.memory_mb)
    .bind(want.local_gb)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    sqlx::query(
        "UPDATE move_claims SET host = $2, vcpus = $3, memory_mb = $4, local_gb = $5 WHERE server_id = $1",
    )
    .bind(server_id)
    .bind(rest_host)
    .bind(rest.0)
    .bind(rest.1)
    .bind(rest.2)
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// Gives the move's share back; the host it was on. `None` if there was none.
pub async fn release(tx: &mut Tx, server_id: &str) -> Result<Option<String>> {
    let held: Option<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "DELETE FROM move_claims WHERE server_id = $1 RETURNING host, vcpus, memory_mb, local_gb, instances",
    )
    .bind(server_id)
    .fetch_optional(&mut **tx)
    .await
    .map_err(db_error)?;
    let Some((host, vcpus, memory_mb, local_gb, instances)) = held else { return Ok(None) };
    sqlx::query(
        "UPDATE hosts SET vcpus_used = vcpus_used - $2, memory_mb_used = memory_mb_used - $3,
             local_gb_used = local_gb_used - $4, num_instances = num_instances - $5, generation = generation + 1
         WHERE host = $1",
    )
    .bind(&host)
    .bind(vcpus)
    .bind(memory_mb)
    .bind(local_gb)
    .bind(instances)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(Some(host))
}
