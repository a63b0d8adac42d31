//! `[compute.notifications]`

use serde::{Deserialize, Serialize};

/// `[compute.notifications]`: Nova's versioned notifications of what happens to servers, for billing and monitoring.
/// They go to the message broker of `[bus]`; with `local:` there is nobody to hear them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notifications {
    /// Whether they are sent. Without a listener they pile up in the broker.
    pub enabled: bool,
    /// The topic exchange (oslo.messaging's `control_exchange`).
    pub exchange: String,
    /// Queues are `<topic>.info` and `<topic>.error`.
    pub topics: Vec<String>,
    /// Whether exchange and queues outlive the broker (oslo.messaging's `amqp_durable_queues`): as the listeners have it.
    pub durable: bool,
}

impl Default for Notifications {
    fn default() -> Self {
        Self {
            enabled: false,
            exchange: "nova".into(),
            topics: vec!["versioned_notifications".into()],
            durable: false,
        }
    }
}
