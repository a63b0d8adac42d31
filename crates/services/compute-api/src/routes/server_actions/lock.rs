//! `lock` and `unlock`.

use super::{Asked, ServerAction, accepted};
use crate::store::{
    instance_actions::{self as actions, Asker},
    servers::{self, states},
};
use actix_web::HttpResponse;
use ferrostack_db::db_error;
use ferrostack_model::{Result, microversion::feature};

const OVERRIDE: &str = "os_compute_api:os-lock-server:unlock:unlock_override";

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("lock", "os_compute_api:os-lock-server:lock", |asked| Box::pin(lock(asked))),
    ServerAction::new("unlock", "os_compute_api:os-lock-server:unlock", |asked| Box::pin(unlock(asked))),
];

/// Whether the caller is of the server's project: only then it is locked as by its owner, admin or not.
fn is_owner(asked: &Asked<'_>) -> Result<bool> {
    Ok(asked.server.project_id == asked.ctx.caller()?.project_id())
}

async fn lock(asked: Asked<'_>) -> Result<HttpResponse> {
    let owner = is_owner(&asked)?;
    if asked.server.locked && owner {
        // As in Nova: neither the lock nor its reason changes.
        return Ok(accepted());
    }
    let Asked { app, ctx, server, wish, .. } = asked;
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    let mut tx = app.db.begin_write().await?;
    let by = if owner { "owner" } else { "admin" };
    let reason = wish["locked_reason"].as_str().filter(|_| ctx.version.has(feature::LOCKED_REASON));
    if !states::lock(&mut tx, &server.id, by, reason).await? {
        return Err(servers::not_found(&server.id));
    }
    actions::begin(&mut tx, &server.id, "lock", asker).await?;
    actions::event_begin(&mut tx, &server.id, asker.request_id, "api_lock", None).await?;
    actions::event_end(&mut tx, &server.id, asker.request_id, "api_lock", actions::SUCCESS, true).await?;
    tx.commit().await.map_err(db_error)?;
    Ok(accepted())
}

async fn unlock(asked: Asked<'_>) -> Result<HttpResponse> {
    let expected = if is_owner(&asked)? { "owner" } else { "admin" };
    let Asked { app, ctx, server, .. } = asked;
    let by = states::locked_by(&app.db, &server.id).await?;
    if by.is_some_and(|by| by != expected) {
        ctx.enforce(OVERRIDE, &[("project_id", &server.project_id), ("user_id", &server.user_id)])?;
    }
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    let mut tx = app.db.begin_write().await?;
    if !states::unlock(&mut tx, &server.id).await? {
        return Err(servers::not_found(&server.id));
    }
    actions::begin(&mut tx, &server.id, "unlock", asker).await?;
    actions::event_begin(&mut tx, &server.id, asker.request_id, "api_unlock", None).await?;
    actions::event_end(&mut tx, &server.id, asker.request_id, "api_unlock", actions::SUCCESS, true).await?;
    tx.commit().await.map_err(db_error)?;
    Ok(accepted())
}
