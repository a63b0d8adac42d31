//! One order of a job to an agent, given and waited for: for steps that do nothing else.

use crate::{
    app::App,
    jobs::{
        fault,
        order::{self, News, Pending},
    },
    store::{
        guests,
        servers::{self, Fault, change},
    },
};
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, Outcome};
use ferrostack_model::{
    Error, Result,
    message::Order,
    server::{PowerState, TaskState},
};

/// What became of it.
pub enum Given {
    /// Done.
    Done(PowerState),
    /// Failed, or nobody answers.
    Failed(Fault),
    /// Not yet: how to wait. The caller adds the job's data, `pending` within.
    Wait(Box<Outcome>),
}

/// Gives an order to `host` and waits for its end: run it again until it is done or failed. `make` gets the order's
/// generation; `task` is shown from then on.
pub async fn give(
    app: &App,
    job: &Job,
    pending: &mut Pending,
    host: &str,
    task: Option<TaskState>,
    make: impl FnOnce(i64) -> Order,
) -> Result<Given> {
    let news = if pending.generation == 0 { News::Repeat } else { pending.news(app, job).await? };
    Ok(match news {
        News::Done(power) => Given::Done(power),
        News::Failed { message, details, .. } => {
            Given::Failed(fault::fault(&message, "", &format!("{}: {message} {details}", pending.host)))
        }
        News::Silent => Given::Failed(fault::fault(
            "The host of the instance does not answer.",
            "",
            &format!("host {} does not answer", pending.host),
        )),
        News::Ask => Given::Wait(Box::new(pending.wait(job, true)?)),
        News::Wait => Given::Wait(Box::new(pending.wait(job, false)?)),
        News::Repeat => {
            let mut tx = app.db.begin_write().await?;
            if task.is_some() {
                change::set_task(&mut tx, &job.target, task).await?;
            }
            let generation = change::next_generation(&mut tx, &job.target)
                .await?
                .ok_or_else(|| servers::not_found(&job.target))?;
            guests::ordered(&mut tx, &job.target, host, generation).await?;
            *pending = Pending::sent(app, host, generation);
            let request_id = job.request_id.as_deref();
            let message = order::message(&job.id, &job.target, generation, make(generation), request_id)?;
            let outcome = pending.wait(job, false)?.in_tx(tx);
            Given::Wait(Box::new(outcome.send(Address::Agent(host.to_owned()), message)))
        }
    })
}

/// The host of a server that must have one.
pub fn host(server: &servers::Server) -> Result<String> {
    server.host.clone().ok_or_else(|| Error::conflict("The instance has no host."))
}
