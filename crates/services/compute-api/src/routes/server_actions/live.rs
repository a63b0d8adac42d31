//! `os-migrateLive` and `evacuate`.

use super::{Asked, ServerAction, accepted};
use crate::{
    app::App,
    create::names,
    input::is_true,
    jobs::{evacuate, live_migrate},
    store::{hosts, instance_actions::Asker, servers::Server},
};
use actix_web::HttpResponse;
use ferrostack_http::Ctx;
use ferrostack_model::{Error, Result, auth::Secret, microversion::feature};
use serde_json::json;

const LIVE_HOST: &str = "os_compute_api:os-migrate-server:migrate_live:host";

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("os-migrateLive", "os_compute_api:os-migrate-server:migrate_live", |asked| {
        Box::pin(live(asked))
    }),
    ServerAction::new("evacuate", "os_compute_api:os-evacuate", |asked| Box::pin(evacuate(asked))),
];

/// Whether the host that was asked for is taken without the scheduler: before `force` there was no other way.
fn forced(asked: &Asked<'_>, before: ferrostack_model::Feature, wanted: bool) -> Result<bool> {
    let force = is_true(&asked.wish["force"]);
    if force && !wanted {
        return Err(Error::bad_request("Can't force to a non-provided destination"));
    }
    Ok(force || wanted && asked.ctx.version.has(before))
}

async fn live(asked: Asked<'_>) -> Result<HttpResponse> {
    let host = asked.wish["host"].as_str().map(str::to_owned);
    let target =
        [("project_id", asked.server.project_id.as_str()), ("user_id", asked.server.user_id.as_str())];
    if host.is_some() {
        asked.ctx.enforce(LIVE_HOST, &target)?;
    }
    let forced = forced(&asked, feature::LIVE_MIGRATE_UNFORCED_NEVER, host.is_some())?;
    let block = match asked.wish["block_migration"].as_str() {
        Some("auto") => None,
        _ => Some(is_true(&asked.wish["block_migration"])),
    };
    let Asked { app, ctx, server, .. } = asked;
    if let Some(host) = host.as_deref().filter(|_| !forced)
        && hosts::get(&app.db, host).await?.is_none()
    {
        return Err(Error::bad_request(format!("Compute host {host} could not be found.")));
    }
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    let wish = live_migrate::Wish { host, forced, block };
    let job = live_migrate::begin(app, server, wish, asker).await?;
    if !ctx.version.has(feature::LIVE_MIGRATE_ASYNC) {
        live_migrate::until_checked(app, &job).await?;
    }
    Ok(accepted())
}

async fn evacuate(asked: Asked<'_>) -> Result<HttpResponse> {
    let host = asked.wish["host"].as_str().map(str::to_owned);
    let forced = forced(&asked, feature::EVACUATE_UNFORCED_NEVER, host.is_some())?;
    let shared = is_true(&asked.wish["onSharedStorage"]);
    let given = asked.wish["adminPass"].as_str().map(str::to_owned);
    let told = asked.ctx.version.has(feature::EVACUATE_ADMIN_PASS);
    if told && shared && given.is_some() {
        return Err(Error::bad_request("admin password can't be changed on existing disk"));
    }
    let Asked { app, ctx, server, .. } = asked;
    target_host(app, &server, host.as_deref()).await?;
    let password = given.or_else(|| (!told || !shared).then(names::password));
    let wish = evacuate::Wish {
        host,
        forced,
        admin_pass: password.clone().map(Secret),
        stopped: ctx.version.has(feature::EVACUATE_STOPPED),
    };
    evacuate::begin(app, server, wish, asker_of(ctx)?).await?;
    Ok(match told {
        true => HttpResponse::Ok().json(json!({"adminPass": password})),
        false => HttpResponse::Ok().content_type("application/json").finish(),
    })
}

fn asker_of(ctx: &Ctx) -> Result<Asker<'_>> {
    Ok(Asker::of(ctx.caller()?, &ctx.request_id))
}

async fn target_host(app: &App, server: &Server, host: Option<&str>) -> Result<()> {
    let Some(host) = host else { return Ok(()) };
    if hosts::get(&app.db, host).await?.is_none() {
        return Err(Error::not_found(format!("Compute host {host} not found.")));
    }
    if server.host.as_deref() == Some(host) {
        return Err(Error::bad_request("The target host can't be the same one."));
    }
    Ok(())
}
