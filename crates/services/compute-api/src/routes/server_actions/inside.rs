//! What reaches inside the guest: `changePassword`, `trigger_crash_dump`, `injectNetworkInfo`.

use super::{Asked, ServerAction, accepted};
use crate::{
    action::{self, Also},
    agent,
    jobs::power::{self, Data, Verb},
    store::{
        instance_actions::{self as actions, Asker, End},
        servers::{self, Server, states},
    },
};
use actix_web::HttpResponse;
use ferrostack_db::db_error;
use ferrostack_jobs::State;
use ferrostack_model::{
    Error, ErrorKind, Feature, Result, action::Action, auth::Secret, guest_change::NO_GUEST_AGENT,
};
use reqwest::Method;
use std::time::Duration;
use tokio::time::Instant;

/// The event of a crash dump.
const CRASH_DUMP: &str = "compute_trigger_crash_dump";
/// How long a caller waits for the guest's word on its password: Nova's `rpc_response_timeout`.
const WORD: Duration = Duration::from_secs(60);
/// How often the job is looked at meanwhile; another replica may be running it.
const LOOK: Duration = Duration::from_millis(50);
/// Longest password, bytes: what a guest agent's command may hold with room to spare.
const LONGEST: usize = 4096;

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("changePassword", "os_compute_api:os-admin-password", |asked| {
        Box::pin(change_password(asked))
    }),
    ServerAction {
        window: Feature(17, None),
        ..ServerAction::new("trigger_crash_dump", "os_compute_api:servers:trigger_crash_dump", |asked| {
            Box::pin(crash_dump(asked))
        })
    },
    ServerAction::new("injectNetworkInfo", "os_compute_api:os-admin-actions:inject_network_info", |asked| {
        Box::pin(inject_network_info(asked))
    }),
];

async fn change_password(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, wish, .. } = asked;
    let password = Secret(wish["adminPass"].as_str().unwrap_or_default().to_owned());
    if password.0.len() > LONGEST || password.0.contains('\0') {
        return Err(Error::bad_request(
            "Invalid input for field/attribute adminPass. It is too long or holds a NUL.",
        ));
    }
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    action::check(&server, Action::ChangePassword, asker.admin)?;
    let has_agent =
        |value: &String| !matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "0" | "off");
    if !server.image.properties.get("hw_qemu_guest_agent").is_none_or(has_agent) {
        return Err(Error::conflict("QEMU guest agent is not enabled"));
    }
    let job =
        power::begin_with(app, server, Data::of(Verb::Password), asker, &Also::AdminPass(&password)).await?;
    // The answer says what came of it, as in Nova: the job goes on whatever becomes of this wait.
    let until = Instant::now() + WORD;
    let mut looks = tokio::time::interval(LOOK);
    while Instant::now() < until {
        looks.tick().await;
        let Some(job) = ferrostack_jobs::find(&app.db, &job).await? else { break };
        match job.state {
            State::Active | State::Undoing => {}
            State::Done | State::Superseded => break,
            State::Failed => {
                let why = job.failure.map(|e| e.public).unwrap_or_default();
                let kind =
                    if why == NO_GUEST_AGENT { ErrorKind::NotImplemented } else { ErrorKind::Conflict };
                return Err(Error::new(kind, why));
            }
        }
    }
    Ok(accepted())
}

/// Asked for once and done at once: an interrupt that came late, or twice, would do harm.
async fn crash_dump(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, .. } = asked;
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    action::check(&server, Action::TriggerCrashDump, asker.admin)?;
    let (id, request) = (server.id.as_str(), asker.request_id);
    let mut tx = app.db.begin_write().await?;
    actions::begin(&mut tx, id, "trigger_crash_dump", asker).await?;
    actions::event_begin(&mut tx, id, request, CRASH_DUMP, server.host.as_deref()).await?;
    tx.commit().await.map_err(db_error)?;
    let done = agent::ask(app, &server, Method::POST, "crash-dump", request).await;
    let (message, private) = match &done {
        Ok(_) => (String::new(), String::new()),
        Err(error) => (error.public.clone(), error.for_log()),
    };
    let end = match done {
        Ok(_) => actions::SUCCESS,
        Err(_) => End { success: false, details: Some(&message), traceback: Some(&private) },
    };
    let mut tx = app.db.begin_write().await?;
    actions::event_end(&mut tx, id, request, CRASH_DUMP, end, true).await?;
    tx.commit().await.map_err(db_error)?;
    Ok(accepted())
}

/// Reads the server's interfaces anew: guests get them from the metadata service and by DHCP, nothing is put into them.
async fn inject_network_info(asked: Asked<'_>) -> Result<HttpResponse> {
    let Asked { app, ctx, server, .. } = asked;
    action::check(&server, Action::InjectNetworkInfo, ctx.caller()?.is_admin())?;
    if let Err(error) = refresh(app, &server, &ctx.request_id).await {
        // As in Nova nobody waits for this.
        tracing::warn!(server = server.id, error = error.for_log(), "interfaces not read anew");
    }
    Ok(accepted())
}

async fn refresh(app: &crate::app::App, server: &Server, request_id: &str) -> Result<()> {
    let mut ports = server.ports.clone();
    for nic in &mut ports {
        match app.network.port(&nic.port_id, Some(request_id)).await {
            Ok(port) => (nic.mac_address, nic.fixed_ips) = (port.mac_address, port.fixed_ips),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if ports == server.ports || states::refresh_ports(&app.db, &server.id, server.generation, &ports).await? {
        return Ok(());
    }
    // Somebody works on the server, and reads them itself.
    servers::get(&app.db, &server.id).await.map(drop)
}
