//! Unshelving: a host is sought and claimed as for a new server, and the guest is made from the image that shelving
//! made. A server that is still on its host is only started.

use crate::{
    app::App,
    jobs::{
        build::{self, Data},
        fault,
        give::{self, Given, give},
        order::Pending,
    },
    network::NetworkApi,
    store::{
        Tx,
        instance_actions::{self as actions, End},
        servers::{self, Fault, change},
        shelved,
    },
};
use async_trait::async_trait;
use ferrostack_jobs::{Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, Timestamp,
    image::ImageSource,
    message::Order,
    server::{PowerState, VmState},
};
use serde::{Deserialize, Serialize};

/// Kind of the job of a server that is off its host.
pub const KIND: &str = "unshelve";
/// Its first step.
pub const FIRST: &str = "image";
/// Kind of the job of a server that is still on its host.
pub const HERE_KIND: &str = "unshelve_here";
/// Its first step.
pub const HERE_FIRST: &str = "start";
/// Name of their event in instance actions.
pub const EVENT: &str = "compute_unshelve_instance";

/// What unshelving knows beside what a build does: a part of its data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unshelving {
    /// The image as the agent gets it.
    pub image: Option<ImageSource>,
    /// Whether there is no such image any more.
    pub lost: bool,
}

/// What the job of a server on its host knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Here {
    /// The order to start.
    pub order: Pending,
    /// Why it fails.
    pub fault: Option<Fault>,
}

/// The job of a server that is off its host.
pub struct Unshelve {
    steps: Vec<Box<dyn Step<App>>>,
}

impl Unshelve {
    /// The job with its steps.
    pub fn new() -> Self {
        Self {
            steps: vec![
                Box::new(Image),
                Box::new(build::Schedule),
                Box::new(build::Claim),
                Box::new(Ports),
                Box::new(build::Spawn),
                Box::new(Clean),
                Box::new(Finish),
            ],
        }
    }
}

impl Default for Unshelve {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for Unshelve {
    fn kind(&self) -> &'static str {
        KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// As in Nova the server stays on the shelf, unless its image is lost.
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data()?;
        let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
        let lost = data.unshelve.is_some_and(|unshelving| unshelving.lost);
        end(tx, job, &fault, lost.then_some(VmState::Error)).await
    }
}

async fn end(tx: &mut Tx, job: &Job, fault: &Fault, then: Option<VmState>) -> Result<()> {
    change::task_failed(tx, &job.target, fault, then).await?;
    let request = job.request_id.as_deref().unwrap_or("");
    let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
    actions::event_end(tx, &job.target, request, EVENT, end, true).await
}

/// What the agent must know of the image.
struct Image;

#[async_trait]
impl Step<App> for Image {
    fn name(&self) -> &'static str {
        FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        let id = shelved::image(&app.db, &job.target).await?.unwrap_or_default();
        let found = app.image.source(&id, job.request_id.as_deref()).await?;
        let mut unshelving = data.unshelve.clone().unwrap_or_default();
        match found {
            // The hardware is the one the server had.
            Some(image) => {
                unshelving.image = Some(ImageSource { properties: server.image.properties, ..image });
                data.unshelve = Some(unshelving);
                Outcome::next().data(&data)
            }
            None => {
                unshelving.lost = true;
                data.unshelve = Some(unshelving);
                let message = format!(
                    "Error during unshelve instance {}: Unshelve attempted but the image {id} cannot be found.",
                    server.id
                );
                data.fault = Some(fault::fault(&message, "", ""));
                Outcome::fail(Error::new(ErrorKind::Internal, message)).data(&data)
            }
        }
    }
}

/// The ports that it kept go to the new host. Should no guest come of it, they stay there: nobody uses them.
struct Ports;

#[async_trait]
impl Step<App> for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let server = servers::get(&app.db, &job.target).await?;
        let host = give::host(&server)?;
        let zone = server.availability_zone.as_deref().unwrap_or("");
        let request_id = job.request_id.as_deref();
        let mut nics = Vec::with_capacity(server.ports.len());
        for nic in &server.ports {
            match app.network.bind_port(&nic.port_id, &server.id, zone, &host, request_id).await {
                Ok(port) => nics.push(NetworkApi::nic(port, nic.network.clone())),
                // Its owner removed it meanwhile.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut tx = app.db.begin_write().await?;
        change::set_ports(&mut tx, &server.id, &nics).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}

/// The guest has what was in the image.
struct Clean;

#[async_trait]
impl Step<App> for Clean {
    fn name(&self) -> &'static str {
        "clean"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        if let Some(image) = shelved::image(&app.db, &job.target).await?
            && let Err(error) = app.image.remove(&image, job.request_id.as_deref()).await
        {
            // As in Nova an image that stays is no reason to take the server away again.
            tracing::warn!(
                server = job.target,
                image,
                error = error.for_log(),
                "image of a shelved server is left"
            );
        }
        Ok(Outcome::next())
    }
}

struct Finish;

#[async_trait]
impl Step<App> for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let mut tx = app.db.begin_write().await?;
        change::activate(&mut tx, &job.target, data.power.unwrap_or(PowerState::Running)).await?;
        shelved::forget(&mut tx, &job.target).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}

/// The job of a server that is still on its host.
pub struct UnshelveHere {
    steps: Vec<Box<dyn Step<App>>>,
}

impl UnshelveHere {
    /// The job with its steps.
    pub fn new() -> Self {
        Self { steps: vec![Box::new(Start), Box::new(Clean), Box::new(FinishHere)] }
    }
}

impl Default for UnshelveHere {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl JobKind<App> for UnshelveHere {
    fn kind(&self) -> &'static str {
        HERE_KIND
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Here = job.data()?;
        let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
        end(tx, job, &fault, None).await
    }
}

struct Start;

#[async_trait]
impl Step<App> for Start {
    fn name(&self) -> &'static str {
        HERE_FIRST
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Here = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        let host = give::host(&server)?;
        match give(app, job, &mut data.order, &host, None, |_| Order::Start).await? {
            Given::Done(_) => Outcome::next().data(&data),
            Given::Failed(fault) => {
                let error = Error::new(ErrorKind::Internal, fault.message.clone());
                data.fault = Some(fault);
                Outcome::fail(error).data(&data)
            }
            Given::Wait(outcome) => outcome.data(&data),
        }
    }
}

struct FinishHere;

#[async_trait]
impl Step<App> for FinishHere {
    fn name(&self) -> &'static str {
        "finish"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut tx = app.db.begin_write().await?;
        change::settle(&mut tx, &job.target, VmState::Active, PowerState::Running, Timestamp::now()).await?;
        shelved::forget(&mut tx, &job.target).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, EVENT, actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}
