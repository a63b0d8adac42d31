//! `rescue` and `unrescue`.

use super::{Asked, ServerAction, accepted};
use crate::{
    action::{self, Also},
    boot_image,
    create::names,
    jobs::power::{self, Data, RescueImages, Verb},
    store::instance_actions::Asker,
};
use actix_web::HttpResponse;
use ferrostack_model::{Error, Result, action::Action, auth::Secret};
use serde_json::json;

/// Longest password, bytes.
const LONGEST: usize = 4096;

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("rescue", "os_compute_api:os-rescue", |asked| Box::pin(rescue(asked))),
    ServerAction::new("unrescue", "os_compute_api:os-unrescue", |asked| Box::pin(unrescue(asked))),
];

async fn rescue(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let password = Secret(wish["adminPass"].as_str().map_or_else(names::password, str::to_owned));
    if password.0.len() > LONGEST || password.0.contains('\0') {
        return Err(Error::bad_request(
            "Invalid input for field/attribute adminPass. It is too long or holds a NUL.",
        ));
    }
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    action::check(&server, Action::Rescue, asker.admin)?;
    let images = match wish["rescue_image_ref"].as_str() {
        Some(image_id) => boot_image::rescue(app, ctx, image_id, &server).await?,
        // Its own image, as it was when the server was made.
        None => RescueImages {
            image: server.image.clone(),
            kernel: server.kernel.clone(),
            ramdisk: server.ramdisk.clone(),
        },
    };
    let data = Data { rescue: Some(images), ..Data::of(Verb::Rescue) };
    power::begin_with(app, server, data, asker, &Also::AdminPass(&password)).await?;
    Ok(HttpResponse::Ok().json(json!({"adminPass": password.0})))
}

async fn unrescue(asked: Asked<'_>) -> Result<HttpResponse> {
    let asker = Asker::of(asked.ctx.caller()?, &asked.ctx.request_id);
    power::begin(asked.app, asked.server, Verb::Unrescue, asker).await?;
    Ok(accepted())
}
