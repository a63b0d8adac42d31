//! Everything that travels on the bus.

use crate::{
    Error, Result, RevocationEvent, Timestamp,
    auth::Secret,
    guest::GuestSpec,
    guest_change::GuestChange,
    guest_move::GuestMove,
    host::{GuestState, HostReport, HostState},
    id, live_migration,
    placement::{Decision, PlacementRequest},
    server::PowerState,
    snapshot::SnapshotOrder,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A kind of message with its version.
pub trait Message: Serialize + DeserializeOwned {
    /// Name in the envelope.
    const KIND: &'static str;
    /// Version of the body; a receiver dead-letters what is newer than it knows.
    const V: u32 = 1;
}

/// What is around every message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique per publication.
    pub id: String,
    /// [`Message::KIND`].
    pub kind: String,
    /// [`Message::V`].
    pub v: u32,
    /// The API request this goes back to.
    #[serde(default)]
    pub request_id: Option<String>,
    /// W3C trace context.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// Publication.
    pub sent_at: Timestamp,
    /// After this nobody waits for the effect any more.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// Generation of the target.
    #[serde(default)]
    pub generation: i64,
    /// The message.
    pub body: Value,
}

impl Envelope {
    /// Wraps `message`.
    pub fn new<M: Message>(message: &M, request_id: Option<&str>) -> Result<Self> {
        let body = serde_json::to_value(message)
            .map_err(|e| Error::internal(format!("encoding {}: {e}", M::KIND)))?;
        Ok(Self {
            id: id::uuid(),
            kind: M::KIND.into(),
            v: M::V,
            request_id: request_id.map(Into::into),
            traceparent: None,
            sent_at: Timestamp::now(),
            deadline: None,
            generation: 0,
            body,
        })
    }
    /// Sets the deadline.
    #[must_use]
    pub fn until(mut self, deadline: Timestamp) -> Self {
        self.deadline = Some(deadline);
        self
    }
    /// Sets the generation.
    #[must_use]
    pub fn at_generation(mut self, generation: i64) -> Self {
        self.generation = generation;
        self
    }
    /// The body as `M`; an error if the kind differs, the version is newer or the body does not fit.
    pub fn open<M: Message>(&self) -> Result<M> {
        if self.kind != M::KIND || self.v > M::V {
            return Err(Error::bad_request(format!(
                "message {} v{} is not {} v{}",
                self.kind,
                self.v,
                M::KIND,
                M::V
            )));
        }
        serde_json::from_value(self.body.clone())
            .map_err(|e| Error::bad_request(format!("message {} v{}: {e}", self.kind, self.v)))
    }
}

/// To the scheduler: choose hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleRequest {
    /// The job that waits.
    pub job_id: String,
    /// The server.
    pub server_id: String,
    /// Its generation.
    pub generation: i64,
    /// The attempt within the job; the answer repeats it.
    pub attempt: i64,
    /// The wish.
    pub request: PlacementRequest,
}
impl Message for ScheduleRequest {
    const KIND: &'static str = "schedule.request";
}

/// To `compute`: the scheduler's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleAnswer {
    /// As in the request.
    pub job_id: String,
    /// As in the request.
    pub server_id: String,
    /// As in the request.
    pub generation: i64,
    /// As in the request.
    pub attempt: i64,
    /// The choice.
    pub decision: Decision,
}
impl Message for ScheduleAnswer {
    const KIND: &'static str = "schedule.answer";
}

/// To `compute`: a scheduler has started and needs every host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsWanted {
    /// Who asks, for the log.
    pub scheduler: String,
}
impl Message for HostsWanted {
    const KIND: &'static str = "hosts.wanted";
}

/// To `compute`: a service of the control plane lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Nova's name of it, `nova-scheduler`.
    pub binary: String,
    /// The machine it runs on.
    pub host: String,
}
impl Message for ServiceReport {
    const KIND: &'static str = "service.report";
}

/// To every scheduler: states of hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostsUpdate {
    /// The states.
    pub hosts: Vec<HostState>,
    /// Whether these are all: hosts not named are forgotten.
    pub full: bool,
}
impl Message for HostsUpdate {
    const KIND: &'static str = "hosts.update";
}

/// What an agent shall do with a server. Level-triggered: each may come twice or late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Order {
    /// Make the guest and bring it to the wanted power state.
    Ensure {
        /// The guest.
        spec: Box<GuestSpec>,
    },
    /// Wipe the guest's disks and make it anew from `spec`, as often as this comes before it is done. What it needs is
    /// fetched before anything is wiped.
    Rebuild {
        /// The guest.
        spec: Box<GuestSpec>,
        /// Whether the second disk and the swap disk stay.
        preserve_ephemeral: bool,
    },
    /// Start a stopped guest.
    Start,
    /// Shut down: ACPI first, hard after the timeout.
    Stop {
        /// Seconds the guest has.
        timeout_seconds: u32,
    },
    /// Soft reboot, hard after the timeout.
    RebootSoft {
        /// Seconds the guest has.
        timeout_seconds: u32,
    },
    /// Destroy and start again from a fresh definition.
    RebootHard,
    /// Make the guest's interfaces those of the spec, in the running guest too; its power stays.
    Nics {
        /// The guest.
        spec: Box<GuestSpec>,
    },
    /// Remove the guest and its disks.
    Destroy,
    /// Copy the root disk of the guest, in whatever state it is, to a queued image.
    Snapshot {
        /// What is made of it.
        snapshot: SnapshotOrder,
    },
    /// Move the guest's disks.
    Move {
        /// Which way.
        step: Box<GuestMove>,
    },
    /// Change the guest's state.
    Change {
        /// What is done to it.
        change: GuestChange,
    },
    /// A part of a live migration.
    Migrate {
        /// Which.
        part: live_migration::Part,
    },
}

/// To `agent.<host>`: an order for one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentOrder {
    /// The job that waits.
    pub job_id: String,
    /// The server.
    pub server_id: String,
    /// Its generation: orders of an older generation than the ledger's are answered `Superseded`.
    pub generation: i64,
    /// What to do.
    pub order: Order,
}
impl Message for AgentOrder {
    const KIND: &'static str = "agent.order";
}

/// To `agent.<host>`: have these images ready before a server wants them. Losing it costs that server time only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheImages {
    /// The images.
    pub images: Vec<crate::image::ImageSource>,
}
impl Message for CacheImages {
    const KIND: &'static str = "agent.cache_images";
}

/// To `agent.<host>`: what became of the order of this generation? Sent before an order is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInquiry {
    /// The job that waits.
    pub job_id: String,
    /// The server.
    pub server_id: String,
    /// The generation asked about.
    pub generation: i64,
}
impl Message for AgentInquiry {
    const KIND: &'static str = "agent.inquiry";
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    /// Done; the guest's power state after it.
    Done {
        /// Power state.
        power: PowerState,
    },
    /// The destination of a live migration is prepared.
    Prepared {
        /// How the guest comes in.
        offer: live_migration::Offer,
    },
    /// Still working.
    Working {
        /// What it does at the moment, for the log.
        detail: String,
    },
    /// Failed.
    Failed {
        /// For the server's fault.
        message: String,
        /// Host-side details, for admins.
        details: String,
        /// Whether another host may succeed.
        retry_elsewhere: bool,
    },
    /// The ledger knows nothing of this generation (or of the server): the order never came.
    Unknown,
    /// A newer generation has come.
    Superseded,
}

/// To `compute`: an agent's answer to an order or an inquiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAnswer {
    /// As in the order.
    pub job_id: String,
    /// As in the order.
    pub server_id: String,
    /// As in the order.
    pub generation: i64,
    /// The agent's host.
    pub host: String,
    /// What became of it.
    pub outcome: Outcome,
}
impl Message for AgentAnswer {
    const KIND: &'static str = "agent.answer";
}

/// To `compute`: heartbeat and capacity, every few seconds.
impl Message for HostReport {
    const KIND: &'static str = "host.report";
}

/// To `compute`: every guest on a host, at start and every minute; and single changes in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestsReport {
    /// The host.
    pub host: String,
    /// The agent's start this belongs to.
    pub agent_start: Timestamp,
    /// When the hypervisor was asked: later facts win.
    pub observed_at: Timestamp,
    /// The guests.
    pub guests: Vec<GuestState>,
    /// Whether these are all guests of the host.
    pub full: bool,
    /// When the host was started; 0 if it is not told.
    #[serde(default)]
    pub host_booted_at: Timestamp,
}
impl Message for GuestsReport {
    const KIND: &'static str = "guests.report";
}

/// To `compute`: what a guest posted to the metadata service as its (encrypted) password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestPassword {
    /// Where the guest is.
    pub host: String,
    /// The server.
    pub server_id: String,
    /// Text as posted, encrypted with the server's public key by the guest.
    pub password: Secret,
}
impl Message for GuestPassword {
    const KIND: &'static str = "guest.password";
}

/// Fanout: tokens to refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// The new rules.
    pub events: Vec<RevocationEvent>,
}
impl Message for Revocations {
    const KIND: &'static str = "identity.revocations";
}
