//! Request bodies: one named object, checked against a JSON schema.

use crate::{faults, list, store};
use ferrostack_http::{Ctx, Schema};
use ferrostack_model::{Error, Result, Timestamp};
use serde_json::{Map, Value, json};

/// A body's checks, compiled at first use.
pub struct Checks {
    schema: Result<Schema>,
}

impl Checks {
    /// An object with `properties`, of which `required` must be there; others are free.
    pub fn new(properties: Value, required: &[&str]) -> Self {
        Self::of(json!({"type": "object", "properties": properties, "required": required}))
    }

    /// Any JSON schema.
    pub fn of(schema: Value) -> Self {
        Self { schema: Schema::of(&schema) }
    }

    /// The whole body's schema for the API reference: what [`Self::member`] checks, under `name`.
    pub fn body(&self, name: &str) -> Value {
        json!({"type": "object", "properties": {name: self.document()}, "required": [name]})
    }

    /// The schema itself, where it is the whole body's.
    pub fn document(&self) -> Value {
        self.schema.as_ref().map(|s| s.document().clone()).unwrap_or_default()
    }

    /// 400 if `value` does not fit.
    pub fn check(&self, value: &Value) -> Result<()> {
        match &self.schema {
            Ok(schema) => schema.check(value).map_err(without_password),
            Err(error) => Err(error.clone()),
        }
    }

    /// What is under `name` of `body`; 400 if it is not there or does not fit.
    pub fn member<'b>(&self, body: &'b Value, name: &str) -> Result<&'b Value> {
        let inner = body.get(name).ok_or_else(|| faults::expected(name, "request body"))?;
        self.check(inner)?;
        Ok(inner)
    }

    /// The object under `name` of `body`; 400 if it is not there or does not fit.
    pub fn object<'b>(&self, body: &'b Value, name: &str) -> Result<&'b Map<String, Value>> {
        self.member(body, name)?.as_object().ok_or_else(|| faults::expected(name, "request body"))
    }
}

/// An error about a password without its value.
fn without_password(error: Error) -> Error {
    let field = ["password", "original_password", "secret"]
        .into_iter()
        .find(|f| error.public.starts_with(&format!("Invalid input for field/attribute {f}. ")));
    match field {
        Some(field) => Error::bad_request(format!(
            "Invalid input for field/attribute {field}. It is not of type 'string'"
        )),
        None => error,
    }
}

/// A name: 1 to 255 characters, not only blanks.
pub fn name() -> Value {
    name_up_to(255)
}
/// A shorter name: Keystone's columns for projects, domains and groups hold 64 characters.
pub fn short_name() -> Value {
    name_up_to(64)
}
fn name_up_to(length: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": length, "pattern": "[\\S]+"})
}
/// An id somebody else chose.
pub fn id() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9-]+$"})
}
/// [`id`] or null.
pub fn nullable_id() -> Value {
    json!({"type": ["string", "null"], "minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9-]+$"})
}
/// A boolean.
pub fn boolean() -> Value {
    json!({"type": "boolean"})
}
/// Any text.
pub fn text() -> Value {
    json!({"type": "string"})
}
/// Any text or null.
pub fn nullable_text() -> Value {
    json!({"type": ["string", "null"]})
}
/// Tags of a project or domain.
pub fn tags() -> Value {
    json!({"type": "array", "uniqueItems": true, "maxItems": 80,
        "items": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^,/]*$"}})
}
/// The resource option `immutable`.
pub fn immutable_option() -> Value {
    json!({"type": "object", "additionalProperties": false,
        "properties": {"immutable": {"type": ["boolean", "null"]}}})
}

/// A text member, if given and not null.
pub fn string<'i>(input: &'i Map<String, Value>, name: &str) -> Option<&'i str> {
    input.get(name).and_then(Value::as_str)
}

/// A boolean member, if given.
pub fn flag(input: &Map<String, Value>, name: &str) -> Option<bool> {
    input.get(name).and_then(Value::as_bool)
}

/// The texts of a list member.
pub fn strings(input: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let items = input.get(name)?.as_array()?;
    Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Puts the members that are not `known` on top of the stored `extra`: they are kept and returned verbatim.
pub fn keep(extra: &str, input: &Map<String, Value>, known: &[&str]) -> String {
    let mut members = store::members(extra);
    for (name, value) in input {
        if !known.contains(&name.as_str()) && name != "id" && name != "links" {
            members.insert(name.clone(), value.clone());
        }
    }
    store::text(&members)
}

/// The member `expires_at`, if given and not null: UTC unless it says otherwise. 400 if it is no time, or past.
pub fn expiry(input: &Map<String, Value>, now: Timestamp) -> Result<Option<Timestamp>> {
    const CLIENT: &str = "The server could not comply with the request since it is either malformed or otherwise incorrect. The client is assumed to be in error.";
    let Some(text) = string(input, "expires_at") else { return Ok(None) };
    let at = Timestamp::parse(text)
        .ok_or_else(|| Error::bad_request(format!("Timestamp not in expected format. {CLIENT}")))?;
    if at <= now {
        return Err(Error::bad_request(format!("The 'expires_at' must not be before now. {CLIENT}")));
    }
    Ok(Some(at))
}

/// Resource options after an update: null removes one.
pub fn options(stored: &str, input: &Map<String, Value>) -> String {
    let mut options = store::members(stored);
    if let Some(given) = input.get("options").and_then(Value::as_object) {
        for (name, value) in given {
            if value.is_null() {
                options.remove(name);
            } else {
                options.insert(name.clone(), value.clone());
            }
        }
    }
    store::text(&options)
}

/// Whether an update does nothing but take the option `immutable` away.
pub fn only_unlocks(input: &Map<String, Value>) -> bool {
    input.len() == 1
        && input.get("options").and_then(Value::as_object).is_some_and(|o| {
            o.len() == 1 && o.get("immutable").is_some_and(|v| v.is_null() || *v == Value::Bool(false))
        })
}

/// 400 if the body names another id than the path.
pub fn same_id(input: &Map<String, Value>, id: &str, what: &str) -> Result<()> {
    match input.get("id") {
        Some(given) if given != id => Err(Error::bad_request(format!("Cannot change {what} ID"))),
        _ => Ok(()),
    }
}

/// The domain of a new resource: the one named, else the token's.
pub fn domain_id(ctx: &Ctx, input: &Map<String, Value>) -> Result<String> {
    if let Some(id) = string(input, "domain_id") {
        return Ok(id.to_owned());
    }
    let claims = &ctx.caller()?.claims;
    if let Some(domain) = &claims.domain {
        return Ok(domain.id.clone());
    }
    if let Some(project) = &claims.project {
        return Ok(project.domain.id.clone());
    }
    Ok(crate::bootstrap::DEFAULT_DOMAIN.to_owned())
}

/// The domain that limits a list: that of a domain-scoped token, which only sees its own.
pub fn own_domain(ctx: &Ctx) -> Result<Option<String>> {
    Ok(ctx.caller()?.claims.domain.as_ref().map(|d| d.id.clone()))
}

/// The `domain_id` to list by: the query's, narrowed to the token's domain. `None`: nothing can match.
pub fn listed_domain(query: &[(String, String)], own: Option<&str>) -> Option<String> {
    let asked = list::last(query, "domain_id");
    match own {
        Some(own) if !asked.is_empty() && asked != own => None,
        Some(own) => Some(own.to_owned()),
        None => Some(asked.to_owned()),
    }
}

/// A policy target's value for an id that may be missing.
pub fn or_none(id: &str) -> &str {
    if id.is_empty() { "None" } else { id }
}
