//! `forceDelete` and `restore`.

use super::{Asked, ServerAction, accepted};
use crate::{
    action::{self, Also},
    jobs::{
        delete,
        power::{self, Data, Verb},
    },
    store::instance_actions::Asker,
};
use actix_web::HttpResponse;
use ferrostack_model::{Result, action::Action};

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("forceDelete", "os_compute_api:os-deferred-delete:force", |asked| {
        Box::pin(force_delete(asked))
    }),
    ServerAction::new("restore", "os_compute_api:os-deferred-delete:restore", |asked| {
        Box::pin(restore(asked))
    }),
];

async fn force_delete(asked: Asked<'_>) -> Result<HttpResponse> {
    let asker = Asker::of(asked.ctx.caller()?, &asked.ctx.request_id);
    action::check(&asked.server, Action::ForceDelete, asker.admin)?;
    delete::begin(asked.app, &asked.server, asker).await?;
    Ok(accepted())
}

/// A server that waits for its deletion counts for no quota; coming back it counts again.
async fn restore(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, .. } = asked;
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    power::begin_with(app, server, Data::of(Verb::Restore), asker, &Also::CountedAgain).await?;
    Ok(accepted())
}
