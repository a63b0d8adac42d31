//! Every exchange and queue, in one place.

use ferrostack_model::{Error, Result};

/// How often a message is delivered before it goes to the dead letters.
pub const DELIVERY_LIMIT: u32 = 20;
/// The exchange and queue of dead letters.
pub const DEAD_LETTERS: &str = "ferrostack.dead";

/// Dead letters kept; older ones are forgotten.
pub const DEAD_KEPT: i32 = 100_000;
/// Every fanout exchange.
pub const FANOUTS: [&str; 2] = ["ferrostack.revocations", "ferrostack.hosts"];

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

/// Where notifications for others go: a topic exchange and the queue of that name, as oslo.messaging makes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The exchange; Nova's is `nova`.
    pub exchange: String,
    /// Routing key and queue: `<topic>.<priority>`.
    pub key: String,
    /// Whether exchange and queue outlive the broker. Listeners must say the same.
    pub durable: bool,
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
    /// An error if no broker would take the queue's name: AMQP's names have at most 255 bytes.
    pub(crate) fn check(&self) -> Result<()> {
        match self.queue() {
            Some(name) if name.len() > 255 => {
                Err(Error::bad_request("a queue's name has at most 255 bytes: the host's name is too long"))
            }
            _ => Ok(()),
        }
    }
    /// The fanout exchange, or `None` for a queue.
    pub fn fanout(&self) -> Option<&'static str> {
        match self {
            Self::Revocations => Some(FANOUTS[0]),
            Self::Hosts => Some(FANOUTS[1]),
            _ => None,
        }
    }
    /// The kind of place, for metrics: hosts are too many for a label.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Compute => "compute",
            Self::Agent(_) => "agent",
            Self::Revocations => "revocations",
            Self::Hosts => "hosts",
        }
    }
    /// The queue's or the exchange's name, as dead letters show it; [`Address::named`] reads it.
    pub fn name(&self) -> String {
        self.queue().unwrap_or_else(|| self.fanout().unwrap_or_default().into())
    }
    /// The address whose queue or exchange has this name.
    pub fn named(name: &str) -> Option<Self> {
        match name.strip_prefix("agent.") {
            Some(host) if !host.is_empty() => Some(Self::Agent(host.into())),
            _ => [Self::Scheduler, Self::Compute, Self::Revocations, Self::Hosts]
                .into_iter()
                .find(|address| address.name() == name),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_lead_back() {
        for source in [
            Source::Scheduler,
            Source::Compute,
            Source::Agent("h.1".into()),
            Source::Revocations,
            Source::Hosts,
        ] {
            let address = source.address();
            assert_eq!(Address::named(&address.name()).unwrap(), address);
            assert!(address.queue().is_some() != address.fanout().is_some());
        }
        for unknown in ["", "agent.", "agent", "amq.gen-x", "ferrostack.dead"] {
            assert_eq!(Address::named(unknown), None, "{unknown}");
        }
    }
}
