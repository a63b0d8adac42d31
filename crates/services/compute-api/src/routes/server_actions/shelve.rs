//! `shelve`, `shelveOffload` and `unshelve`.

use super::{Asked, ServerAction, accepted};
use crate::{
    shelve::{self, Target},
    store::instance_actions::Asker,
};
use actix_web::HttpResponse;
use ferrostack_model::{Result, microversion::feature};

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("shelve", "os_compute_api:os-shelve:shelve", |asked| Box::pin(shelve(asked))),
    ServerAction::new("shelveOffload", "os_compute_api:os-shelve:shelve_offload", |asked| {
        Box::pin(offload(asked))
    }),
    ServerAction::new("unshelve", "os_compute_api:os-shelve:unshelve", |asked| Box::pin(unshelve(asked))),
];

async fn shelve(asked: Asked<'_>) -> Result<HttpResponse> {
    shelve::begin(asked.app, asked.ctx, asked.server).await?;
    Ok(accepted())
}

async fn offload(asked: Asked<'_>) -> Result<HttpResponse> {
    let asker = Asker::of(asked.ctx.caller()?, &asked.ctx.request_id);
    shelve::offload(asked.app, asked.server, asker).await?;
    Ok(accepted())
}

async fn unshelve(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let text = |name: &str| wish.get(name).map(|value| value.as_str().map(str::to_owned));
    let target = Target {
        zone: text("availability_zone").filter(|_| ctx.version.has(feature::UNSHELVE_ZONE)),
        host: text("host").flatten().filter(|_| ctx.version.has(feature::UNSHELVE_HOST)),
    };
    shelve::back(app, ctx, server, &target).await?;
    Ok(accepted())
}
