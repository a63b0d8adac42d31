//! `os-start`, `os-stop`, `reboot`, and the guests that are paused or suspended.

use super::{Asked, ServerAction, accepted};
use crate::{
    jobs::power::{self, Verb},
    store::instance_actions::Asker,
};
use actix_web::HttpResponse;
use ferrostack_model::Result;

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("os-start", "os_compute_api:servers:start", |asked| {
        Box::pin(begin(asked, Verb::Start))
    }),
    ServerAction::new("os-stop", "os_compute_api:servers:stop", |asked| Box::pin(begin(asked, Verb::Stop))),
    ServerAction::new("reboot", "os_compute_api:servers:reboot", |asked| Box::pin(reboot(asked))),
    ServerAction::new("pause", "os_compute_api:os-pause-server:pause", |asked| {
        Box::pin(begin(asked, Verb::Pause))
    }),
    ServerAction::new("unpause", "os_compute_api:os-pause-server:unpause", |asked| {
        Box::pin(begin(asked, Verb::Unpause))
    }),
    ServerAction::new("suspend", "os_compute_api:os-suspend-server:suspend", |asked| {
        Box::pin(begin(asked, Verb::Suspend))
    }),
    ServerAction::new("resume", "os_compute_api:os-suspend-server:resume", |asked| {
        Box::pin(begin(asked, Verb::Resume))
    }),
];

async fn begin(asked: Asked<'_>, verb: Verb) -> Result<HttpResponse> {
    let asker = Asker::of(asked.ctx.caller()?, &asked.ctx.request_id);
    power::begin(asked.app, asked.server, verb, asker).await?;
    Ok(accepted())
}

async fn reboot(asked: Asked<'_>) -> Result<HttpResponse> {
    let hard = asked.wish["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("HARD"));
    begin(asked, if hard { Verb::RebootHard } else { Verb::RebootSoft }).await
}
