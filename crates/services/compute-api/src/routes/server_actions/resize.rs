//! `resize`, `migrate`, `confirmResize` and `revertResize`.

use super::{Asked, ServerAction, accepted};
use crate::{
    action, boot_image,
    jobs::moves::begin::{self, Going},
    store::{
        flavors::{self, Flavor, Viewer},
        hosts,
        instance_actions::Asker,
        migrations::Size,
    },
};
use actix_web::HttpResponse;
use ferrostack_model::{Error, ErrorKind, Result, action::Action};

const MIGRATE_HOST: &str = "os_compute_api:os-migrate-server:migrate:host";

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("resize", "os_compute_api:servers:resize", |asked| Box::pin(resize(asked))),
    ServerAction::new("migrate", "os_compute_api:os-migrate-server:migrate", |asked| {
        Box::pin(migrate(asked))
    }),
    ServerAction::new("confirmResize", "os_compute_api:servers:confirm_resize", |asked| {
        Box::pin(confirm(asked))
    }),
    ServerAction::new("revertResize", "os_compute_api:servers:revert_resize", |asked| {
        Box::pin(revert(asked))
    }),
];

fn unresizable(why: &str) -> Error {
    Error::bad_request(format!("Server disk was unable to be resized because: {why}"))
}

async fn resize(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let caller = ctx.caller()?;
    let asker = Asker::of(caller, &ctx.request_id);
    action::check(&server, Action::Resize, asker.admin)?;
    let wanted = &wish["flavorRef"];
    let wanted = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
    // A link, as old clients send it.
    let id = wanted.rsplit('/').next().unwrap_or_default();
    let missing = || Error::bad_request(flavors::not_found(id).public);
    let flavor = flavors::get_by_id(&app.db, id, Viewer::of(caller)).await.map_err(|e| match e.kind {
        ErrorKind::NotFound => missing(),
        _ => e,
    })?;
    let old = &server.flavor;
    if flavor.root_gb == 0 && old.root_gb != 0 {
        return Err(unresizable("Resize to zero disk flavor is not allowed."));
    }
    if flavor.id == server.flavor_id {
        return Err(Error::bad_request("When resizing, instances must change flavor!"));
    }
    if flavor.disabled {
        return Err(missing());
    }
    let smaller = |new: i64, old: u64| u64::try_from(new).unwrap_or(0) < old;
    if smaller(flavor.root_gb, old.root_gb) || smaller(flavor.ephemeral_gb, old.ephemeral_gb) {
        return Err(unresizable("Unable to resize disk down."));
    }
    fits(&asked.app.image, ctx, &server.image.id, &flavor).await?;
    let disk_config = wish["OS-DCF:diskConfig"].as_str().map(str::to_owned);
    let going = Going { size: Some(Size::of(&flavor)), host: None, disk_config };
    begin::go(app, server, asker, &going).await?;
    Ok(accepted())
}

/// The new flavor must hold the image. One that is not there any more, or not for the caller, says nothing about it.
async fn fits(
    images: &crate::image::ImageApi,
    ctx: &ferrostack_http::Ctx,
    image_id: &str,
    flavor: &Flavor,
) -> Result<()> {
    match images.get(image_id, ctx.caller()?, &ctx.request_id).await {
        Ok(image) => boot_image::fits(ctx, &image, flavor),
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::BadRequest) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn migrate(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    let host = wish["host"].as_str().map(str::to_owned);
    if let Some(host) = &host {
        let target = [("project_id", server.project_id.as_str()), ("user_id", server.user_id.as_str())];
        ctx.enforce(MIGRATE_HOST, &target)?;
        action::check(&server, Action::Migrate, asker.admin)?;
        if hosts::get(&app.db, host).await?.is_none() {
            return Err(Error::bad_request(format!("Compute host {host} could not be found.")));
        }
        if server.host.as_deref() == Some(host) {
            return Err(Error::bad_request("Cannot migrate to the host where the server exists."));
        }
    }
    begin::go(app, server, asker, &Going { size: None, host, disk_config: None }).await?;
    Ok(accepted())
}

async fn confirm(asked: Asked<'_>) -> Result<HttpResponse> {
    let asker = Asker::of(asked.ctx.caller()?, &asked.ctx.request_id);
    begin::confirm(asked.app, asked.server, asker).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn revert(asked: Asked<'_>) -> Result<HttpResponse> {
    let asker = Asker::of(asked.ctx.caller()?, &asked.ctx.request_id);
    begin::revert(asked.app, asked.server, asker).await?;
    Ok(accepted())
}
