//! A task as clients see it.

use crate::task::{SUCCESS, Task};
use serde_json::{Map, Value, json};

fn brief(task: &Task) -> Map<String, Value> {
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
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// One task.
pub fn task(task: &Task) -> Value {
    let mut out = brief(task);
    let result = if task.status == SUCCESS { json!({"image_id": task.image_id}) } else { Value::Null };
    out.insert("expires_at".into(), Value::Null);
    out.insert("input".into(), serde_json::from_str(&task.input).unwrap_or(Value::Null));
    out.insert("result".into(), result);
    out.insert("message".into(), json!(task.message));
    out.insert("image_id".into(), json!(task.image_id));
    out.insert("request_id".into(), json!(task.request_id));
    out.insert("user_id".into(), json!(task.user_id));
    Value::Object(out)
}

/// A page of tasks; `next` is the query string of the next one.
pub fn tasks(tasks: &[Task], next: Option<String>) -> Value {
    let mut out = json!({
        "tasks": tasks.iter().map(brief).collect::<Vec<_>>(),
        "first": "/v2/tasks",
        "schema": "/v2/schemas/tasks",
    });
    if let Some(next) = next {
        out["next"] = json!(format!("/v2/tasks?{next}"));
    }
    out
}

/// The tasks of an image, with everything.
pub fn of_image(tasks: &[Task]) -> Value {
    json!({"tasks": tasks.iter().map(task).collect::<Vec<_>>()})
}
