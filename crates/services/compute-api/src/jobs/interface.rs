//! Interfaces of a server that is there: a port is made or bound and plugged into the guest, or unplugged and given
//! back.

use crate::{
    action,
    app::App,
    jobs::{
        fault, guest,
        order::{self, News, Pending},
        ports,
    },
    network::NetworkApi,
    store::{
        Tx, guests,
        instance_actions::{self as actions, Asker, End},
        server_nics as nics,
        servers::{self, Fault, NicRequest, Server},
    },
};
use async_trait::async_trait;
use ferrostack_bus::Address;
use ferrostack_db::{Change, db_error};
use ferrostack_jobs::{Enqueue, Job, JobKind, Outcome, Step};
use ferrostack_model::{
    Error, ErrorKind, Result, action::Action, guest::WantedPower, message::Order, server::PowerState,
};
use serde::{Deserialize, Serialize};

/// Kind of the job that attaches.
pub const ATTACH: &str = "attach_interface";
/// Kind of the job that detaches.
pub const DETACH: &str = "detach_interface";

/// What the job knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// What is attached; the same is in the server's row.
    pub nic: NicRequest,
    /// The port: once it is made, or the one to detach.
    pub port_id: String,
    /// The order to the agent.
    pub order: Pending,
    /// Why it fails.
    pub fault: Option<Fault>,
}

/// The job.
pub struct Interface {
    kind: &'static str,
    steps: Vec<Box<dyn Step<App>>>,
}

impl Interface {
    /// `POST …/os-interface`
    pub fn attach() -> Self {
        Self { kind: ATTACH, steps: vec![Box::new(Port), Box::new(Plug { attach: true })] }
    }
    /// `DELETE …/os-interface/{port}`
    pub fn detach() -> Self {
        Self { kind: DETACH, steps: vec![Box::new(Plug { attach: false }), Box::new(Release)] }
    }
}

fn event(kind: &str) -> &'static str {
    if kind == ATTACH { "compute_attach_interface" } else { "compute_detach_interface" }
}

#[async_trait]
impl JobKind<App> for Interface {
    fn kind(&self) -> &'static str {
        self.kind
    }
    fn steps(&self) -> &[Box<dyn Step<App>>] {
        &self.steps
    }
    /// The server goes on as it was.
    async fn failed(&self, _app: &App, job: &Job, tx: &mut Tx) -> Result<()> {
        let data: Data = job.data()?;
        let fault = data.fault.unwrap_or_else(|| fault::of_job(job));
        let request = job.request_id.as_deref().unwrap_or("");
        let end = End { success: false, details: Some(&fault.message), traceback: Some(&fault.private) };
        actions::event_end(tx, &job.target, request, event(self.kind), end, true).await
    }
}

/// Begins to attach what `nic` says; the job's id. 409 if the server's state does not allow it.
pub async fn attach(app: &App, server: Server, nic: NicRequest, asker: Asker<'_>) -> Result<String> {
    let data = Data { nic, ..Data::default() };
    begin(app, server, Action::AttachInterface, ATTACH, "port", &data, asker).await
}

/// Begins to detach a port; the job's id. 409 if the server's state does not allow it.
pub async fn detach(app: &App, server: Server, port_id: &str, asker: Asker<'_>) -> Result<String> {
    let data = Data { port_id: port_id.to_owned(), ..Data::default() };
    begin(app, server, Action::DetachInterface, DETACH, "plug", &data, asker).await
}

async fn begin(
    app: &App,
    mut server: Server,
    action: Action,
    kind: &str,
    first_step: &str,
    data: &Data,
    asker: Asker<'_>,
) -> Result<String> {
    loop {
        action::check(&server, action, asker.admin)?;
        let id = server.id.as_str();
        let mut tx = app.db.begin_write().await?;
        let mut wanted = server.nics.clone();
        if action == Action::AttachInterface {
            // Before the port is touched: whoever ends the server must know which ports users brought.
            wanted.push(data.nic.clone());
        }
        if nics::request(&mut tx, id, server.generation, &wanted).await? != Change::Updated {
            drop(tx);
            server = servers::get(&app.db, id).await?;
            continue;
        }
        actions::begin(&mut tx, id, kind, asker).await?;
        actions::event_begin(&mut tx, id, asker.request_id, event(kind), server.host.as_deref()).await?;
        let data = serde_json::to_value(data).map_err(|e| Error::internal(format!("encoding a job: {e}")))?;
        let request_id = Some(asker.request_id);
        let job = Enqueue { kind, first_step, target: id, data, request_id };
        let job_id = ferrostack_jobs::enqueue(&mut tx, job).await?;
        tx.commit().await.map_err(db_error)?;
        app.poke();
        return Ok(job_id);
    }
}

/// The order that brings the interfaces of `server`'s row into its guest.
pub fn nics_order(server: &Server, inputs: servers::Inputs, generation: i64) -> Order {
    let mut spec = guest::spec(server, inputs, generation);
    spec.power = match server.power_state {
        PowerState::Shutdown | PowerState::Crashed | PowerState::NoState => WantedPower::Stopped,
        _ => WantedPower::Running,
    };
    Order::Nics { spec: Box::new(spec) }
}

/// What is asked for and not yet in the row's ports is taken away again, or a port and what it was asked as.
fn without(server: &Server, data: &Data) -> (Vec<NicRequest>, Vec<ferrostack_model::network::NicSpec>) {
    let (mut wanted, mut bound) = (server.nics.clone(), server.ports.clone());
    if let Some(at) = bound.iter().position(|p| !data.port_id.is_empty() && p.port_id == data.port_id) {
        bound.remove(at);
        if at < wanted.len() {
            wanted.remove(at);
        }
    } else if wanted.len() > bound.len() && wanted.last() == Some(&data.nic) {
        wanted.pop();
    }
    (wanted, bound)
}

/// Whether the port of `data` was a user's own.
fn brought(server: &Server, port_id: &str) -> bool {
    server.nics.iter().any(|n| n.port_id.as_deref() == Some(port_id))
}

struct Port;

#[async_trait]
impl Step<App> for Port {
    fn name(&self) -> &'static str {
        "port"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        let request_id = job.request_id.as_deref();
        // A key of its own, so that a repetition finds the port.
        let key = format!("{}/{}", server.id, job.id);
        let port = ports::bind_one(app, &server, &data.nic, key, request_id).await?;
        let network = app.network.network(&port.network_id, request_id).await?;
        data.port_id.clone_from(&port.id);
        let mut bound = server.ports.clone();
        bound.retain(|p| p.port_id != port.id);
        bound.push(NetworkApi::nic(port, network));
        let mut tx = app.db.begin_write().await?;
        nics::set(&mut tx, &server.id, &server.nics, &bound).await?;
        Outcome::next().data(&data).map(|o| o.in_tx(tx))
    }

    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let Some(server) = servers::find(&app.db, &job.target).await? else { return Ok(Outcome::next()) };
        let request_id = job.request_id.as_deref();
        // Made, but its making not written down: it has our id and is not in the row.
        for port in app.network.ports_of(&server.id, request_id).await? {
            let ours = if data.port_id.is_empty() {
                !server.ports.iter().any(|p| p.port_id == port.id)
            } else {
                port.id == data.port_id
            };
            if ours && brought(&server, &port.id) {
                app.network.unbind_port(&port.id, request_id).await?;
            } else if ours {
                app.network.delete_port(&port.id, request_id).await?;
            }
        }
        let (wanted, bound) = without(&server, &data);
        let mut tx = app.db.begin_write().await?;
        nics::set(&mut tx, &server.id, &wanted, &bound).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}

struct Plug {
    attach: bool,
}

impl Plug {
    async fn order(&self, app: &App, job: &Job, mut data: Data) -> Result<Outcome> {
        let mut server = servers::get(&app.db, &job.target).await?;
        if !self.attach {
            (_, server.ports) = without(&server, &data);
        }
        let host = server.host.clone().ok_or_else(|| Error::conflict("The instance has no host."))?;
        let inputs = servers::inputs(&app.db, &server.id).await?;
        let mut tx = app.db.begin_write().await?;
        let generation = servers::change::next_generation(&mut tx, &server.id)
            .await?
            .ok_or_else(|| servers::not_found(&server.id))?;
        guests::ordered(&mut tx, &server.id, &host, generation).await?;
        data.order = Pending::sent(app, &host, generation);
        let order = nics_order(&server, inputs, generation);
        let message = order::message(&job.id, &server.id, generation, order, job.request_id.as_deref())?;
        let outcome = data.order.wait(job, false)?.data(&data)?.in_tx(tx);
        Ok(outcome.send(Address::Agent(host), message))
    }

    async fn done(&self, app: &App, job: &Job, data: &Data) -> Result<Outcome> {
        if !self.attach {
            return Outcome::next().data(data);
        }
        let mut tx = app.db.begin_write().await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, event(ATTACH), actions::SUCCESS, true).await?;
        Outcome::next().data(data).map(|o| o.in_tx(tx))
    }
}

#[async_trait]
impl Step<App> for Plug {
    fn name(&self) -> &'static str {
        "plug"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let mut data: Data = job.data()?;
        if data.order.generation == 0 {
            return self.order(app, job, data).await;
        }
        let fail = |mut data: Data, message: &str, private: String| {
            data.fault = Some(fault::fault(message, "", &private));
            Outcome::fail(Error::new(ErrorKind::Internal, message).with_internal(private)).data(&data)
        };
        match data.order.news(app, job).await? {
            News::Done(_) => self.done(app, job, &data).await,
            News::Failed { message, details, .. } => {
                let private = format!("{}: {message} {details}", data.order.host);
                fail(data, &message, private)
            }
            News::Silent => {
                let private = format!("host {} does not answer", data.order.host);
                fail(data, "The host of the instance does not answer.", private)
            }
            News::Repeat => self.order(app, job, data).await,
            News::Ask => data.order.wait(job, true)?.data(&data),
            News::Wait => data.order.wait(job, false)?.data(&data),
        }
    }

    /// The guest gets the interfaces back that it had. Nobody waits: what is lost the next order brings.
    async fn undo(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let Some(mut server) = servers::find(&app.db, &job.target).await?.filter(|s| s.deleted_at.is_none())
        else {
            return Ok(Outcome::next());
        };
        let Some(host) = server.host.clone().filter(|_| data.order.generation != 0) else {
            return Ok(Outcome::next());
        };
        if self.attach {
            (_, server.ports) = without(&server, &data);
        }
        let inputs = servers::inputs(&app.db, &server.id).await?;
        let mut tx = app.db.begin_write().await?;
        let Some(generation) = servers::change::next_generation(&mut tx, &server.id).await? else {
            return Ok(Outcome::next());
        };
        guests::ordered(&mut tx, &server.id, &host, generation).await?;
        let order = nics_order(&server, inputs, generation);
        let message = order::message("", &server.id, generation, order, job.request_id.as_deref())?;
        Ok(Outcome::next().in_tx(tx).send(Address::Agent(host), message))
    }
}

struct Release;

#[async_trait]
impl Step<App> for Release {
    fn name(&self) -> &'static str {
        "release"
    }

    async fn run(&self, app: &App, job: &Job) -> Result<Outcome> {
        let data: Data = job.data()?;
        let server = servers::get(&app.db, &job.target).await?;
        let request_id = job.request_id.as_deref();
        if server.ports.iter().any(|p| p.port_id == data.port_id) {
            if brought(&server, &data.port_id) {
                app.network.unbind_port(&data.port_id, request_id).await?;
            } else {
                app.network.delete_port(&data.port_id, request_id).await?;
            }
        }
        let (wanted, bound) = without(&server, &data);
        let mut tx = app.db.begin_write().await?;
        nics::set(&mut tx, &server.id, &wanted, &bound).await?;
        let request = job.request_id.as_deref().unwrap_or("");
        actions::event_end(&mut tx, &job.target, request, event(DETACH), actions::SUCCESS, true).await?;
        Ok(Outcome::next().in_tx(tx))
    }
}
