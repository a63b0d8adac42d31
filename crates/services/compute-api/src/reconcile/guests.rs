//! Guests as their hypervisors see them against the servers' rows.

use crate::{
    app::App,
    jobs::{
        order,
        power::{self, Verb},
    },
    store::{
        guests, migrations,
        servers::{self, Server, change},
    },
};
use ferrostack_bus::Address;
use ferrostack_db::db_error;
use ferrostack_jobs::Enqueue;
use ferrostack_model::{
    Error, Result, Timestamp,
    host::GuestState,
    message::{Envelope, GuestsReport, Order},
    server::{PowerState, TaskState, VmState},
};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// A destroy is not sent again within this time, seconds.
const AGAIN_SECONDS: i64 = 15;
/// How often owed destroys are looked for.
const LOOK: Duration = Duration::from_secs(10);
/// A host's start is told in whole seconds, by its clock.
const BOOT_SECONDS: i64 = 3;
/// How far ahead of our clock a report may be, seconds.
const SKEW_SECONDS: i64 = 5;

/// Takes a report.
pub async fn take(app: &App, report: GuestsReport) -> Result<()> {
    let now = Timestamp::now();
    let at = report.observed_at.min(now.plus_seconds(SKEW_SECONDS));
    let mut known: HashMap<String, Server> =
        servers::on_host(&app.db, &report.host).await?.into_iter().map(|s| (s.id.clone(), s)).collect();
    for guest in &report.guests {
        match known.remove(&guest.server_id) {
            Some(server) => observed(app, &server, guest.power, at, report.host_booted_at).await?,
            None => stray(app, &report.host, guest).await?,
        }
    }
    if report.full {
        for server in known.into_values() {
            // Its guest is not there: nothing is running, whatever became of it.
            observed(app, &server, PowerState::NoState, at, Timestamp::default()).await?;
        }
    }
    Ok(())
}

/// A server's guest was seen in a power state, on a host that was started at `booted` (0: it is not told).
async fn observed(
    app: &App,
    server: &Server,
    power: PowerState,
    at: Timestamp,
    booted: Timestamp,
) -> Result<()> {
    use PowerState::{Crashed, Paused, Running, Shutdown, Suspended};
    if server.task_state.is_some() || server.power_at >= at || server.launched_at.is_none() {
        return Ok(());
    }
    let off = matches!(power, Shutdown | Crashed);
    let then = match server.vm_state {
        VmState::Active | VmState::Rescued if off && went_down_with_host(app, server, booted) => {
            // Exactly as it was: also one that runs from its rescue image.
            return act(app, server, Verb::Start, TaskState::PoweringOn, server.vm_state).await;
        }
        // Of a paused guest nothing is left to be unpaused.
        VmState::Active | VmState::Paused if off => VmState::Stopped,
        // As Nova does: a server its user has stopped does not run.
        VmState::Stopped if matches!(power, Running | Paused | Suspended) => {
            return act(app, server, Verb::Stop, TaskState::PoweringOff, VmState::Stopped).await;
        }
        VmState::SoftDeleted if matches!(power, Running | Paused | Suspended) => {
            return act(app, server, Verb::SoftDelete, TaskState::SoftDeleting, VmState::SoftDeleted).await;
        }
        VmState::Building | VmState::Deleted | VmState::ShelvedOffloaded => return Ok(()),
        other => other,
    };
    if then == server.vm_state && power == server.power_state {
        return Ok(());
    }
    let mut tx = app.db.begin_write().await?;
    let changed = change::observe(&mut tx, &server.id, server.vm_state, then, power, at).await?;
    tx.commit().await.map_err(db_error)?;
    if changed {
        tracing::info!(server = server.id, ?power, vm_state = then.as_str(), "power state differs from ours");
    }
    Ok(())
}

/// Whether the guest ran until its host went down and shall run again: what we know of it is older than the host's start.
fn went_down_with_host(app: &App, server: &Server, booted: Timestamp) -> bool {
    app.settings.compute.resume_guests_state_on_host_boot
        && server.power_state == PowerState::Running
        && booted > server.power_at.plus_seconds(BOOT_SECONDS)
}

/// Brings a guest back to what its server is, if nobody works on it.
async fn act(app: &App, server: &Server, verb: Verb, task: TaskState, then: VmState) -> Result<()> {
    let mut tx = app.db.begin_write().await?;
    let begun = change::begin_task(&mut tx, &server.id, server.vm_state, None, task).await?;
    if begun != ferrostack_db::Change::Updated {
        return Ok(());
    }
    let data = serde_json::to_value(power::Data { then: Some(then), ..power::Data::of(verb) })
        .map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
    let enqueue =
        Enqueue { kind: verb.kind(), first_step: power::FIRST, target: &server.id, data, request_id: None };
    match ferrostack_jobs::enqueue(&mut tx, enqueue).await {
        Ok(_) => {}
        // Somebody works on it: the next report tells.
        Err(error) if error.kind == ferrostack_model::ErrorKind::Conflict => return Ok(()),
        Err(error) => return Err(error),
    }
    tx.commit().await.map_err(db_error)?;
    tracing::info!(server = server.id, verb = verb.kind(), "a guest is not what its server is: made so");
    app.poke();
    Ok(())
}

/// A guest on a host where we have no such server: destroyed only if it is certain that it must not be there.
async fn stray(app: &App, host: &str, guest: &GuestState) -> Result<()> {
    let Some(server) = servers::find(&app.db, &guest.server_id).await? else {
        tracing::warn!(server = guest.server_id, host, "a guest we know nothing of: left alone");
        return Ok(());
    };
    if ferrostack_jobs::find_active(&app.db, &server.id).await?.is_some() {
        return Ok(());
    }
    let must_go = server.deleted_at.is_some() || server.host.as_deref().is_some_and(|h| h != host) || {
        // A build that failed leaves its server without a host, as the shelf does.
        server.host.is_none() && matches!(server.vm_state, VmState::Error | VmState::ShelvedOffloaded)
    };
    if !must_go {
        return Ok(());
    }
    if server.deleted_at.is_none() && migrations::keeps(&app.db, &server.id, host).await? {
        // The old guest of a move that may still be taken back.
        return Ok(());
    }
    let rows = guests::of_server(&app.db, &server.id).await?;
    if rows.iter().any(|g| g.host == host && g.doomed == 1) {
        // Known and owed: the timer sends it again.
        return Ok(());
    }
    tracing::warn!(server = server.id, host, "a guest where it must not be: destroying it");
    let mut tx = app.db.begin_write().await?;
    let Some(generation) = change::next_generation(&mut tx, &server.id).await? else { return Ok(()) };
    guests::doom(&mut tx, &server.id, host, generation).await?;
    tx.commit().await.map_err(db_error)?;
    send(app, &server.id, host, generation).await
}

async fn send(app: &App, server_id: &str, host: &str, generation: i64) -> Result<()> {
    let message: Envelope = order::message("", server_id, generation, Order::Destroy, None)?;
    app.bus.publish(&Address::Agent(host.to_owned()), &message).await
}

/// Sends owed destroys again until they are confirmed.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(error) = collect(&app, AGAIN_SECONDS).await {
            tracing::info!(error = error.for_log(), "owed destroys not looked for");
        }
    }
}

/// One round: destroys decided more than `older` seconds ago, on hosts that are up.
pub async fn collect(app: &App, older: i64) -> Result<()> {
    let now = Timestamp::now();
    for guest in guests::owed(&app.db, now.plus_seconds(-older), 500).await? {
        if !order::host_is_up(app, &guest.host, now).await? {
            continue;
        }
        guests::touch(&app.db, &guest.server_id, &guest.host).await?;
        if let Err(error) = send(app, &guest.server_id, &guest.host, guest.generation).await {
            tracing::info!(host = guest.host, error = error.for_log(), "owed destroy not sent");
        }
    }
    Ok(())
}
