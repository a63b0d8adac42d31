//! A host that comes back with work it did not end: it asks before it starts anything.

use crate::{Timestamp, message::Message};
use serde::{Deserialize, Serialize};

/// To `compute`: an agent has started and finds unfinished orders. It touches none of these servers before the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentReturn {
    /// The host.
    pub host: String,
    /// The agent's start; the answer repeats it.
    pub agent_start: Timestamp,
    /// The servers.
    pub servers: Vec<String>,
}
impl Message for AgentReturn {
    const KIND: &'static str = "agent.return";
}

/// To `agent.<host>`: the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnAnswer {
    /// As in the question.
    pub agent_start: Timestamp,
    /// Servers that are not this host's any more: what was ordered of them is void.
    pub gone: Vec<String>,
}
impl Message for ReturnAnswer {
    const KIND: &'static str = "agent.return_answer";
}
