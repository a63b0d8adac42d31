//! Which policy is for an endpoint, a service, or a service in a region.

use super::{Exec, run};
use ferrostack_db::{db_error, sqlx};
use ferrostack_model::Result;

/// An association's row: an endpoint, or a service with or without a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Association {
    /// The policy.
    pub policy_id: String,
    /// For one endpoint.
    pub endpoint_id: Option<String>,
    /// For the endpoints of a service …
    pub service_id: Option<String>,
    /// … in a region and those below it.
    pub region_id: Option<String>,
}

impl Association {
    /// The key: an endpoint, service, or service and region has at most one policy.
    fn target(&self) -> String {
        let part = |kind: &str, id: &Option<String>| id.as_ref().map(|id| format!("{kind}:{id}"));
        let parts = [
            part("endpoint", &self.endpoint_id),
            part("service", &self.service_id),
            part("region", &self.region_id),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// Associates, in place of the policy that was there before.
pub async fn set<'e>(db: impl Exec<'e>, row: &Association) -> Result<u64> {
    run(
        db,
        sqlx::query(
            "INSERT INTO policy_association (target, policy_id, endpoint_id, service_id, region_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (target) DO UPDATE SET policy_id = $2",
        )
        .bind(row.target())
        .bind(row.policy_id.as_str())
        .bind(row.endpoint_id.as_deref())
        .bind(row.service_id.as_deref())
        .bind(row.region_id.as_deref()),
    )
    .await
}

/// The policy of exactly this target, whatever policy `row` names.
pub async fn policy_of<'e>(db: impl Exec<'e>, row: &Association) -> Result<Option<String>> {
    let found: Option<(String,)> =
        sqlx::query_as("SELECT policy_id FROM policy_association WHERE target = $1")
            .bind(row.target())
            .fetch_optional(db)
            .await
            .map_err(db_error)?;
    Ok(found.map(|(id,)| id))
}

/// What a policy is for, in a fixed order.
pub async fn list_of_policy<'e>(db: impl Exec<'e>, policy_id: &str) -> Result<Vec<Association>> {
    sqlx::query_as(
        "SELECT policy_id, endpoint_id, service_id, region_id FROM policy_association WHERE policy_id = $1 ORDER BY target",
    )
    .bind(policy_id)
    .fetch_all(db)
    .await
    .map_err(db_error)
}

/// Removes an association; how many there were.
pub async fn delete<'e>(db: impl Exec<'e>, row: &Association) -> Result<u64> {
    run(
        db,
        sqlx::query("DELETE FROM policy_association WHERE target = $1 AND policy_id = $2")
            .bind(row.target())
            .bind(row.policy_id.as_str()),
    )
    .await
}
