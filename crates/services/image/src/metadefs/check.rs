//! Bodies of requests as definitions: 400 in Glance's words for what does not fit the published schemas.

use super::{Association, Contents, Namespace, Object, Property, Tag, Visibility};
use crate::text::short;
use ferrostack_http::Schema;
use ferrostack_model::{Error, Result, Timestamp, id};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// The schema of a namespace.
pub const NAMESPACE: &str = include_str!("../../schemas/metadefs/namespace.json");
/// The schema of a property.
pub const PROPERTY: &str = include_str!("../../schemas/metadefs/property.json");
/// The schema of an object.
pub const OBJECT: &str = include_str!("../../schemas/metadefs/object.json");
/// The schema of a tag.
pub const TAG: &str = include_str!("../../schemas/metadefs/tag.json");
/// The schema of an association.
pub const ASSOCIATION: &str = include_str!("../../schemas/metadefs/resource_type.json");
/// The schema of many tags at once.
pub const TAGS: &str = include_str!("../../schemas/metadefs/tags_create.json");

/// Most characters of a property's name.
const MAX_NAME: usize = 80;

macro_rules! compiled {
    ($($name:ident = $text:expr),*) => {$(
        #[allow(clippy::expect_used)] // start-up: a fixed text, and a test compiles it
        static $name: LazyLock<Schema> = LazyLock::new(|| Schema::compile($text).expect("a schema of ours"));
    )*};
}
compiled!(
    NAMESPACE_SCHEMA = NAMESPACE,
    PROPERTY_SCHEMA = PROPERTY,
    OBJECT_SCHEMA = OBJECT,
    TAG_SCHEMA = TAG,
    ASSOCIATION_SCHEMA = ASSOCIATION,
    TAGS_SCHEMA = TAGS
);

/// The members of `body` that fit `schema`; 403 for one of `read_only`, 400 for anything else that is wrong.
fn fit<'a>(
    body: &'a Value,
    name: &str,
    schema: &Schema,
    read_only: &[&str],
) -> Result<&'a Map<String, Value>> {
    let Value::Object(members) = body else {
        return Err(mismatch(name, "the body must be a JSON object"));
    };
    if let Some(key) = read_only.iter().find(|key| members.contains_key(**key)) {
        return Err(Error::forbidden(format!("Attribute '{key}' is read-only.")));
    }
    schema.check_named(name, body)?;
    Ok(members)
}

fn mismatch(schema: &str, reason: &str) -> Error {
    Error::bad_request(format!("Provided object does not match schema '{schema}': {reason}"))
}

fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn items<'a>(members: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> {
    members.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The name in `members`; 400 for an empty one, which no URL could name.
fn named(members: &Map<String, Value>, key: &str, schema: &str) -> Result<String> {
    text(members, key)
        .filter(|name| !name.is_empty())
        .ok_or_else(|| mismatch(schema, &format!("'' is too short\n\nOn instance['{key}']:\n    ''")))
}

/// A namespace with what the body puts into it. `owner` is for a body that names none.
pub fn namespace(body: &Value, owner: &str, now: Timestamp) -> Result<(Namespace, Contents)> {
    let read_only = ["self", "schema", "created_at", "updated_at"];
    let members = fit(body, "namespace", &NAMESPACE_SCHEMA, &read_only)?;
    let visibility = match members.get("visibility").and_then(Value::as_str) {
        None => Visibility::Private,
        Some(text) => Visibility::parse(text).ok_or_else(|| mismatch("namespace", "visibility"))?,
    };
    let namespace = Namespace {
        id: id::uuid(),
        name: named(members, "namespace", "namespace")?,
        display_name: text(members, "display_name"),
        description: text(members, "description"),
        visibility,
        protected: members.get("protected").and_then(Value::as_bool).unwrap_or(false),
        owner: text(members, "owner").filter(|o| !o.is_empty()).unwrap_or_else(|| owner.to_owned()),
        created_at: now,
        updated_at: now,
        generation: 1,
    };
    let contents = Contents {
        associations: items(members, "resource_type_associations")
            .map(|item| association(item, now))
            .collect::<Result<_>>()?,
        properties: properties(members)?
            .into_iter()
            .map(|(name, schema)| Property { name, schema })
            .collect(),
        objects: items(members, "objects").map(|item| object(item, now)).collect::<Result<_>>()?,
        tags: items(members, "tags").map(|item| tag(item, now)).collect::<Result<_>>()?,
    };
    Ok((namespace, contents))
}

/// The member `properties`: schemas by name, each checked.
fn properties(members: &Map<String, Value>) -> Result<Vec<(String, Map<String, Value>)>> {
    let Some(Value::Object(given)) = members.get("properties") else { return Ok(Vec::new()) };
    given
        .iter()
        .map(|(name, schema)| {
            if name.is_empty() || name.chars().count() > MAX_NAME {
                return Err(mismatch(
                    "property",
                    &format!("names must have 1 to {MAX_NAME} characters\n\nOn instance['{}']", short(name)),
                ));
            }
            // The same rules as for a property alone; the name is its key here.
            let mut whole = schema.as_object().cloned().unwrap_or_default();
            whole.insert("name".to_owned(), Value::String(name.clone()));
            let whole = Value::Object(whole);
            PROPERTY_SCHEMA.check_named("property", &whole)?;
            Ok((name.clone(), without_name(&whole)))
        })
        .collect()
}

fn without_name(whole: &Value) -> Map<String, Value> {
    let members = whole.as_object().into_iter().flatten();
    members.filter(|(key, _)| *key != "name").map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// An association.
pub fn association(body: &Value, now: Timestamp) -> Result<Association> {
    let members = fit(body, "resource_type_association", &ASSOCIATION_SCHEMA, &["created_at", "updated_at"])?;
    Ok(Association {
        name: named(members, "name", "resource_type_association")?,
        prefix: text(members, "prefix"),
        properties_target: text(members, "properties_target"),
        created_at: now,
        updated_at: now,
    })
}

/// A property.
pub fn property(body: &Value) -> Result<Property> {
    let members = fit(body, "property", &PROPERTY_SCHEMA, &["created_at", "updated_at"])?;
    Ok(Property { name: named(members, "name", "property")?, schema: without_name(body) })
}

/// An object.
pub fn object(body: &Value, now: Timestamp) -> Result<Object> {
    let read_only = ["self", "schema", "created_at", "updated_at"];
    let members = fit(body, "object", &OBJECT_SCHEMA, &read_only)?;
    Ok(Object {
        name: named(members, "name", "object")?,
        description: text(members, "description"),
        required: items(members, "required").filter_map(Value::as_str).map(str::to_owned).collect(),
        properties: properties(members)?.into_iter().map(|(n, s)| (n, Value::Object(s))).collect(),
        created_at: now,
        updated_at: now,
    })
}

/// A tag.
pub fn tag(body: &Value, now: Timestamp) -> Result<Tag> {
    let members = fit(body, "tag", &TAG_SCHEMA, &["created_at", "updated_at"])?;
    Ok(Tag { name: named(members, "name", "tag")?, created_at: now, updated_at: now })
}

/// Many tags.
pub fn tags(body: &Value, now: Timestamp) -> Result<Vec<Tag>> {
    let members = fit(body, "tags", &TAGS_SCHEMA, &["created_at", "updated_at"])?;
    items(members, "tags").map(|item| tag(item, now)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_name_the_field() {
        let now = Timestamp::now();
        let says = |body: Value| namespace(&body, "o", now).unwrap_err().public;
        assert_eq!(
            says(json!({"namespace": 5})),
            "Provided object does not match schema 'namespace': 5 is not of type 'string'\n\n\
             Failed validating 'type' in schema['properties']['namespace']\n\nOn instance['namespace']:\n    5"
        );
        assert!(says(json!({})).contains("'namespace' is a required property"));
        assert!(says(json!({"namespace": "x", "y": 1})).contains("('y' was unexpected)"));
        assert!(says(json!({"namespace": ""})).contains("instance['namespace']"));
        let bad = json!({"namespace": "x", "properties": {"p": {"title": "t", "type": "text"}}});
        assert!(says(bad).contains("instance['properties']['p']['type']"));
        let bad =
            json!({"namespace": "x", "properties": {"p": {"title": "t", "type": "string", "nosuch": 1}}});
        assert!(says(bad).contains("'nosuch' was unexpected"));
        assert!(says(json!({"namespace": "x", "objects": [{}]})).contains("'name' is a required property"));
        assert!(says(json!({"namespace": "x", "tags": [{"name": "t".repeat(81)}]})).contains("is too long"));
        assert!(says(json!({"namespace": "x", "self": "y"})).contains("Attribute 'self' is read-only."));
        assert!(says(json!([])).contains("must be a JSON object"));
    }

    #[test]
    fn a_pattern_must_be_one() {
        let with = |p: &str| property(&json!({"name": "p", "title": "t", "type": "string", "pattern": p}));
        assert!(with("^[a-z]{1,3}$").is_ok());
        assert!(with("([a-z").unwrap_err().public.contains("instance['pattern']"));
    }
}
