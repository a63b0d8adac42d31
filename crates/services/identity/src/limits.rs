//! The enforcement models of limits: flat, and strict two levels (a domain and its projects).

use crate::store::{self, limit::Limit, project::Project, registered_limit::RegisteredLimit};
use ferrostack_db::{Db, sqlx};
use ferrostack_model::{Error, Result};
use ferrostack_settings::LimitModel;
use serde_json::{Value, json};

/// What `GET /v3/limits/model` says of a model.
pub fn describe(model: LimitModel) -> Value {
    match model {
        LimitModel::Flat => json!({
            "name": "flat",
            "description": "Limit enforcement and validation does not take project hierarchy into consideration.",
        }),
        LimitModel::StrictTwoLevel => json!({
            "name": "strict_two_level",
            "description": "This model requires project hierarchy never exceeds a depth of two",
        }),
    }
}

/// Most projects above one another, domains not counted, that a model allows.
pub fn max_depth(model: LimitModel) -> usize {
    match model {
        LimitModel::Flat => usize::MAX,
        LimitModel::StrictTwoLevel => 1,
    }
}

/// An error if there are projects deeper than the model allows: a model that cannot be kept is not started with.
pub async fn check_depth(db: &Db, model: LimitModel) -> Result<()> {
    if model == LimitModel::Flat {
        return Ok(());
    }
    let deeper = store::project::nested(db.reader(), 5).await?;
    if deeper.is_empty() {
        return Ok(());
    }
    Err(Error::internal(format!(
        "identity.limit_model = \"strict_two_level\" allows projects directly below a domain only, but there are deeper ones: {}",
        deeper.join(", ")
    )))
}

/// -1 is more than any number.
fn amount(limit: i64) -> i64 {
    if limit < 0 { i64::MAX } else { limit }
}

/// 403 if `limit`, as it is in the transaction now, does not fit the limits above and below it. The caller holds the
/// registered limit's row.
pub async fn check(
    db: &mut sqlx::AnyConnection,
    model: LimitModel,
    registered: &RegisteredLimit,
    limit: &Limit,
    project: Option<&Project>,
) -> Result<()> {
    if model == LimitModel::Flat {
        return Ok(());
    }
    let fits = match project {
        Some(project) => {
            let above = store::limit::of_owner(&mut *db, &registered.id, &project.parent_id).await?;
            amount(limit.resource_limit) <= amount(above.unwrap_or(registered.default_limit))
        }
        None => {
            let below = store::limit::of_projects_in(&mut *db, &registered.id, limit.owner()).await?;
            below.into_iter().all(|below| amount(below) <= amount(limit.resource_limit))
        }
    };
    if fits {
        return Ok(());
    }
    let (level, region) = (
        if limit.project_id.is_some() { "project_id" } else { "domain_id" },
        limit.region_id.as_deref().unwrap_or("None"),
    );
    Err(Error::forbidden(format!(
        "Invalid resource limit: The resource limit ({level}: {}, resource_name: {}, resource_limit: {}, service_id: {}, region_id: {region}) doesn't satisfy current hierarchy model.",
        limit.owner(),
        limit.resource_name,
        limit.resource_limit,
        limit.service_id,
    )))
}
