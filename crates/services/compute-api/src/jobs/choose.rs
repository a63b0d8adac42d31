//! Choosing a host for a server that has one: the scheduler is asked, its choices are claimed as a move.

use crate::{
    app::App,
    jobs::fault,
    placement,
    store::{
        Tx,
        claims::Claimed,
        guests, move_claims, server_groups,
        servers::{Fault, Server},
    },
};
use ferrostack_bus::Address;
use ferrostack_jobs::{Job, Outcome};
use ferrostack_model::{
    Result, Timestamp,
    message::{Envelope, ScheduleAnswer, ScheduleRequest},
    placement::PlacementRequest,
};
use serde::{Deserialize, Serialize};

/// Rounds in which every choice was taken by others, before it fails.
const MAX_LOST_ROUNDS: i64 = 20;

/// A choice under way, in a job's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choosing {
    /// The host asked for.
    pub wanted: Option<String>,
    /// That host without the scheduler, though it be disabled.
    pub forced: bool,
    /// Number of the latest request to the scheduler.
    pub round: i64,
    /// Whether that request was answered and its hosts are used up.
    pub answered: bool,
    /// When the scheduler is asked again.
    pub due: Timestamp,
    /// Chosen hosts that were not tried yet.
    pub hosts: Vec<String>,
    /// Rounds in which every choice was lost.
    pub lost: i64,
    /// Hosts that failed, and why.
    pub failed: Vec<(String, String)>,
}

/// A claimed host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dest {
    /// The service host.
    pub host: String,
    /// The hypervisor's name of it.
    pub node: String,
    /// Its zone.
    pub zone: String,
}

/// What came of asking.
pub enum Asked {
    /// There are hosts to claim.
    Chosen,
    /// No host can take it.
    Refused(Fault),
    /// Not yet; the data are still to be added.
    Wait(Outcome),
}

/// What came of claiming.
pub enum Taken {
    /// This one.
    Host(Dest),
    /// None of them: ask again.
    Again,
    /// None of them, and it is not worth asking again.
    Full,
}

impl Choosing {
    /// For a caller's wish.
    pub fn of(wanted: Option<String>, forced: bool) -> Self {
        Self { wanted, forced, ..Self::default() }
    }

    /// Asks the scheduler for hosts other than those that hold a guest of the server or failed.
    pub async fn ask(&mut self, app: &App, job: &Job, server: &Server) -> Result<Asked> {
        if self.forced
            && let Some(host) = self.wanted.clone()
        {
            self.hosts = vec![host];
            return Ok(Asked::Chosen);
        }
        if !self.answered
            && let Some(answer) = job.answer::<ScheduleAnswer>()
            && answer.job_id == job.id
            && answer.attempt == self.round
        {
            let decision = answer.decision;
            if decision.hosts.is_empty() {
                let fault = fault::no_valid_host(&decision.rejections, decision.considered, &self.failed);
                return Ok(Asked::Refused(fault));
            }
            (self.hosts, self.answered) = (decision.hosts, true);
            return Ok(Asked::Chosen);
        }
        let now = Timestamp::now();
        if now < self.due {
            return Ok(Asked::Wait(Outcome::wait(self.due)));
        }
        if self.round == 0 || self.answered {
            (self.round, self.answered) = (self.round + 1, false);
        }
        self.due = now.plus_millis(app.timing.schedule_ms);
        let request = ScheduleRequest {
            job_id: job.id.clone(),
            server_id: server.id.clone(),
            generation: server.generation,
            attempt: self.round,
            request: self.placement(app, server).await?,
        };
        let message = Envelope::new(&request, job.request_id.as_deref())?.at_generation(server.generation);
        Ok(Asked::Wait(Outcome::wait(self.due).send(Address::Scheduler, message)))
    }

    async fn placement(&self, app: &App, server: &Server) -> Result<PlacementRequest> {
        let mut excluded_hosts: Vec<String> = self.failed.iter().map(|(host, _)| host.clone()).collect();
        excluded_hosts.extend(server.host.clone());
        // One that still has to remove an older guest of this server would take that for the new one.
        excluded_hosts.extend(guests::of_server(&app.db, &server.id).await?.into_iter().map(|g| g.host));
        Ok(PlacementRequest {
            host: self.wanted.clone(),
            excluded_hosts,
            ..placement::request(app, server).await?
        })
    }

    /// Claims the first host that has room. The server's row is locked by `tx` already.
    pub async fn take(&mut self, app: &App, tx: &mut Tx, server: &Server, held: &[String]) -> Result<Taken> {
        for host in std::mem::take(&mut self.hosts) {
            if held.contains(&host) || server.host.as_ref() == Some(&host) {
                continue;
            }
            // Groups hold for moves too; who forces a host takes that upon himself.
            if !self.forced && !server_groups::permits(tx, &server.id, &host).await? {
                continue;
            }
            let settings = &app.settings.compute;
            let claimed =
                move_claims::claim(tx, &server.id, &host, server.want(), settings, self.forced).await?;
            if let Some(Claimed { node, availability_zone }) = claimed {
                return Ok(Taken::Host(Dest { host, node, zone: availability_zone }));
            }
        }
        self.lost += 1;
        if self.forced || self.lost > MAX_LOST_ROUNDS {
            return Ok(Taken::Full);
        }
        // Others were faster. The schedulers hear of their claims meanwhile.
        self.due = Timestamp::now().plus_millis(app.timing.lost_claim_ms * self.lost.min(8));
        Ok(Taken::Again)
    }

    /// This host failed: another is sought. Whether there is another to be sought.
    pub fn reject(&mut self, app: &App, host: &str, why: &str) -> bool {
        self.failed.push((host.to_owned(), why.to_owned()));
        let tried = i64::try_from(self.failed.len()).unwrap_or(i64::MAX);
        self.wanted.is_none() && tried < app.settings.compute.max_attempts
    }
}
