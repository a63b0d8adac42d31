//! Instance actions as JSON.

use super::servers::host_id;
use crate::store::instance_actions::{Action, Event};
use ferrostack_model::{Microversion, Timestamp, microversion::feature};
use serde_json::{Value, json};

fn time(at: i64) -> String {
    Timestamp(at).iso_micros_naive()
}

/// An action.
pub fn action(a: &Action, v: Microversion) -> Value {
    let mut body = json!({
        "action": a.action,
        "instance_uuid": a.server_id,
        "message": a.message,
        "project_id": a.project_id,
        "request_id": a.request_id,
        "start_time": time(a.start_time),
        "user_id": a.user_id,
    });
    if v.has(feature::ACTION_PAGING) {
        body["updated_at"] = json!(time(a.updated_at));
    }
    body
}

/// An event; `private` says whether host and traceback are shown, `details` whether the details are.
pub fn event(e: &Event, project_id: &str, v: Microversion, private: bool, details: bool) -> Value {
    let mut body = json!({
        "event": e.event,
        "start_time": time(e.start_time),
        "finish_time": e.finish_time.map(time),
        "result": e.result,
    });
    if private {
        body["traceback"] = json!(e.traceback);
    }
    if v.has(feature::ACTION_EVENT_HOST) {
        body["hostId"] = json!(host_id(project_id, e.host.as_deref()));
        if private {
            body["host"] = json!(e.host.as_deref().unwrap_or(""));
        }
    }
    if v.has(feature::ACTION_EVENT_DETAILS) && details {
        body["details"] = json!(e.details);
    }
    body
}
