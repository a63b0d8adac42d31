//! `os-resetState`.

use super::{Asked, ServerAction, accepted};
use crate::{
    jobs,
    store::{
        instance_actions::{self as actions, Asker},
        servers::{self, change, states},
    },
};
use actix_web::HttpResponse;
use ferrostack_db::db_error;
use ferrostack_model::{Result, server::VmState};

pub(super) const ACTIONS: &[ServerAction] =
    &[ServerAction::new("os-resetState", "os_compute_api:os-admin-actions:reset_state", |asked| {
        Box::pin(reset(asked))
    })];

/// The admin's way out: the state as told. What changes power is stopped; a build or a delete goes on.
async fn reset(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let vm_state = if wish["state"] == "active" { VmState::Active } else { VmState::Error };
    let power_job = ferrostack_jobs::find_active(&app.db, &server.id)
        .await?
        .filter(|job| jobs::ends_with_reset(&job.kind));
    let mut tx = app.db.begin_write().await?;
    if !change::reset_state(&mut tx, &server.id, vm_state).await? {
        return Err(servers::not_found(&server.id));
    }
    states::keep(&mut tx, &server.id).await?;
    if let Some(job) = power_job {
        ferrostack_jobs::supersede(&mut tx, &server.id).await?;
        if let Some(request) = &job.request_id {
            actions::abandoned(&mut tx, &server.id, request, "The state of the instance was reset.").await?;
        }
        states::forget_admin_pass(&mut tx, &server.id).await?;
    }
    actions::begin(&mut tx, &server.id, "resetState", Asker::of(ctx.caller()?, &ctx.request_id)).await?;
    actions::end(&mut tx, &server.id, &ctx.request_id).await?;
    tx.commit().await.map_err(db_error)?;
    Ok(accepted())
}
