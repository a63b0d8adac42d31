//! What is asked of a live migration under way: `DELETE` aborts it, `force_complete` lets its guest be paused.

use super::{server_migrations, servers::allowed};
use crate::{
    action,
    app::App,
    input,
    store::{
        instance_actions::{self as actions, Asker},
        live_migration_wishes::{self as wishes, Wishes},
        migrations::Migration,
        servers::Server,
    },
};
use actix_web::{HttpResponse, web};
use ferrostack_db::db_error;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route};
use ferrostack_model::{
    Error, Result,
    action::Action,
    microversion::feature,
    migration::{Kind, Status},
};
use serde_json::json;

const DELETE: &str = "os_compute_api:servers:migrations:delete";
const FORCE: &str = "os_compute_api:servers:migrations:force_complete";

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::delete("/v2.1/servers/{id}/migrations/{migration_id}", || web::route().to(abort))
            .window(feature::LIVE_MIGRATION_ABORT)
            .policy(&[DELETE])
            .success(202)
            .summary("Aborts a live migration: the server stays on its host"),
        Route::post("/v2.1/servers/{id}/migrations/{migration_id}/action", || web::route().to(force))
            .window(feature::LIVE_MIGRATION_FORCE_COMPLETE)
            .policy(&[FORCE])
            .success(202)
            .summary("Completes a live migration by pausing its server meanwhile"),
    ]
}

/// The migration, if it is in one of `states`.
async fn find(
    app: &App,
    server: &Server,
    id: &str,
    states: &[Status],
    what: &str,
    missing: fn(String) -> Error,
) -> Result<Migration> {
    let short: String = id.chars().take(255).collect();
    let found = server_migrations::find(app, &server.id, id).await?;
    let migration =
        found.ok_or_else(|| missing(format!("Migration {short} not found for instance {}", server.id)))?;
    if migration.kind == Kind::Live && states.contains(&migration.status) {
        return Ok(migration);
    }
    Err(Error::bad_request(format!(
        "Migration {} state of instance {} is {}. Cannot {what} while the migration is in this state.",
        migration.id,
        server.id,
        migration.status.as_str()
    )))
}

/// Writes the wish and the action of asking for it, and lets the job see it.
async fn wish(
    app: &App,
    ctx: &Ctx,
    server: &Server,
    migration: &Migration,
    wish: Wishes,
    names: (&str, &str),
) -> ApiResult {
    let (name, event) = names;
    let request = ctx.request_id.as_str();
    let mut tx = app.db.begin_write().await?;
    wishes::add(&mut tx, migration.id, wish).await?;
    // The action that began the migration goes on: this one only asked.
    actions::begin(&mut tx, &server.id, name, Asker::of(ctx.caller()?, request)).await?;
    actions::event_begin(&mut tx, &server.id, request, event, server.host.as_deref()).await?;
    actions::event_end(&mut tx, &server.id, request, event, actions::SUCCESS, true).await?;
    tx.commit().await.map_err(db_error)?;
    if let Some(job) = ferrostack_jobs::find_active(&app.db, &server.id).await? {
        ferrostack_jobs::wake_if_silent(&app.db, &job.id, &json!({"wished": name})).await?;
        app.poke();
    }
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}

async fn abort(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (id, migration_id) = path.into_inner();
    let server = allowed(&app, &ctx, &id, DELETE).await?;
    action::check(&server, Action::LiveMigrateAbort, ctx.caller()?.is_admin())?;
    let states: &[Status] = match ctx.version.has(feature::LIVE_MIGRATION_ABORT_QUEUED) {
        true => &[Status::Running, Status::Queued, Status::Preparing],
        false => &[Status::Running],
    };
    let found = find(&app, &server, &migration_id, states, "abort live migration", Error::not_found).await?;
    let wished = Wishes { abort: true, ..Wishes::default() };
    let names = ("live_migration_cancel", "compute_live_migration_abort");
    wish(&app, &ctx, &server, &found, wished, names).await
}

async fn force(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let (id, migration_id) = path.into_inner();
    if body.as_object().is_none_or(|map| map.len() != 1 || !map.contains_key("force_complete")) {
        return Err(Error::bad_request("There is no such action").into());
    }
    input::body(&ctx, "server_migrations.force_complete", body)?;
    let server = allowed(&app, &ctx, &id, FORCE).await?;
    action::check(&server, Action::LiveMigrateForceComplete, ctx.caller()?.is_admin())?;
    let found =
        find(&app, &server, &migration_id, &[Status::Running], "force complete", Error::bad_request).await?;
    let wished = Wishes { force_complete: true, ..Wishes::default() };
    let names = ("live_migration_force_complete", "compute_live_migration_force_complete");
    wish(&app, &ctx, &server, &found, wished, names).await
}
