//! Waiting for an agent: an order is sent with a generation of its own; if no word comes in time the agent is asked
//! what became of it, and only what never came is sent again.

use crate::{app::App, store};
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, Outcome};
use ferrostack_model::{
    Result, Timestamp,
    message::{AgentAnswer, AgentInquiry, AgentOrder, Envelope, Order, Outcome as Word},
    server::PowerState,
};
use serde::{Deserialize, Serialize};

/// An order that reaches its host later than this is not carried out, seconds.
const ORDER_SECONDS: i64 = 60;

/// An order that was sent, in a job's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// To this host.
    pub host: String,
    /// Its generation; 0: nothing was sent.
    pub generation: i64,
    /// When the agent is asked next.
    pub due: Timestamp,
    /// Questions since the agent's last word.
    pub asked: u32,
}

/// What is known of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Done.
    Done(PowerState),
    /// Failed.
    Failed {
        /// For the server's fault.
        message: String,
        /// For admins.
        details: String,
        /// Whether another host may succeed.
        elsewhere: bool,
    },
    /// The agent never got it: send it again.
    Repeat,
    /// No word, and none is to be expected: the host is down or mute.
    Silent,
    /// Ask the agent.
    Ask,
    /// Wait on.
    Wait,
}

impl Pending {
    /// An order of `generation` that goes to `host` now.
    pub fn sent(app: &App, host: &str, generation: i64) -> Self {
        Self { host: host.to_owned(), generation, due: Self::next_due(app), asked: 0 }
    }

    fn next_due(app: &App) -> Timestamp {
        Timestamp::now().plus_millis(app.timing.inquiry_ms)
    }

    /// Looks at the job's inbox and the clock.
    pub async fn news(&mut self, app: &App, job: &Job) -> Result<News> {
        if let Some(answer) = job.answer::<AgentAnswer>()
            && answer.host == self.host
            && answer.generation == self.generation
        {
            (self.asked, self.due) = (0, Self::next_due(app));
            return Ok(match answer.outcome {
                Word::Done { power } => News::Done(power),
                // What it offers is read by the job that asked.
                Word::Prepared { .. } => News::Done(PowerState::NoState),
                Word::Failed { message, details, retry_elsewhere } => {
                    News::Failed { message, details, elsewhere: retry_elsewhere }
                }
                Word::Working { detail } => {
                    tracing::debug!(job = job.id, host = self.host, detail, "agent works");
                    News::Wait
                }
                Word::Unknown => News::Repeat,
                // Only we give orders to this server while this job is active, so the ledger is ahead of us:
                // another job took over and this one is about to be fenced off.
                Word::Superseded => News::Failed {
                    message: "The operation was superseded by a newer one.".into(),
                    details: String::new(),
                    elsewhere: false,
                },
            });
        }
        let now = Timestamp::now();
        if now < self.due {
            return Ok(News::Wait);
        }
        self.asked += 1;
        self.due = Self::next_due(app);
        if self.asked > 1 && !host_is_up(app, &self.host, now).await? || self.asked > app.timing.inquiries {
            return Ok(News::Silent);
        }
        Ok(News::Ask)
    }

    /// Waits for the agent's word; asks it first if `ask`.
    pub fn wait(&self, job: &Job, ask: bool) -> Result<Outcome> {
        let outcome = Outcome::wait(self.due);
        if !ask {
            return Ok(outcome);
        }
        let inquiry = AgentInquiry {
            job_id: job.id.clone(),
            server_id: job.target.clone(),
            generation: self.generation,
        };
        let message = Envelope::new(&inquiry, job.request_id.as_deref())?.at_generation(self.generation);
        Ok(outcome.send(Address::Agent(self.host.clone()), message))
    }
}

/// Whether a host's agent is heard.
pub async fn host_is_up(app: &App, host: &str, now: Timestamp) -> Result<bool> {
    let row = store::hosts::get(&app.db, host).await?;
    Ok(row.is_some_and(|h| h.is_up(now, app.settings.compute.service_down_time)))
}

/// An order as a message. An empty `job_id` is an order whose answer nobody waits for.
pub fn message(
    job_id: &str,
    server_id: &str,
    generation: i64,
    order: Order,
    request_id: Option<&str>,
) -> Result<Envelope> {
    let destroys = order == Order::Destroy;
    let order = AgentOrder { job_id: job_id.to_owned(), server_id: server_id.to_owned(), generation, order };
    let message = Envelope::new(&order, request_id)?.at_generation(generation);
    // What waited in the queue of a host that was away must not start a guest when it is back: the server may have been
    // evacuated. A job that still wants it is asked and orders again.
    Ok(if destroys { message } else { message.until(Timestamp::now().plus_seconds(ORDER_SECONDS)) })
}
