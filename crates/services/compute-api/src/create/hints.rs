//! Scheduler hints of a new server: a user's wishes, which never carry state of ours.

use crate::{app::App, store::server_groups};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// The hint that names the server group.
pub const GROUP: &str = "group";
/// Most values of one hint: every one of them is looked up.
const MOST_VALUES: usize = 100;
/// Most hints.
const MOST_HINTS: usize = 64;
/// Longest hints together, bytes: what Nova's column holds.
const LONGEST: usize = 65_535;

/// Hints under either of their two names, each as a list of texts. Names that begin with `_` are dropped: with such
/// a one Nova once skipped the claim (CVE-2026-46448).
///
/// # Errors
/// `BadRequest` for more hints or values than anybody needs.
pub fn read(body: &Value) -> Result<BTreeMap<String, Vec<String>>> {
    let mut hints = BTreeMap::new();
    for name in ["OS-SCH-HNT:scheduler_hints", "os:scheduler_hints"] {
        let Some(map) = body[name].as_object() else { continue };
        for (key, value) in map.iter().filter(|(key, _)| !key.starts_with('_')) {
            let list: Vec<String> = match value {
                Value::Array(items) => {
                    items.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect()
                }
                Value::String(text) => vec![text.clone()],
                Value::Null => Vec::new(),
                other => vec![other.to_string()],
            };
            if list.len() > MOST_VALUES {
                let key: String = key.chars().take(64).collect();
                return Err(Error::bad_request(format!(
                    "Invalid input for field/attribute {key}. A scheduler hint has at most {MOST_VALUES} values."
                )));
            }
            hints.insert(key.clone(), list);
        }
    }
    let bytes: usize =
        hints.iter().map(|(key, list)| key.len() + list.iter().map(String::len).sum::<usize>()).sum();
    if hints.len() > MOST_HINTS || bytes > LONGEST {
        return Err(Error::bad_request(
            "Invalid input for field/attribute scheduler_hints. They are too long.",
        ));
    }
    Ok(hints)
}

/// 400 in Nova's words if the group that is named does not exist for the caller.
pub async fn check(app: &App, ctx: &Ctx, hints: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let Some(id) = hints.get(GROUP).and_then(|ids| ids.first()) else { return Ok(()) };
    let group = match server_groups::get(&app.db, id).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Err(Error::bad_request(error.public)),
        other => other?,
    };
    let caller = ctx.caller()?;
    // Nova lets everybody join who knows the id; a group's owner would not expect it.
    if group.project_id != caller.project_id() && !caller.is_admin() {
        return Err(Error::bad_request(server_groups::not_found(id).public));
    }
    Ok(())
}
