//! Every exchange and queue, in one place.

/// How often a message is delivered before it goes to the dead letters.
pub const DELIVERY_LIMIT: u32 = 20;
/// The exchange and queue of dead letters.
pub const DEAD_LETTERS: &str = "ferrostack.dead";

/// Where a message is published.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Durable queue shared by all schedulers.
    Scheduler,
    /// Durable queue shared by all compute-api replicas.
    Compute,
    /// Durable queue of one agent.
    Agent(String),
    /// Fanout to every service: revoked tokens.
    Revocations,
    /// Fanout to every scheduler: states of hosts.
    Hosts,
}

/// Where messages are consumed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// [`Address::Scheduler`]
    Scheduler,
    /// [`Address::Compute`]
    Compute,
    /// [`Address::Agent`]
    Agent(String),
    /// [`Address::Revocations`], through a queue of our own that goes when we go.
    Revocations,
    /// [`Address::Hosts`], through a queue of our own that goes when we go.
    Hosts,
}

impl Address {
    /// The durable queue, or `None` for a fanout.
    pub fn queue(&self) -> Option<String> {
        match self {
            Self::Scheduler => Some("scheduler".into()),
            Self::Compute => Some("compute".into()),
            Self::Agent(host) => Some(format!("agent.{host}")),
            Self::Revocations | Self::Hosts => None,
        }
    }
    /// The fanout exchange, or `None` for a queue.
    pub fn fanout(&self) -> Option<&'static str> {
        match self {
            Self::Revocations => Some("ferrostack.revocations"),
            Self::Hosts => Some("ferrostack.hosts"),
            _ => None,
        }
    }
}

impl Source {
    /// The address whose messages arrive here.
    pub fn address(&self) -> Address {
        match self {
            Self::Scheduler => Address::Scheduler,
            Self::Compute => Address::Compute,
            Self::Agent(host) => Address::Agent(host.clone()),
            Self::Revocations => Address::Revocations,
            Self::Hosts => Address::Hosts,
        }
    }
}
