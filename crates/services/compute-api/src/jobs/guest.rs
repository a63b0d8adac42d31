//! The guest behind a server: its specification, and its destruction on every host that may hold it.

use crate::{
    app::App,
    jobs::order::{self, host_is_up},
    store::{
        self, guests,
        servers::{Inputs, Server, change},
    },
};
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, Outcome};
use ferrostack_model::{
    Result, Timestamp,
    guest::{GuestSpec, WantedPower},
    message::Order,
};
use serde::{Deserialize, Serialize};

/// What an agent needs to make the guest of `server`.
pub fn spec(server: &Server, inputs: Inputs, generation: i64) -> GuestSpec {
    GuestSpec {
        server_id: server.id.clone(),
        generation,
        instance_name: server.instance_name.clone(),
        display_name: server.display_name.clone(),
        hostname: server.hostname.clone(),
        project_id: server.project_id.clone(),
        user_id: server.user_id.clone(),
        launch_index: u32::try_from(server.launch_index).unwrap_or(0),
        reservation_id: server.reservation_id.clone(),
        availability_zone: server.availability_zone.clone().unwrap_or_default(),
        flavor: server.flavor.clone(),
        image: server.image.clone(),
        kernel: server.kernel.clone(),
        ramdisk: server.ramdisk.clone(),
        nics: server.ports.clone(),
        metadata: server.metadata.clone(),
        key_name: server.key_name.clone(),
        public_key: server.public_key.clone(),
        user_data: inputs.user_data,
        admin_pass: inputs.admin_pass,
        personality: inputs.personality,
        config_drive: server.config_drive,
        power: WantedPower::Running,
    }
}

/// A destruction under way, in a job's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Destroying {
    /// When the destroys are sent again.
    pub due: Timestamp,
    /// How often they were sent.
    pub sent: u32,
}

/// What a step of a destruction leads to.
pub enum Destroyed {
    /// No host holds a guest any more, or those that may are down and owe us a confirmation (the rows stay and the
    /// reconciler collects them).
    Yes,
    /// Not yet: how to wait.
    Wait(Box<Outcome>),
}

/// Destroys the guest on every host that may hold one. Run it again until it says yes.
pub async fn destroy(app: &App, job: &Job, state: &mut Destroying) -> Result<Destroyed> {
    let rows = guests::of_server(&app.db, &job.target).await?;
    if rows.is_empty() {
        return Ok(Destroyed::Yes);
    }
    let now = Timestamp::now();
    let request_id = job.request_id.as_deref();
    if state.sent > 0 && now < state.due && rows.iter().all(|g| g.doomed == 1) {
        return Ok(Destroyed::Wait(Box::new(Outcome::wait(state.due))));
    }
    if state.sent > 0 {
        let mut mute = 0;
        for row in &rows {
            if !host_is_up(app, &row.host, now).await? || state.sent > app.timing.inquiries {
                mute += 1;
            }
        }
        if mute == rows.len() {
            tracing::warn!(
                server = job.target,
                hosts = rows.len(),
                "destroy not confirmed: left to the reconciler"
            );
            return Ok(Destroyed::Yes);
        }
    }
    state.sent += 1;
    state.due = now.plus_millis(app.timing.inquiry_ms);
    let mut outcome = Outcome::wait(state.due);
    let mut tx = app.db.begin_write().await?;
    // All of them get one generation above everything that was ordered before.
    let fresh = rows.iter().any(|g| g.doomed == 0);
    let generation = if fresh { change::next_generation(&mut tx, &job.target).await? } else { None };
    for row in rows {
        let generation = match generation {
            Some(generation) => {
                guests::doom(&mut tx, &row.server_id, &row.host, generation).await?;
                generation
            }
            None => row.generation,
        };
        let message = order::message(&job.id, &row.server_id, generation, Order::Destroy, request_id)?;
        outcome = outcome.send(Address::Agent(row.host), message);
    }
    Ok(Destroyed::Wait(Box::new(outcome.in_tx(tx))))
}

/// Gives up the guest on one host without waiting: another host is tried. The answer removes the row.
pub async fn abandon(
    tx: &mut store::Tx,
    job: &Job,
    host: &str,
) -> Result<Option<(Address, ferrostack_model::message::Envelope)>> {
    let Some(generation) = change::next_generation(tx, &job.target).await? else { return Ok(None) };
    guests::doom(tx, &job.target, host, generation).await?;
    let message = order::message("", &job.target, generation, Order::Destroy, job.request_id.as_deref())?;
    Ok(Some((Address::Agent(host.to_owned()), message)))
}
