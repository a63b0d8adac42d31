//! Changes of a server's row by resizes and cold migrations.

use super::encode;
use crate::store::migrations::Size;
use ferrostack_db::{Tx, db_error, sqlx};
use ferrostack_model::{
    Result, Timestamp,
    server::{PowerState, TaskState, VmState},
};

/// Where a server is when a move is over.
#[derive(Clone, Copy, Debug)]
pub struct Landed<'a> {
    /// The service host.
    pub host: &'a str,
    /// The hypervisor's name of it.
    pub node: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// The size.
    pub size: &'a Size,
    /// The state.
    pub vm_state: VmState,
    /// The power state.
    pub power: PowerState,
}

/// A move has brought the server somewhere, in some size, with no task left.
pub async fn land(tx: &mut Tx, id: &str, to: Landed<'_>) -> Result<bool> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let flavor = &to.size.flavor;
    let done = sqlx::query(
        "UPDATE servers SET host = $2, node = $3, availability_zone = $4, flavor = $5, flavor_id = $6, vcpus = $7,
             memory_mb = $8, root_gb = $9, ephemeral_gb = $10, swap_mb = $11, vm_state = $12, task_state = NULL,
             power_state = $13, power_at = $14, updated_at = $14, launched_at = $14, progress = 0,
             resize_vcpus = 0, resize_memory_mb = 0, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(to.host)
    .bind(to.node)
    .bind(to.zone)
    .bind(encode(flavor)?)
    .bind(&to.size.flavor_id)
    .bind(i64::from(flavor.vcpus))
    .bind(number(flavor.ram_mb))
    .bind(number(flavor.root_gb))
    .bind(number(flavor.ephemeral_gb))
    .bind(number(flavor.swap_mb))
    .bind(to.vm_state.as_str())
    .bind(to.power.code())
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    Ok(done.rows_affected() > 0)
}

/// Holds `vcpus` and `memory_mb` of the quota beside the server's own size until the resize is over.
pub async fn hold_quota(tx: &mut Tx, id: &str, vcpus: i64, memory_mb: i64) -> Result<()> {
    sqlx::query("UPDATE servers SET resize_vcpus = $2, resize_memory_mb = $3 WHERE id = $1")
        .bind(id)
        .bind(vcpus)
        .bind(memory_mb)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Sets `OS-DCF:diskConfig`.
pub async fn set_disk_config(tx: &mut Tx, id: &str, disk_config: &str) -> Result<()> {
    sqlx::query("UPDATE servers SET disk_config = $2 WHERE id = $1")
        .bind(id)
        .bind(disk_config)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// A task's next stage, if the server is not being deleted.
pub async fn stage(tx: &mut Tx, id: &str, task: TaskState) -> Result<bool> {
    sqlx::query(
        "UPDATE servers SET task_state = $2, updated_at = $3, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(task.as_str())
    .bind(Timestamp::now().0)
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected() > 0)
    .map_err(db_error)
}
