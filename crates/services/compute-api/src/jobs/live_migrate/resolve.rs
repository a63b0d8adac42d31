//! Who has a guest that was on its way: the hosts are asked until it is certain.

use super::{Data, PartOf, order, wait};
use crate::{
    app::App,
    jobs::{
        guest,
        order::{News, Pending},
    },
    store::{
        migrations, move_claims,
        servers::{
            self,
            moving::{self, To},
        },
    },
};
use ferrostack_jobs::{Job, Outcome};
use ferrostack_model::{Error, Result, live_migration::Part, migration::Status, server::PowerState};
use serde::{Deserialize, Serialize};

/// What the source says of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// It was not asked for its last word yet.
    #[default]
    Unsaid,
    /// It has it, and sends it no more.
    Here,
    /// It has it not.
    Gone,
    /// It does not answer.
    Silent,
}

/// How far the asking is, in the job's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resolving {
    /// The source's word.
    pub source: Word,
    /// Whether the source was asked.
    pub at_source: bool,
    /// Whether the destination was asked, and the present order is that.
    pub at_destination: bool,
    /// What came of it.
    pub ended: Option<Ended>,
}

/// The end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The source has the guest.
    Stayed,
    /// Nobody has it.
    Nowhere,
}

impl Resolving {
    /// With what the source has said already.
    pub fn begin(source: Word) -> Self {
        Self { source, ..Self::default() }
    }
}

/// What [`step`] found.
pub enum Found {
    /// Nothing yet.
    Wait(Box<Outcome>),
    /// The destination has the guest, in this state.
    Moved(PowerState),
    /// The source has it, and nothing of it is left on the destination.
    Stayed,
    /// Neither has it.
    Nowhere,
}

impl From<Outcome> for Found {
    fn from(outcome: Outcome) -> Self {
        Self::Wait(Box::new(outcome))
    }
}

/// Asks on. The source is told to stop first, so that what the destination says afterwards holds.
pub async fn step(app: &App, job: &Job, data: &mut Data) -> Result<Found> {
    match data.resolving.ended {
        Some(Ended::Stayed) => return Ok(Found::Stayed),
        Some(Ended::Nowhere) => return Ok(Found::Nowhere),
        None => {}
    }
    match data.resolving.source {
        Word::Unsaid => source(app, job, data).await,
        _ => destination(app, job, data).await,
    }
}

async fn source(app: &App, job: &Job, data: &mut Data) -> Result<Found> {
    let host = data.source.clone();
    let stop = Part::Abort { resume: !data.paused };
    // An order of the sending that came before this asking does not count.
    if !data.resolving.at_source {
        data.resolving.at_source = true;
        return order(app, job, data, &host, PartOf::Plain(stop)).await.map(Found::from);
    }
    let word = match data.order.news(app, job).await? {
        News::Done(PowerState::NoState) => Word::Gone,
        News::Done(_) => Word::Here,
        // It could not say: the destination can.
        News::Failed { message, details, .. } => {
            tracing::warn!(
                server = job.target,
                host,
                message,
                details,
                "the source does not say where a guest is"
            );
            Word::Silent
        }
        News::Silent => Word::Silent,
        News::Repeat => return order(app, job, data, &host, PartOf::Plain(stop)).await.map(Found::from),
        News::Ask => return wait(job, data, true).map(Found::from),
        News::Wait => return wait(job, data, false).map(Found::from),
    };
    data.resolving.source = word;
    data.order = Pending::default();
    destination(app, job, data).await
}

async fn destination(app: &App, job: &Job, data: &mut Data) -> Result<Found> {
    let host = data.dest.clone().unwrap_or_default().host;
    let settle = |spec| Part::Settle { spec };
    if !data.resolving.at_destination {
        data.resolving.at_destination = true;
        return order(app, job, data, &host, PartOf::WithSpec(&settle)).await.map(Found::from);
    }
    let ended = match (data.order.news(app, job).await?, data.resolving.source) {
        (News::Done(PowerState::NoState), Word::Gone) => Ended::Nowhere,
        // A source that is silent and was not left has it.
        (News::Done(PowerState::NoState), _) => Ended::Stayed,
        (News::Done(power), _) => return Ok(Found::Moved(power)),
        // The source has let go of it: nobody else can have it.
        (News::Silent, Word::Gone) => return Ok(Found::Moved(PowerState::Running)),
        // The source keeps it; what the destination may hold is removed when it is back.
        (News::Silent | News::Failed { .. }, Word::Here) => Ended::Stayed,
        // Nobody says where it is: nothing is done to it until somebody does.
        (News::Silent | News::Failed { .. }, _) => {
            data.resolving = Resolving::default();
            data.order = Pending::default();
            let due = ferrostack_model::Timestamp::now().plus_millis(app.timing.inquiry_ms);
            return Outcome::wait(due).data(data).map(Found::from);
        }
        (News::Repeat, _) => {
            return order(app, job, data, &host, PartOf::WithSpec(&settle)).await.map(Found::from);
        }
        (News::Ask, _) => return wait(job, data, true).map(Found::from),
        (News::Wait, _) => return wait(job, data, false).map(Found::from),
    };
    data.resolving.ended = Some(ended);
    Ok(match ended {
        Ended::Stayed => Found::Stayed,
        Ended::Nowhere => Found::Nowhere,
    })
}

/// The server is on its destination from now on. What the source still has of it goes.
pub async fn switch(app: &App, job: &Job, mut data: Data, power: PowerState) -> Result<Outcome> {
    let dest = data.dest.clone().ok_or_else(|| Error::internal("a guest that moved nowhere"))?;
    let server = servers::get(&app.db, &job.target).await?;
    let mut tx = app.db.begin_write().await?;
    let to = To { host: &dest.host, node: &dest.node, zone: &dest.zone };
    if !moving::moved(&mut tx, &server.id, &data.source, to, power).await? {
        return Err(Error::internal("a server that moved was not where it came from"));
    }
    move_claims::switch(&mut tx, &server.id, &dest.host, server.want()).await?;
    let freed = move_claims::release(&mut tx, &server.id).await?;
    migrations::set_status(&mut tx, data.migration, Status::PostMigrating).await?;
    let destroy = guest::abandon(&mut tx, job, &data.source).await?;
    data.switched = true;
    data.order = Pending::default();
    let mut outcome = Outcome::next().data(&data)?.in_tx(tx);
    if let Some((to, message)) = destroy {
        outcome = outcome.send(to, message);
    }
    Ok(outcome
        .after_commit(app.hosts.will_change(freed))
        .after_commit(app.hosts.will_change(Some(dest.host))))
}
