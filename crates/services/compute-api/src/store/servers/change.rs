//! Changes of a server's row. Each raises its generation.

use super::{Fault, encode};
use ferrostack_db::{Change, Db, Tx, db_error, sqlx};
use ferrostack_model::{
    Result, Timestamp,
    network::NicSpec,
    server::{PowerState, TaskState, VmState},
};
use std::collections::BTreeMap;

async fn one(tx: &mut Tx, query: sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments>) -> Result<bool> {
    Ok(query.execute(&mut **tx).await.map_err(db_error)?.rows_affected() > 0)
}

/// The next generation: every order to an agent has one of its own.
pub async fn next_generation(tx: &mut Tx, id: &str) -> Result<Option<i64>> {
    sqlx::query_scalar("UPDATE servers SET generation = generation + 1 WHERE id = $1 RETURNING generation")
        .bind(id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(db_error)
}

/// Says what is being done with it.
pub async fn set_task(tx: &mut Tx, id: &str, task: Option<TaskState>) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET task_state = $2, updated_at = $3, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id).bind(task.map(TaskState::as_str)).bind(Timestamp::now().0)).await
}

/// Begins a task if the server has none and is still in `vm_state`.
pub async fn begin_task(
    tx: &mut Tx,
    id: &str,
    vm_state: VmState,
    before: Option<TaskState>,
    task: TaskState,
) -> Result<Change> {
    let query = sqlx::query(
        "UPDATE servers SET task_state = $4, updated_at = $5, generation = generation + 1
         WHERE id = $1 AND vm_state = $2 AND COALESCE(task_state, '') = $3 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(vm_state.as_str())
    .bind(before.map_or("", TaskState::as_str))
    .bind(task.as_str())
    .bind(Timestamp::now().0);
    Ok(if one(tx, query).await? { Change::Updated } else { Change::Stale })
}

/// Goes on to another stage of a task.
pub async fn advance_task(tx: &mut Tx, id: &str, before: TaskState, task: TaskState) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET task_state = $3, updated_at = $4, generation = generation + 1
         WHERE id = $1 AND task_state = $2 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id).bind(before.as_str()).bind(task.as_str()).bind(Timestamp::now().0)).await
}

/// Ends the making of an image, if that is still the task.
pub async fn end_image_task(tx: &mut Tx, id: &str) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET task_state = NULL, updated_at = $2, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL AND task_state IN ('image_snapshot_pending', 'image_snapshot',
             'image_backup', 'image_pending_upload', 'image_uploading')",
    );
    one(tx, query.bind(id).bind(Timestamp::now().0)).await
}

/// Marks a live server as being deleted; false if it is gone. Takes the row's lock before the job's.
pub async fn begin_delete(tx: &mut Tx, id: &str) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET task_state = 'deleting', progress = 0, updated_at = $2, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id).bind(Timestamp::now().0)).await
}

/// Marks a live server as being put aside for its deletion; false if it is gone.
pub async fn begin_soft_delete(tx: &mut Tx, id: &str) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET task_state = 'soft-deleting', progress = 0, updated_at = $2, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id).bind(Timestamp::now().0)).await
}

/// Puts it on the host that was claimed.
pub async fn place(tx: &mut Tx, id: &str, host: &str, node: &str, zone: &str) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET host = $2, node = $3, availability_zone = $4, task_state = 'networking', updated_at = $5,
             generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id).bind(host).bind(node).bind(zone).bind(Timestamp::now().0)).await
}

/// Takes it off its host: another is sought, or it failed.
pub async fn displace(tx: &mut Tx, id: &str) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET host = NULL, node = NULL, availability_zone = pinned_az,
             task_state = CASE WHEN task_state IS NULL THEN NULL ELSE 'scheduling' END, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id)).await
}

/// Writes its bound interfaces.
pub async fn set_ports(tx: &mut Tx, id: &str, ports: &[NicSpec]) -> Result<bool> {
    let mut addresses = String::from(" ");
    for ip in ports.iter().flat_map(|p| &p.fixed_ips) {
        addresses.push_str(&ip.ip_address.to_string());
        addresses.push(' ');
    }
    let query = sqlx::query(
        "UPDATE servers SET ports = $2, addresses = $3, updated_at = $4, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id).bind(encode(&ports)?).bind(addresses.trim_end()).bind(Timestamp::now().0)).await
}

/// The build is done: up at last. Forgets what only the build needed.
pub async fn activate(tx: &mut Tx, id: &str, power: PowerState) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET vm_state = 'active', task_state = NULL, power_state = $2, power_at = $3, progress = 0,
             launched_at = $3, updated_at = $3, generation = generation + 1,
             fault_code = NULL, fault_message = NULL, fault_details = NULL, fault_private = NULL, fault_at = NULL
         WHERE id = $1 AND deleted_at IS NULL",
    );
    let done = one(tx, query.bind(id).bind(power.code()).bind(Timestamp::now().0)).await?;
    forget_secrets(tx, id).await?;
    Ok(done)
}

/// Erases the admin password and the injected files.
pub async fn forget_secrets(tx: &mut Tx, id: &str) -> Result<()> {
    sqlx::query("UPDATE server_inputs SET admin_pass = NULL, personality = NULL WHERE server_id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// A task is done: the state it led to.
pub async fn settle(
    tx: &mut Tx,
    id: &str,
    vm_state: VmState,
    power: PowerState,
    at: Timestamp,
) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET vm_state = $2, task_state = NULL, power_state = $3, power_at = $4, updated_at = $4,
             generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id).bind(vm_state.as_str()).bind(power.code()).bind(at.0)).await
}

/// What a hypervisor reports about a server that nobody works on. `vm_state` is the one expected, `then` the new one.
pub async fn observe(
    tx: &mut Tx,
    id: &str,
    vm_state: VmState,
    then: VmState,
    power: PowerState,
    at: Timestamp,
) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET vm_state = $3, power_state = $4, power_at = $5,
             updated_at = CASE WHEN vm_state = $3 AND power_state = $4 THEN updated_at ELSE $5 END,
             generation = generation + 1
         WHERE id = $1 AND vm_state = $2 AND task_state IS NULL AND deleted_at IS NULL AND power_at < $5
             AND NOT EXISTS (SELECT 1 FROM jobs WHERE target = $1 AND state IN ('active', 'undoing'))",
    );
    one(tx, query.bind(id).bind(vm_state.as_str()).bind(then.as_str()).bind(power.code()).bind(at.0)).await
}

/// Ends a task that failed with the server left as it was, but for the fault.
pub async fn task_failed(tx: &mut Tx, id: &str, fault: &Fault, vm_state: Option<VmState>) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET vm_state = COALESCE($7, vm_state), task_state = NULL, fault_code = $2, fault_message = $3,
             fault_details = $4, fault_private = $5, fault_at = $6, updated_at = $6, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(fault.code)
    .bind(&fault.message)
    .bind(&fault.details)
    .bind(&fault.private)
    .bind(fault.at.0)
    .bind(vm_state.map(VmState::as_str));
    one(tx, query).await
}

/// Gone. Its row stays for the lists of deleted servers.
pub async fn mark_deleted(tx: &mut Tx, id: &str) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET vm_state = 'deleted', task_state = NULL, power_state = 0, power_at = $2, terminated_at = $2,
             deleted_at = $2, updated_at = $2, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    let done = one(tx, query.bind(id).bind(Timestamp::now().0)).await?;
    forget_secrets(tx, id).await?;
    Ok(done)
}

/// What PUT may change; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// `name`
    pub display_name: Option<String>,
    /// `hostname`
    pub hostname: Option<String>,
    /// `description`; `Some(None)` clears it.
    pub description: Option<Option<String>>,
    /// `accessIPv4`
    pub access_ip_v4: Option<String>,
    /// `accessIPv6`
    pub access_ip_v6: Option<String>,
    /// `OS-DCF:diskConfig`
    pub disk_config: Option<String>,
    /// Whether it is no longer bound to the zone that was asked for.
    pub unpin: bool,
}

/// Edits a live server; false if it is gone.
pub async fn edit(db: &Db, id: &str, edit: &Edit) -> Result<bool> {
    let (clear, description) = match &edit.description {
        Some(None) => (1, None),
        Some(Some(text)) => (0, Some(text)),
        None => (0, None),
    };
    let mut tx = db.begin_write().await?;
    let query = sqlx::query(
        "UPDATE servers SET display_name = COALESCE($2, display_name), hostname = COALESCE($3, hostname),
             description = CASE WHEN CAST($4 AS BIGINT) = 1 THEN NULL ELSE COALESCE($5, description) END,
             access_ip_v4 = COALESCE($6, access_ip_v4), access_ip_v6 = COALESCE($7, access_ip_v6),
             disk_config = COALESCE($9, disk_config),
             pinned_az = CASE WHEN CAST($10 AS BIGINT) = 1 THEN NULL ELSE pinned_az END, updated_at = $8, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    )
    .bind(id)
    .bind(&edit.display_name)
    .bind(&edit.hostname)
    .bind(clear)
    .bind(description)
    .bind(&edit.access_ip_v4)
    .bind(&edit.access_ip_v6)
    .bind(Timestamp::now().0)
    .bind(&edit.disk_config)
    .bind(i64::from(edit.unpin));
    let done = one(&mut tx, query).await?;
    tx.commit().await.map_err(db_error)?;
    Ok(done)
}

/// Replaces the user metadata of a live server at `generation`.
pub async fn set_metadata(
    tx: &mut Tx,
    id: &str,
    generation: i64,
    metadata: &BTreeMap<String, String>,
) -> Result<Change> {
    let query = sqlx::query(
        "UPDATE servers SET metadata = $3, updated_at = $4, generation = generation + 1
         WHERE id = $1 AND generation = $2 AND deleted_at IS NULL",
    );
    let done =
        one(tx, query.bind(id).bind(generation).bind(encode(metadata)?).bind(Timestamp::now().0)).await?;
    Ok(if done { Change::Updated } else { Change::Stale })
}

/// The admin's reset: state as told, no task.
pub async fn reset_state(tx: &mut Tx, id: &str, vm_state: VmState) -> Result<bool> {
    let query = sqlx::query(
        "UPDATE servers SET vm_state = $2, task_state = NULL, updated_at = $3, generation = generation + 1
         WHERE id = $1 AND deleted_at IS NULL",
    );
    one(tx, query.bind(id).bind(vm_state.as_str()).bind(Timestamp::now().0)).await
}
