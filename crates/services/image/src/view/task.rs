//! A task as clients see it.

use crate::task::{SUCCESS, Task};
use serde_json::{Map, Value, json};

fn brief(task: &Task) -> Map<String, Value> {
    let mut out = Map::new();
    let value = json!({
        "id": task.id,
        "type": task.kind,
        "status": task.status,
        "owner": task.owner,
        "created_at": task.created_at.iso(),
        "updated_at": task.updated_at.iso(),
        "self": format!("/v2/tasks/{}", task.id),
        "schema": "/v2/schemas/task",
    });
    if let Value::Object(map) = value {
        out.extend(map);
    }
    if let Some(at) = task.expires_at {
        out.insert("expires_at".into(), json!(at.iso()));
    }
    out
}

/// One task.
pub fn task(task: &Task) -> Value {
    let mut out = brief(task);
    let result = if task.status == SUCCESS { json!({"image_id": task.image_id}) } else { Value::Null };
    out.insert("input".into(), serde_json::from_str(&task.input).unwrap_or(Value::Null));
    out.insert("result".into(), result);
    out.insert("message".into(), json!(task.message));
    out.insert("image_id".into(), json!(task.image_id));
    out.insert("request_id".into(), json!(task.request_id));
    out.insert("user_id".into(), json!(task.user_id));
    Value::Object(out)
}

/// A page of tasks. `pairs` is the query as it was sent, `full` whether more may follow.
pub fn tasks(tasks: &[Task], pairs: &[(String, String)], full: bool) -> Value {
    let link = |marker: Option<&str>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.iter().filter(|(name, _)| name != "marker"));
        if let Some(marker) = marker {
            query.append_pair("marker", marker);
        }
        match query.finish() {
            text if text.is_empty() => "/v2/tasks".to_owned(),
            text => format!("/v2/tasks?{text}"),
        }
    };
    let mut out = json!({
        "tasks": tasks.iter().map(brief).collect::<Vec<_>>(),
        "first": link(None),
        "schema": "/v2/schemas/tasks",
    });
    if let (true, Some(last)) = (full, tasks.last()) {
        out["next"] = json!(link(Some(&last.id)));
    }
    out
}

/// The tasks of an image, with everything.
pub fn of_image(tasks: &[Task]) -> Value {
    let whole = |one: &Task| {
        let mut out = task(one);
        if one.expires_at.is_none() {
            out["expires_at"] = Value::Null;
        }
        out
    };
    json!({"tasks": tasks.iter().map(whole).collect::<Vec<_>>()})
}
