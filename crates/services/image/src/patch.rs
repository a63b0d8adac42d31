//! Glance's JSON patch: which operations a body holds and what they do to an image.

use crate::text::short;
use crate::{
    attributes,
    image::{Image, Status},
};
use ferrostack_model::{Error, Result};
use serde_json::{Map, Value, json};

/// The media types, 2.0 with `{"replace": "/name", "value": …}`, 2.1 with `{"op": "replace", "path": "/name", …}`.
pub const MEDIA_TYPES: [&str; 2] =
    ["application/openstack-images-v2.0-json-patch", "application/openstack-images-v2.1-json-patch"];

/// The body's schema, for the API reference: that of 2.1.
pub fn schema() -> Value {
    json!({"type": "array", "items": {
        "type": "object",
        "properties": {
            "op": {"type": "string", "enum": ["add", "remove", "replace"]},
            "path": {"type": "string", "description": "`/` and the attribute's name, with `~1` for `/` and `~0` for `~`"},
            "value": {"description": "The new value; not for `remove`"},
        },
        "required": ["op", "path"],
    }})
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A new one.
    Add,
    /// Another value.
    Replace,
    /// None.
    Remove,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    verb: Verb,
    /// In the form of 2.0, where `add` never replaces.
    old: bool,
    /// The attribute.
    name: String,
    /// The tag's place, if it is about one tag.
    index: Option<String>,
    value: Value,
}

/// Reads a body; 400 for what is not a patch, 403 for attributes that cannot be set.
pub fn parse(body: &Value, media_type: &str) -> Result<Vec<Operation>> {
    let Some(items) = body.as_array() else {
        return Err(Error::bad_request("Request body must be a JSON array of operation objects."));
    };
    items.iter().map(|item| operation(item, media_type == MEDIA_TYPES[0])).collect()
}

fn operation(item: &Value, old: bool) -> Result<Operation> {
    let Some(item) = item.as_object() else {
        return Err(Error::bad_request("Operations must be JSON objects."));
    };
    let (verb, path) = form(item, old)?;
    let (name, index) = pointer(&path)?;
    let value = match (verb, item.get("value")) {
        (Verb::Remove, _) => Value::Null,
        (_, Some(value)) => value.clone(),
        (_, None) => {
            let word = if verb == Verb::Add { "add" } else { "replace" };
            return Err(Error::bad_request(format!(
                "Operation \"{word}\" requires a member named \"value\"."
            )));
        }
    };
    attributes::check_settable(&name, false)?;
    if verb != Verb::Remove {
        let given = if index.is_some() { Value::Array(vec![value.clone()]) } else { value.clone() };
        attributes::validate(&Map::from_iter([(name.clone(), given)]))?;
    }
    Ok(Operation { verb, old, name, index, value })
}

/// What an operation does and to what, in the form of 2.0 (`old`) or of 2.1.
pub fn form(item: &Map<String, Value>, old: bool) -> Result<(Verb, String)> {
    if old { old_form(item) } else { new_form(item) }
}

fn verb(word: &str) -> Result<Verb> {
    match word {
        "add" => Ok(Verb::Add),
        "replace" => Ok(Verb::Replace),
        "remove" => Ok(Verb::Remove),
        other => Err(Error::bad_request(format!(
            "Invalid operation: `{}`. It must be one of the following: add, remove, replace.",
            short(other)
        ))),
    }
}

fn new_form(item: &Map<String, Value>) -> Result<(Verb, String)> {
    let word = item.get("op").and_then(Value::as_str);
    let word = word.ok_or_else(|| {
        Error::bad_request(
            "Unable to find `op` in JSON Schema change. It must be one of the following: add, remove, replace.",
        )
    })?;
    let verb = verb(word)?;
    let path = item.get("path").and_then(Value::as_str);
    let path = path.ok_or_else(|| Error::bad_request("Unable to find 'path' in JSON Schema change"))?;
    Ok((verb, path.to_owned()))
}

fn old_form(item: &Map<String, Value>) -> Result<(Verb, String)> {
    let mut found = None;
    for word in ["add", "replace", "remove"] {
        if let Some(path) = item.get(word) {
            let path = path.as_str().ok_or_else(|| Error::bad_request("Operation paths must be strings."))?;
            if found.replace((verb(word)?, path.to_owned())).is_some() {
                return Err(Error::bad_request(
                    "Operation objects must contain only one member named \"add\", \"remove\", or \"replace\".",
                ));
            }
        }
    }
    found.ok_or_else(|| {
        Error::bad_request(
            "Operation objects must contain exactly one member named \"add\", \"remove\", or \"replace\".",
        )
    })
}

/// `/name`, or `/tags/N`: the parts, of which blanks around do not count.
fn pointer(path: &str) -> Result<(String, Option<String>)> {
    let bad = |why: &str| Error::bad_request(format!("Pointer `{}` {why}", short(path)));
    let Some(rest) = path.strip_prefix('/') else { return Err(bad("does not start with \"/\".")) };
    let inner: Vec<&str> = rest.split('/').collect();
    if inner.len() > 2 && inner[1..inner.len() - 1].iter().any(|part| part.trim().is_empty()) {
        return Err(bad("contains adjacent \"/\"."));
    }
    if rest.ends_with('/') {
        return Err(bad("end with \"/\"."));
    }
    let mut parts = Vec::new();
    for part in rest.trim_start_matches('/').split('/') {
        if part.replace("~0", "").replace("~1", "").contains('~') {
            return Err(bad("contains \"~\" not part of a recognized escape sequence."));
        }
        parts.push(part.replace("~1", "/").replace("~0", "~").trim().to_owned());
    }
    let many = parts.len() > 2 || (parts.len() == 2 && parts[0] != "tags");
    if many || parts[0].is_empty() {
        let joined = short(&parts.join("/"));
        return Err(Error::bad_request(format!("Invalid JSON pointer for this resource: '/{joined}'")));
    }
    let index = (parts.len() == 2).then(|| parts.pop()).flatten();
    Ok((parts.swap_remove(0), index))
}

/// Does the operations; the image is only changed if all succeed. Whether the caller may is not checked here.
pub fn apply(image: &Image, operations: &[Operation]) -> Result<Image> {
    let mut draft = attributes::as_json(image);
    for operation in operations {
        step(image, &mut draft, operation)?;
    }
    attributes::validate(&draft)?;
    let mut changed = image.clone();
    changed.properties.clear();
    for (name, value) in &draft {
        attributes::set(&mut changed, name, value)?;
    }
    attributes::check_formats(&mut changed)?;
    attributes::check_quota(&changed)?;
    Ok(changed)
}

fn step(image: &Image, draft: &mut Map<String, Value>, operation: &Operation) -> Result<()> {
    let name = &operation.name;
    if matches!(name.as_str(), "disk_format" | "container_format") && image.status != Status::Queued {
        return Err(Error::forbidden(format!("Attribute {name} can be only replaced for a queued image.")));
    }
    if let Some(index) = &operation.index {
        return tag(draft, operation, index);
    }
    let base = attributes::is_base(name);
    match operation.verb {
        Verb::Add if operation.old && (base || draft.contains_key(name)) => {
            return Err(Error::conflict(format!("Property {} already present.", short(name))).as_detail());
        }
        Verb::Add => {
            draft.insert(name.clone(), operation.value.clone());
        }
        Verb::Replace if base || draft.contains_key(name) => {
            draft.insert(name.clone(), operation.value.clone());
        }
        Verb::Remove if base => {
            return Err(Error::forbidden(format!("Property {name} may not be removed.")).as_detail());
        }
        Verb::Remove if draft.shift_remove(name).is_some() => {}
        Verb::Replace | Verb::Remove => {
            return Err(Error::conflict(format!("Property {} does not exist.", short(name))).as_detail());
        }
    }
    Ok(())
}

fn tag(draft: &mut Map<String, Value>, operation: &Operation, index: &str) -> Result<()> {
    let Some(Value::Array(tags)) = draft.get_mut("tags") else {
        return Err(Error::bad_request("tags is not a list."));
    };
    if operation.verb == Verb::Add {
        tags.push(operation.value.clone());
        return Ok(());
    }
    let at = index.parse::<usize>().ok().filter(|i| *i < tags.len());
    let at = at.ok_or_else(|| Error::conflict(format!("There is no tag {}.", short(index))))?;
    if operation.verb == Verb::Remove {
        tags.remove(at);
    } else {
        tags[at] = operation.value.clone();
    }
    Ok(())
}
