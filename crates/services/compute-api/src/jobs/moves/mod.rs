//! Resizes and cold migrations: going, confirming, coming back. What the three jobs share.

pub mod begin;
pub mod confirm;
pub mod resize;
pub mod revert;

use crate::{
    app::App,
    jobs::{
        guest,
        order::{self, News, Pending},
        ports,
    },
    store::{
        guests,
        migrations::{self, Migration, Size},
        servers::{self, Fault, Server, change, moves},
    },
};
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, Outcome};
use ferrostack_model::{
    Error, Result,
    guest::{GuestSpec, WantedPower},
    guest_move::GuestMove,
    message::Order,
    migration::Status,
    network::NicSpec,
    server::{PowerState, TaskState},
};
use serde::{Deserialize, Serialize};

/// What every job of a move knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// The row of `migrations`.
    pub migration: i64,
    /// `OS-DCF:diskConfig` for after it.
    pub disk_config: Option<String>,
    /// The host an operator named.
    pub wanted_host: Option<String>,
    /// Whether the host the server is on may be chosen.
    pub same_host: bool,
    /// Number of the latest request to the scheduler.
    pub round: i64,
    /// Whether that request was answered and its hosts are used up.
    pub answered: bool,
    /// When the scheduler is asked again.
    pub due: ferrostack_model::Timestamp,
    /// Chosen hosts that were not tried yet.
    pub hosts: Vec<String>,
    /// Rounds in which every choice was lost.
    pub lost: i64,
    /// The order of the present step.
    pub order: Pending,
    /// The order of the present undo.
    pub undo: Pending,
    /// Power state after the last order.
    pub power: Option<PowerState>,
    /// Why it fails.
    pub fault: Option<Fault>,
    /// Whether the undo could not bring the guest back.
    pub broken: bool,
}

/// The server and its migration.
pub(crate) struct Move {
    pub(crate) server: Server,
    pub(crate) migration: Migration,
}

impl Move {
    /// Reads both; an error if either is gone.
    pub(crate) async fn of(app: &App, job: &Job, data: &Data) -> Result<Self> {
        let server = servers::get(&app.db, &job.target).await?;
        let migration = migrations::get(&app.db, data.migration).await?;
        let migration = migration.ok_or_else(|| Error::internal("a move without its migration"))?;
        Ok(Self { server, migration })
    }

    /// The host it leaves.
    pub(crate) fn source(&self) -> Result<&str> {
        self.migration.source.host.as_deref().ok_or_else(|| Error::internal("a migration from nowhere"))
    }

    /// The host it goes to.
    pub(crate) fn dest(&self) -> Result<&str> {
        self.migration.dest.host.as_deref().ok_or_else(|| Error::internal("a migration to nowhere"))
    }

    /// Whether only the size changes.
    pub(crate) fn in_place(&self) -> bool {
        self.migration.source.host == self.migration.dest.host
    }

    /// Whether the server ran before.
    pub(crate) fn ran(&self) -> bool {
        self.migration.old_vm_state == ferrostack_model::server::VmState::Active
    }

    /// The guest in a size, of a generation.
    pub(crate) async fn spec(
        &self,
        app: &App,
        size: &Size,
        runs: bool,
        generation: i64,
    ) -> Result<GuestSpec> {
        let inputs = servers::inputs(&app.db, &self.server.id).await?;
        let mut spec = guest::spec(&self.server, inputs, generation);
        spec.flavor = size.flavor.clone();
        spec.power = if runs { WantedPower::Running } else { WantedPower::Stopped };
        Ok(spec)
    }
}

/// What an order of a move is made of, once its generation is known.
pub(crate) enum Want {
    /// Shut the guest off.
    Stop,
    /// Bring the guest to a size, and to its power before if it `runs`.
    Ensure { size: Size, runs: bool },
    /// A step of a move.
    Move(MoveTo),
    /// Remove the guest.
    Destroy,
}

/// A step of a move before its guest is known.
pub(crate) enum MoveTo {
    Receive(ferrostack_model::guest_move::Origin, Size),
    Resize(Size),
    Revert(Size),
    Forget,
}

/// What the server and the migration show from an order on.
pub(crate) type Mark = (Option<TaskState>, Option<Status>);
/// Nothing new.
pub(crate) const UNMARKED: Mark = (None, None);

/// Gives an order to the agent of `host` and notes that it may hold a guest (or must lose it).
pub(crate) async fn give(
    app: &App,
    job: &Job,
    this: &Move,
    host: &str,
    want: Want,
    mark: Mark,
    keep: impl FnOnce(Pending) -> Data,
) -> Result<Outcome> {
    let id = this.server.id.as_str();
    // Everything but the generation is read before the transaction.
    let template = match &want {
        Want::Ensure { size, runs } => Some(this.spec(app, size, *runs, 0).await?),
        Want::Move(MoveTo::Receive(_, size) | MoveTo::Resize(size)) => {
            Some(this.spec(app, size, false, 0).await?)
        }
        Want::Move(MoveTo::Revert(size)) => Some(this.spec(app, size, this.ran(), 0).await?),
        _ => None,
    };
    let mut tx = app.db.begin_write().await?;
    if let Some(task) = mark.0 {
        moves::stage(&mut tx, id, task).await?;
    }
    if let Some(status) = mark.1 {
        migrations::set_status(&mut tx, this.migration.id, status).await?;
    }
    let generation = change::next_generation(&mut tx, id).await?.ok_or_else(|| servers::not_found(id))?;
    let spec = || {
        let mut spec = template.clone().ok_or_else(|| Error::internal("an order without its guest"))?;
        spec.generation = generation;
        Ok::<_, Error>(Box::new(spec))
    };
    let order = match want {
        Want::Stop => Order::Stop { timeout_seconds: app.settings.compute.shutdown_timeout_seconds },
        Want::Ensure { .. } => Order::Ensure { spec: spec()? },
        Want::Destroy => Order::Destroy,
        Want::Move(step) => Order::Move {
            step: Box::new(match step {
                MoveTo::Receive(from, _) => GuestMove::Receive { spec: spec()?, from },
                MoveTo::Resize(_) => GuestMove::Resize { spec: spec()? },
                MoveTo::Revert(_) => GuestMove::Revert { spec: spec()? },
                MoveTo::Forget => GuestMove::Forget,
            }),
        },
    };
    if order == Order::Destroy {
        guests::doom(&mut tx, id, host, generation).await?;
    } else {
        guests::ordered(&mut tx, id, host, generation).await?;
    }
    let pending = Pending::sent(app, host, generation);
    let message = order::message(&job.id, id, generation, order, job.request_id.as_deref())?;
    let outcome = pending.wait(job, false)?.data(&keep(pending))?.in_tx(tx);
    Ok(outcome.send(Address::Agent(host.to_owned()), message))
}

/// How an order that was given stands, and what the step does about it.
pub(crate) enum Stand {
    /// Done.
    Done(PowerState),
    /// It failed, or its host says nothing any more.
    Failed { message: String, private: String, silent: bool },
    /// It never came: give it again.
    Again,
    /// Not yet.
    Wait(Box<Outcome>),
}

/// Looks at an order in `pick` of the data.
pub(crate) async fn look(
    app: &App,
    job: &Job,
    data: &mut Data,
    pick: impl Fn(&mut Data) -> &mut Pending,
) -> Result<Stand> {
    let pending = pick(data);
    let host = pending.host.clone();
    let news = pending.news(app, job).await?;
    let pending = pending.clone();
    Ok(match news {
        News::Done(power) => Stand::Done(power),
        News::Failed { message, details, .. } => {
            Stand::Failed { private: format!("{host}: {message} {details}"), message, silent: false }
        }
        News::Silent => Stand::Failed {
            message: "The host of the instance does not answer.".into(),
            private: format!("host {host} does not answer"),
            silent: true,
        },
        News::Repeat => Stand::Again,
        News::Ask => Stand::Wait(Box::new(pending.wait(job, true)?.data(data)?)),
        News::Wait => Stand::Wait(Box::new(pending.wait(job, false)?.data(data)?)),
    })
}

/// Binds the server's ports to `host`.
pub(crate) async fn bind(
    app: &App,
    this: &Move,
    host: &str,
    request_id: Option<&str>,
) -> Result<Vec<NicSpec>> {
    let there = Server { host: Some(host.to_owned()), ..this.server.clone() };
    ports::bind(app, &there, request_id).await
}

/// The claim of a size.
pub(crate) fn share(size: &Size) -> crate::store::claims::Want {
    crate::store::claims::Want {
        vcpus: i64::from(size.flavor.vcpus),
        memory_mb: i64::try_from(size.flavor.ram_mb).unwrap_or(i64::MAX),
        local_gb: size.disk_gb(),
    }
}
