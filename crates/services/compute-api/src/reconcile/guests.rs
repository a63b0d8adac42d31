//! Guests as their hypervisors see them against the servers' rows.

use crate::{
    app::App,
    jobs::{self, order},
    store::{
        guests,
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
            Some(server) => observed(app, &server, guest.power, at).await?,
            None => stray(app, &report.host, guest).await?,
        }
    }
    if report.full {
        for server in known.into_values() {
            // Its guest is not there: nothing is running, whatever became of it.
            observed(app, &server, PowerState::NoState, at).await?;
        }
    }
    Ok(())
}

/// A server's guest was seen in a power state.
async fn observed(app: &App, server: &Server, power: PowerState, at: Timestamp) -> Result<()> {
    if server.task_state.is_some() || server.power_at >= at || server.launched_at.is_none() {
        return Ok(());
    }
    let then = match (server.vm_state, power) {
        (VmState::Active, PowerState::Shutdown | PowerState::Crashed) => VmState::Stopped,
        // As Nova does: a server its user has stopped does not run.
        (VmState::Stopped, PowerState::Running | PowerState::Paused | PowerState::Suspended) => {
            return stop(app, server).await;
        }
        (VmState::Active | VmState::Stopped | VmState::Error, _) => server.vm_state,
        _ => return Ok(()),
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

async fn stop(app: &App, server: &Server) -> Result<()> {
    let verb = jobs::power::Verb::Stop;
    let mut tx = app.db.begin_write().await?;
    let begun =
        change::begin_task(&mut tx, &server.id, VmState::Stopped, None, TaskState::PoweringOff).await?;
    if begun != ferrostack_db::Change::Updated {
        return Ok(());
    }
    let data = serde_json::to_value(jobs::power::Data::of(verb))
        .map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
    let enqueue = Enqueue {
        kind: verb.kind(),
        first_step: jobs::power::FIRST,
        target: &server.id,
        data,
        request_id: None,
    };
    match ferrostack_jobs::enqueue(&mut tx, enqueue).await {
        Ok(_) => {}
        // Somebody works on it: the next report tells.
        Err(error) if error.kind == ferrostack_model::ErrorKind::Conflict => return Ok(()),
        Err(error) => return Err(error),
    }
    tx.commit().await.map_err(db_error)?;
    tracing::info!(server = server.id, "a stopped server runs: stopping it");
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
