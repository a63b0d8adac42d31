//! Namespaces.

use super::{associations, objects, properties, tags};
use crate::metadefs::{Association, Contents, Namespace};
use serde_json::{Value, json};

/// A namespace alone.
pub fn namespace(namespace: &Namespace) -> Value {
    let mut out = json!({"namespace": namespace.name});
    for (name, text) in [("display_name", &namespace.display_name), ("description", &namespace.description)] {
        if let Some(text) = text {
            out[name] = json!(text);
        }
    }
    out["visibility"] = json!(namespace.visibility.as_str());
    out["protected"] = json!(namespace.protected);
    if !namespace.owner.is_empty() {
        out["owner"] = json!(namespace.owner);
    }
    out["created_at"] = json!(namespace.created_at.iso());
    out["updated_at"] = json!(namespace.updated_at.iso());
    out["self"] = json!(href(namespace));
    out["schema"] = json!("/v2/schemas/metadefs/namespace");
    out
}

/// Its path.
pub fn href(namespace: &Namespace) -> String {
    format!("/v2/metadefs/namespaces/{}", namespace.name)
}

/// A namespace as a list shows it.
fn listed(of: &Namespace, found: Option<&Vec<Association>>) -> Value {
    let mut out = namespace(of);
    if let Some(found) = found {
        out["resource_type_associations"] = found.iter().map(associations::association).collect();
    }
    out
}

/// A namespace with all that is in it; what is empty is left out.
pub fn whole(of: &Namespace, contents: &Contents) -> Value {
    let mut out = listed(of, Some(&contents.associations).filter(|a| !a.is_empty()));
    if !contents.properties.is_empty() {
        out["properties"] = properties::by_name(&contents.properties);
    }
    if !contents.objects.is_empty() {
        out["objects"] = contents.objects.iter().map(|o| objects::object(&of.name, o)).collect();
    }
    if !contents.tags.is_empty() {
        out["tags"] = tags::names(&contents.tags);
    }
    out
}

/// A page of a list with its links. `pairs` is the query as it was sent, `full` whether more may follow.
pub fn namespaces(
    page: &[Namespace],
    found: &std::collections::HashMap<String, Vec<Association>>,
    pairs: &[(String, String)],
    full: bool,
) -> Value {
    let link = |marker: Option<&str>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs.iter().filter(|(name, _)| name != "marker") {
            query.append_pair(name, value);
        }
        if let Some(marker) = marker {
            query.append_pair("marker", marker);
        }
        match query.finish() {
            text if text.is_empty() => "/v2/metadefs/namespaces".to_owned(),
            text => format!("/v2/metadefs/namespaces?{text}"),
        }
    };
    let mut out = json!({
        "namespaces": page.iter().map(|n| listed(n, found.get(&n.id))).collect::<Vec<_>>(),
        "first": link(None),
        "schema": "/v2/schemas/metadefs/namespaces",
    });
    if let (true, Some(last)) = (full, page.last()) {
        out["next"] = json!(link(Some(&last.name)));
    }
    out
}
