//! Quotas: limits of single projects, and the count under a lock that enforces them.

use super::{number, text};
use ferrostack_db::{
    Db, Tx, db_error,
    sqlx::{self, Row as _},
};
use ferrostack_model::{Error, Result};
use ferrostack_settings::NetworkQuota;
use std::collections::BTreeMap;

/// A resource that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Networks.
    Network,
    /// Subnets.
    Subnet,
    /// Ports.
    Port,
}

/// Limits of a project by resource; -1 is unlimited.
pub type Limits = BTreeMap<Resource, i64>;

impl Resource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Network, Self::Subnet, Self::Port];

    /// `network`
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Subnet => "subnet",
            Self::Port => "port",
        }
    }

    fn count_sql(self) -> &'static str {
        match self {
            Self::Network => "SELECT COUNT(*) AS used FROM network WHERE project_id = $1",
            Self::Subnet => "SELECT COUNT(*) AS used FROM subnet WHERE project_id = $1",
            Self::Port => "SELECT COUNT(*) AS used FROM port WHERE project_id = $1",
        }
    }

    fn default(self, defaults: &NetworkQuota) -> i64 {
        match self {
            Self::Network => defaults.network,
            Self::Subnet => defaults.subnet,
            Self::Port => defaults.port,
        }
    }
}

/// The limits of projects without their own.
pub fn defaults(settings: &NetworkQuota) -> Limits {
    Resource::ALL.into_iter().map(|r| (r, r.default(settings))).collect()
}

fn overlay(limits: &mut Limits, resource: &str, limit: i64) {
    if let Some(known) = Resource::ALL.into_iter().find(|r| r.name() == resource) {
        limits.insert(known, limit);
    }
}

/// The limits of `project_id`, its own on top of the defaults.
pub async fn get(db: &Db, project_id: &str, settings: &NetworkQuota) -> Result<Limits> {
    let mut limits = defaults(settings);
    let rows = sqlx::query("SELECT resource, quota_limit FROM quota WHERE project_id = $1")
        .bind(project_id)
        .fetch_all(db.reader())
        .await
        .map_err(db_error)?;
    for row in &rows {
        overlay(&mut limits, &text(row, "resource")?, number(row, "quota_limit")?);
    }
    Ok(limits)
}

/// The projects with own limits.
pub async fn list(db: &Db, settings: &NetworkQuota) -> Result<BTreeMap<String, Limits>> {
    let rows = sqlx::query("SELECT project_id, resource, quota_limit FROM quota ORDER BY project_id")
        .fetch_all(db.reader())
        .await
        .map_err(db_error)?;
    let mut all = BTreeMap::new();
    for row in &rows {
        let limits = all.entry(text(row, "project_id")?).or_insert_with(|| defaults(settings));
        overlay(limits, &text(row, "resource")?, number(row, "quota_limit")?);
    }
    Ok(all)
}

/// Sets limits of a project.
pub async fn update(tx: &mut Tx, project_id: &str, limits: &Limits) -> Result<()> {
    for (resource, limit) in limits {
        sqlx::query(
            "INSERT INTO quota (project_id, resource, quota_limit) VALUES ($1, $2, $3)
             ON CONFLICT (project_id, resource) DO UPDATE SET quota_limit = excluded.quota_limit",
        )
        .bind(project_id)
        .bind(resource.name())
        .bind(*limit)
        .execute(&mut **tx)
        .await
        .map_err(db_error)?;
    }
    Ok(())
}

/// Forgets a project's own limits; whether it had any.
pub async fn delete(db: &Db, project_id: &str) -> Result<bool> {
    let done =
        sqlx::query("DELETE FROM quota WHERE project_id = $1").bind(project_id).execute(db.writer()).await;
    Ok(done.map_err(db_error)?.rows_affected() > 0)
}

/// How many of `resource` a project has.
pub async fn used(db: &Db, project_id: &str, resource: Resource) -> Result<i64> {
    let row = sqlx::query(resource.count_sql()).bind(project_id).fetch_one(db.reader()).await;
    row.map_err(db_error)?.try_get("used").map_err(db_error)
}

/// Refuses `adding` more than the project's limit, and keeps others of the project from adding until the
/// transaction ends. Call it before any other lock is taken.
pub async fn reserve(
    tx: &mut Tx,
    project_id: &str,
    resource: Resource,
    limit: i64,
    adding: i64,
) -> Result<()> {
    if limit < 0 {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO quota_lock (project_id, taken) VALUES ($1, 1)
         ON CONFLICT (project_id) DO UPDATE SET taken = quota_lock.taken + 1",
    )
    .bind(project_id)
    .execute(&mut **tx)
    .await
    .map_err(db_error)?;
    let row =
        sqlx::query(resource.count_sql()).bind(project_id).fetch_one(&mut **tx).await.map_err(db_error)?;
    let used: i64 = row.try_get("used").map_err(db_error)?;
    if used + adding > limit {
        return Err(Error::over_limit(format!("Quota exceeded for resources: ['{}'].", resource.name()))
            .named("OverQuota"));
    }
    Ok(())
}
