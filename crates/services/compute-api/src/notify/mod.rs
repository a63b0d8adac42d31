//! Nova's versioned notifications of servers: written in the transaction of what they tell, sent afterwards.
//!
//! Every action's events pass through [`crate::store::instance_actions`], which calls [`event`]: no action can be
//! forgotten. Source of names and payloads: Nova 34's notification samples.

mod names;
mod payload;

use crate::store::{Tx, notifications, servers};
use ferrostack_model::{Result, Timestamp, id};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once at start: the store has no settings, and while notifications are off nothing must be read for them.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Turns them on or off in this process.
pub fn enable(on: bool) {
    ENABLED.store(on, Ordering::Relaxed);
}

/// A point in an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase<'a> {
    /// It begins.
    Start,
    /// It is done.
    End,
    /// It failed: the fault for everybody, and more for admins.
    Error(&'a str, &'a str),
    /// It has no duration (`instance.lock`).
    Moment,
}

impl Phase<'_> {
    fn suffix(self) -> &'static str {
        match self {
            Self::Start => ".start",
            Self::End => ".end",
            Self::Error(..) => ".error",
            Self::Moment => "",
        }
    }
}

/// Notes what an event of instance actions tells listeners, if it tells them anything.
pub async fn event(
    tx: &mut Tx,
    server_id: &str,
    request_id: &str,
    event: &str,
    phase: Phase<'_>,
) -> Result<()> {
    if !ENABLED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let (name, phase) = match (names::moment_of_event(event), names::of_event(event)) {
        (Some(name), _) if phase == Phase::End => (name, Phase::Moment),
        (None, Some(name)) => (name, phase),
        _ => return Ok(()),
    };
    note(tx, server_id, request_id, name, phase).await
}

async fn note(
    tx: &mut Tx,
    server_id: &str,
    request_id: &str,
    name: &'static str,
    phase: Phase<'_>,
) -> Result<()> {
    let Some(server) = servers::find_in(tx, server_id).await? else { return Ok(()) };
    let (user, project) = notifications::initiator(tx, server_id, request_id).await?.unwrap_or_default();
    let job = ferrostack_jobs::active_data(tx, server_id).await?.unwrap_or_default();
    let asked = payload::Asked { request_id, user: &user, project: &project, job: &job };
    let payload = payload::of(&server, name, phase, &asked);
    let priority = if matches!(phase, Phase::Error(..)) { "ERROR" } else { "INFO" };
    let now = Timestamp::now();
    let message_id = id::uuid();
    let body = json!({
        "message_id": message_id,
        "publisher_id": publisher(server.host.as_deref()),
        "event_type": format!("instance.{name}{}", phase.suffix()),
        "priority": priority,
        "payload": payload,
        "timestamp": now.iso_micros_naive().replace('T', " "),
        "_unique_id": id::hex(),
        "_context_request_id": request_id,
        "_context_user_id": user,
        "_context_project_id": project,
    });
    notifications::insert(tx, &message_id, now, priority, &envelope(&body)).await
}

/// oslo.messaging's envelope: the message as a text in a text.
fn envelope(body: &Value) -> String {
    json!({"oslo.version": "2.0", "oslo.message": body.to_string()}).to_string()
}

fn publisher(host: Option<&str>) -> String {
    match host {
        Some(host) => format!("nova-compute:{host}"),
        None => format!("nova-api:{}", hostname()),
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
