//! Quotas: limits of projects and users, and the check that creating servers cannot get around.

use super::server_groups;
use ferrostack_db::{Db, Tx, db_error, sqlx};
use ferrostack_model::{Error, Result, Timestamp};
use ferrostack_settings::Quota;

/// The quota class whose limits replace the settings' defaults.
pub const DEFAULT_CLASS: &str = "default";

/// Everything that has a limit, by the name quota sets use.
pub const RESOURCES: [&str; 10] = [
    "instances",
    "cores",
    "ram",
    "metadata_items",
    "injected_files",
    "injected_file_content_bytes",
    "injected_file_path_bytes",
    "key_pairs",
    "server_groups",
    "server_group_members",
];

fn slot<'a>(quota: &'a mut Quota, resource: &str) -> Option<&'a mut i64> {
    Some(match resource {
        "instances" => &mut quota.instances,
        "cores" => &mut quota.cores,
        "ram" => &mut quota.ram,
        "metadata_items" => &mut quota.metadata_items,
        "injected_files" => &mut quota.injected_files,
        "injected_file_content_bytes" => &mut quota.injected_file_content_bytes,
        "injected_file_path_bytes" => &mut quota.injected_file_path_bytes,
        "key_pairs" => &mut quota.key_pairs,
        "server_groups" => &mut quota.server_groups,
        "server_group_members" => &mut quota.server_group_members,
        _ => return None,
    })
}

/// The limit of `resource` in `quota`; -1 for what has none here.
pub fn limit_of(quota: &Quota, resource: &str) -> i64 {
    slot(&mut quota.clone(), resource).map_or(-1, |limit| *limit)
}

fn overlay(quota: &mut Quota, rows: Vec<(String, i64)>) {
    for (resource, limit) in rows {
        if let Some(slot) = slot(quota, &resource) {
            *slot = limit;
        }
    }
}

const OF_CLASS: &str = "SELECT resource, hard_limit FROM quota_classes WHERE class = $1";
const OF_OWNER: &str = "SELECT resource, hard_limit FROM quotas WHERE project_id = $1 AND user_id = $2";

/// The limits of a quota class: the settings' `defaults` with what was set for the class.
pub async fn class_limits(db: &Db, class: &str, defaults: &Quota) -> Result<Quota> {
    let mut quota = defaults.clone();
    overlay(&mut quota, sqlx::query_as(OF_CLASS).bind(class).fetch_all(db.reader()).await.map_err(db_error)?);
    Ok(quota)
}

/// The limits of a project: `defaults`, the default class, what was set for the project.
pub async fn limits(db: &Db, project_id: &str, defaults: &Quota) -> Result<Quota> {
    let mut quota = class_limits(db, DEFAULT_CLASS, defaults).await?;
    overlay(
        &mut quota,
        sqlx::query_as(OF_OWNER).bind(project_id).bind("").fetch_all(db.reader()).await.map_err(db_error)?,
    );
    Ok(quota)
}

/// The limits of a user in a project: the project's with what was set for the user.
pub async fn user_limits(db: &Db, project_id: &str, user_id: &str, defaults: &Quota) -> Result<Quota> {
    let mut quota = limits(db, project_id, defaults).await?;
    overlay(
        &mut quota,
        sqlx::query_as(OF_OWNER)
            .bind(project_id)
            .bind(user_id)
            .fetch_all(db.reader())
            .await
            .map_err(db_error)?,
    );
    Ok(quota)
}

async fn limits_in(tx: &mut Tx, project_id: &str, defaults: &Quota) -> Result<Quota> {
    let mut quota = defaults.clone();
    let rows = sqlx::query_as(OF_CLASS).bind(DEFAULT_CLASS).fetch_all(&mut **tx).await.map_err(db_error)?;
    overlay(&mut quota, rows);
    let rows =
        sqlx::query_as(OF_OWNER).bind(project_id).bind("").fetch_all(&mut **tx).await.map_err(db_error)?;
    overlay(&mut quota, rows);
    Ok(quota)
}

/// New limits of a project, or of a user in it if `user_id` is not empty.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The project.
    pub project_id: &'a str,
    /// The user, or "".
    pub user_id: &'a str,
    /// Resources with their limits; -1 is unlimited.
    pub limits: &'a [(&'static str, i64)],
    /// Even below what is in use.
    pub force: bool,
}

/// Sets limits. Without force 400 in Nova's words if a limit is below what is in use or given to users, or a
/// user's above what its project has left; then nothing is changed.
pub async fn update(db: &Db, defaults: &Quota, new: Update<'_>) -> Result<()> {
    let mut tx = db.begin_write().await?;
    lock_owner(&mut tx, "project", new.project_id).await?;
    if !new.force {
        let project = limits_in(&mut tx, new.project_id, defaults).await?;
        let mut used = used_in(&mut tx, new.project_id, new.user_id).await?;
        used.server_groups = sqlx::query_scalar(
            "SELECT COUNT(*) FROM server_groups WHERE project_id = $1 AND ($2 = '' OR user_id = $2)",
        )
        .bind(new.project_id)
        .bind(new.user_id)
        .fetch_one(&mut *tx)
        .await
        .map_err(db_error)?;
        for (resource, limit) in new.limits {
            let others: i64 = sqlx::query_scalar(
                "SELECT CAST(COALESCE(SUM(hard_limit), 0) AS BIGINT) FROM quotas \
                 WHERE project_id = $1 AND user_id <> '' AND user_id <> $2 AND resource = $3 AND hard_limit > 0",
            )
            .bind(new.project_id)
            .bind(new.user_id)
            .bind(*resource)
            .fetch_one(&mut *tx)
            .await
            .map_err(db_error)?;
            let used = used.of(resource);
            let whole = limit_of(&project, resource);
            let (minimum, maximum) = match new.user_id {
                "" => (used.max(others), -1),
                _ if whole < 0 => (used, -1),
                _ => (used, (whole - others).max(0)),
            };
            check_limit(resource, *limit, minimum, maximum)?;
        }
    }
    for (resource, limit) in new.limits {
        sqlx::query(
            "INSERT INTO quotas (project_id, user_id, resource, hard_limit, updated_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (project_id, user_id, resource) \
             DO UPDATE SET hard_limit = excluded.hard_limit, updated_at = excluded.updated_at",
        )
        .bind(new.project_id)
        .bind(new.user_id)
        .bind(*resource)
        .bind(limit)
        .bind(Timestamp::now().0)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
    }
    tx.commit().await.map_err(db_error)
}

/// `limit` must be in the range; -1 is more than any number.
fn check_limit(resource: &str, limit: i64, minimum: i64, maximum: i64) -> Result<()> {
    let rank = |n: i64| if n < 0 { i64::MAX } else { n };
    if rank(limit) < rank(minimum) {
        return Err(Error::bad_request(format!(
            "Quota limit {limit} for {resource} must be greater than or equal to already used and reserved {minimum}."
        )));
    }
    if rank(limit) > rank(maximum) {
        return Err(Error::bad_request(format!(
            "Quota limit {limit} for {resource} must be less than or equal to {maximum}."
        )));
    }
    Ok(())
}

/// Sets limits of a quota class.
pub async fn set_class(db: &Db, class: &str, limits: &[(&str, i64)]) -> Result<()> {
    let mut tx = db.begin_write().await?;
    for (resource, limit) in limits {
        sqlx::query(
            "INSERT INTO quota_classes (class, resource, hard_limit, updated_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (class, resource) \
             DO UPDATE SET hard_limit = excluded.hard_limit, updated_at = excluded.updated_at",
        )
        .bind(class)
        .bind(*resource)
        .bind(limit)
        .bind(Timestamp::now().0)
        .execute(&mut *tx)
        .await
        .map_err(db_error)?;
    }
    tx.commit().await.map_err(db_error)
}

/// Puts a project and its users back to the defaults, or only one user if `user_id` is not empty.
pub async fn delete(db: &Db, project_id: &str, user_id: &str) -> Result<()> {
    sqlx::query("DELETE FROM quotas WHERE project_id = $1 AND ($2 = '' OR user_id = $2)")
        .bind(project_id)
        .bind(user_id)
        .execute(db.writer())
        .await
        .map(|_| ())
        .map_err(db_error)
}

/// Makes checks of one owner wait for each other until the transaction ends. On SQLite the write lock does it
/// already; on PostgreSQL it is the row's lock.
pub async fn lock_owner(tx: &mut Tx, kind: &str, id: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO quota_locks (owner) VALUES ($1) \
         ON CONFLICT (owner) DO UPDATE SET generation = quota_locks.generation + 1",
    )
    .bind(format!("{kind} {id}"))
    .execute(&mut **tx)
    .await
    .map(|_| ())
    .map_err(db_error)
}

/// What living servers use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Servers.
    pub instances: i64,
    /// Virtual CPUs.
    pub cores: i64,
    /// MiB.
    pub ram: i64,
    /// Server groups.
    pub server_groups: i64,
}

impl Usage {
    /// How much of `resource` is used; only servers, their sizes and groups are counted for a project.
    pub fn of(self, resource: &str) -> i64 {
        match resource {
            "instances" => self.instances,
            "cores" => self.cores,
            "ram" => self.ram,
            "server_groups" => self.server_groups,
            _ => 0,
        }
    }
}

const USED: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(vcpus + resize_vcpus), 0) AS BIGINT), \
     CAST(COALESCE(SUM(memory_mb + resize_memory_mb), 0) AS BIGINT) FROM servers \
     WHERE deleted_at IS NULL AND (vm_state <> 'soft-delete' OR COALESCE(task_state, '') = 'restoring') \
     AND project_id = $1 AND ($2 = '' OR user_id = $2)";

fn usage((instances, cores, ram): (i64, i64, i64)) -> Usage {
    Usage { instances, cores, ram, server_groups: 0 }
}

/// What a project uses, or one user in it if `user_id` is not empty.
pub async fn used(db: &Db, project_id: &str, user_id: &str) -> Result<Usage> {
    let servers = sqlx::query_as(USED).bind(project_id).bind(user_id).fetch_one(db.reader()).await;
    let server_groups = server_groups::count(db, project_id, user_id).await?;
    Ok(Usage { server_groups, ..servers.map(usage).map_err(db_error)? })
}

/// The same inside a transaction, but for server groups.
pub async fn used_in(tx: &mut Tx, project_id: &str, user_id: &str) -> Result<Usage> {
    sqlx::query_as(USED)
        .bind(project_id)
        .bind(user_id)
        .fetch_one(&mut **tx)
        .await
        .map(usage)
        .map_err(db_error)
}

/// Servers to be made: a number of them and the size of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The fewest that satisfy the caller.
    pub min_count: i64,
    /// The most.
    pub max_count: i64,
    /// Virtual CPUs of each.
    pub vcpus: i64,
    /// MiB of each.
    pub memory_mb: i64,
}

/// How many servers may be made now, between `min_count` and `max_count`; 403 in Nova's words if not even the
/// fewest. Counts the servers table inside `tx` while no other create of the project can, so insert the rows in
/// the same transaction. Limits of the project and, where set, of the user count.
pub async fn reserve_servers(
    tx: &mut Tx,
    defaults: &Quota,
    project_id: &str,
    user_id: &str,
    want: Want,
) -> Result<i64> {
    lock_owner(tx, "project", project_id).await?;
    let mut quota = limits_in(tx, project_id, defaults).await?;
    let mut granted = allowed(&quota, used_in(tx, project_id, "").await?, want)?;
    let of_user: Vec<(String, i64)> = sqlx::query_as(OF_OWNER)
        .bind(project_id)
        .bind(user_id)
        .fetch_all(&mut **tx)
        .await
        .map_err(db_error)?;
    if !of_user.is_empty() && !user_id.is_empty() {
        overlay(&mut quota, of_user);
        let want = Want { max_count: granted, ..want };
        granted = allowed(&quota, used_in(tx, project_id, user_id).await?, want)?;
    }
    Ok(granted)
}

/// Whether a server that is being restored, and so counts already, fits; 403 in Nova's words if not.
pub async fn fits_restored(
    tx: &mut Tx,
    defaults: &Quota,
    project_id: &str,
    user_id: &str,
    want: Want,
) -> Result<()> {
    lock_owner(tx, "project", project_id).await?;
    let others = |used: Usage| Usage {
        instances: used.instances - 1,
        cores: used.cores - want.vcpus,
        ram: used.ram - want.memory_mb,
        ..used
    };
    let mut quota = limits_in(tx, project_id, defaults).await?;
    allowed(&quota, others(used_in(tx, project_id, "").await?), want)?;
    let of_user: Vec<(String, i64)> = sqlx::query_as(OF_OWNER)
        .bind(project_id)
        .bind(user_id)
        .fetch_all(&mut **tx)
        .await
        .map_err(db_error)?;
    if !of_user.is_empty() && !user_id.is_empty() {
        overlay(&mut quota, of_user);
        allowed(&quota, others(used_in(tx, project_id, user_id).await?), want)?;
    }
    Ok(())
}

/// 403 in Nova's words if a server of the project, and where limits are set for its user of the user, may not have so
/// much more. What it takes must be written in the same transaction.
pub async fn reserve_growth(
    tx: &mut Tx,
    defaults: &Quota,
    project_id: &str,
    user_id: &str,
    (vcpus, memory_mb): (i64, i64),
) -> Result<()> {
    if vcpus <= 0 && memory_mb <= 0 {
        return Ok(());
    }
    lock_owner(tx, "project", project_id).await?;
    let mut quota = limits_in(tx, project_id, defaults).await?;
    growth(&quota, used_in(tx, project_id, "").await?, vcpus, memory_mb)?;
    let of_user: Vec<(String, i64)> = sqlx::query_as(OF_OWNER)
        .bind(project_id)
        .bind(user_id)
        .fetch_all(&mut **tx)
        .await
        .map_err(db_error)?;
    if !of_user.is_empty() && !user_id.is_empty() {
        overlay(&mut quota, of_user);
        growth(&quota, used_in(tx, project_id, user_id).await?, vcpus, memory_mb)?;
    }
    Ok(())
}

fn growth(quota: &Quota, used: Usage, vcpus: i64, memory_mb: i64) -> Result<()> {
    let parts = [("cores", quota.cores, used.cores, vcpus), ("ram", quota.ram, used.ram, memory_mb)];
    let over: Vec<_> = parts
        .into_iter()
        .filter(|(_, limit, used, more)| *limit >= 0 && *more > 0 && used.saturating_add(*more) > *limit)
        .collect();
    if over.is_empty() {
        return Ok(());
    }
    let joined = |texts: Vec<String>| texts.join(", ");
    let names = joined(over.iter().map(|p| p.0.to_owned()).collect());
    Err(Error::over_limit(format!(
        "Quota exceeded for {names}: Requested {}, but already used {} of {} {names}",
        joined(over.iter().map(|p| p.3.to_string()).collect()),
        joined(over.iter().map(|p| p.2.to_string()).collect()),
        joined(over.iter().map(|p| p.1.to_string()).collect()),
    )))
}

/// The most servers of `want` that fit into `quota` beside `used`.
fn allowed(quota: &Quota, used: Usage, want: Want) -> Result<i64> {
    let parts = [
        ("cores", quota.cores, used.cores, want.vcpus),
        ("instances", quota.instances, used.instances, 1),
        ("ram", quota.ram, used.ram, want.memory_mb),
    ];
    let fit = |(_, limit, used, each): &(&str, i64, i64, i64)| match (*limit, *each) {
        (..0, _) | (_, ..=0) => want.max_count,
        (limit, each) => (limit.saturating_sub(*used)).max(0) / each,
    };
    let most = parts.iter().map(fit).min().unwrap_or(0).min(want.max_count);
    if most >= want.min_count {
        return Ok(most);
    }
    let over: Vec<_> = parts.iter().filter(|p| fit(p) < want.max_count).collect();
    type Part<'a> = (&'a str, i64, i64, i64);
    let join =
        |text: &dyn Fn(&Part<'_>) -> String| over.iter().map(|p| text(p)).collect::<Vec<_>>().join(", ");
    let names = join(&|p| p.0.to_owned());
    let asked = join(&|p| match p.0 {
        "instances" if want.min_count != want.max_count => format!("{}-{}", want.min_count, want.max_count),
        _ => p.3.saturating_mul(want.max_count).to_string(),
    });
    Err(Error::over_limit(format!(
        "Quota exceeded for {names}: Requested {asked}, but already used {} of {} {names}",
        join(&|p| p.2.to_string()),
        join(&|p| p.1.to_string()),
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn want(min_count: i64, max_count: i64, vcpus: i64, memory_mb: i64) -> Want {
        Want { min_count, max_count, vcpus, memory_mb }
    }

    #[test]
    fn says_what_is_over_in_novas_words() {
        let used = Usage { instances: 10, cores: 20, ram: 1024, ..Usage::default() };
        let error = allowed(&Quota::default(), used, want(1, 1, 4, 512)).unwrap_err();
        assert_eq!(error.kind.http(), 403);
        assert_eq!(
            error.public,
            "Quota exceeded for cores, instances: Requested 4, 1, but already used 20, 10 of 20, 10 cores, instances"
        );
    }

    #[test]
    fn grants_as_many_as_fit_between_min_and_max() {
        let used = Usage { instances: 7, cores: 7, ..Usage::default() };
        assert_eq!(allowed(&Quota::default(), used, want(1, 10, 1, 512)).unwrap(), 3);
        let error = allowed(&Quota::default(), used, want(4, 10, 1, 512)).unwrap_err();
        assert_eq!(
            error.public,
            "Quota exceeded for instances: Requested 4-10, but already used 7 of 10 instances"
        );
    }

    #[test]
    fn minus_one_is_unlimited_and_zero_is_none() {
        let used = Usage { instances: 500, cores: 500, ram: 500, ..Usage::default() };
        let unlimited = Quota { instances: -1, cores: -1, ram: -1, ..Quota::default() };
        assert_eq!(allowed(&unlimited, used, want(1, 100, 64, 1 << 30)).unwrap(), 100);
        let none = Quota { instances: 0, ..Quota::default() };
        assert!(allowed(&none, Usage::default(), want(1, 1, 1, 1)).is_err());
        // A limit set below the usage frees nothing and does not overflow.
        let low = Quota { cores: 1, ..Quota::default() };
        assert!(allowed(&low, Usage { cores: 9, ..Usage::default() }, want(1, 1, 1, 1)).is_err());
        assert!(allowed(&Quota::default(), Usage::default(), want(1, i64::MAX, i64::MAX, 1)).is_err());
    }

    #[test]
    fn every_resource_has_a_slot() {
        let mut quota = Quota::default();
        for resource in RESOURCES {
            *slot(&mut quota, resource).unwrap() = -7;
            assert_eq!(limit_of(&quota, resource), -7);
        }
        assert_eq!(limit_of(&quota, "fixed_ips"), -1);
    }
}
