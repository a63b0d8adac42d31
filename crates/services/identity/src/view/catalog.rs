//! The catalog in tokens.

use crate::store::{endpoint::Endpoint, service::Service};
use serde_json::{Value, json};

/// The enabled services with their enabled endpoints, in the order of their making.
pub fn catalog(
    services: &[Service],
    endpoints: &[Endpoint],
    project_id: Option<&str>,
    user_id: &str,
) -> Value {
    let entries = services.iter().filter(|s| s.enabled == 1).map(|service| {
        let mine: Vec<Value> = endpoints
            .iter()
            .filter(|e| e.enabled == 1 && e.service_id == service.id)
            .filter_map(|e| {
                let url = substitute(&e.url, project_id, user_id)?;
                let region = if e.region_id.is_empty() { Value::Null } else { json!(e.region_id) };
                Some(json!({"id": e.id, "interface": e.interface, "region_id": region, "url": url, "region": region}))
            })
            .collect();
        let mut entry = json!({"endpoints": mine, "id": service.id, "type": service.r#type});
        let name = service.name();
        if !name.is_empty() {
            entry["name"] = json!(name);
        }
        entry
    });
    Value::Array(entries.collect())
}

/// Fills `%(project_id)s` and its kin in; `None` if something cannot be filled.
pub fn substitute(url: &str, project_id: Option<&str>, user_id: &str) -> Option<String> {
    let mut out = String::with_capacity(url.len() + 32);
    let mut rest = url;
    while let Some(at) = rest.find(['%', '$']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let inner = found[1..].strip_prefix('(').and_then(|r| r.split_once(")s"));
        let Some((name, after)) = inner else {
            out.push_str(&found[..1]);
            rest = &found[1..];
            continue;
        };
        match name {
            "project_id" | "tenant_id" => out.push_str(project_id?),
            "user_id" => out.push_str(user_id),
            _ => return None,
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_what_it_knows_and_drops_the_rest() {
        let fill = |u: &str| substitute(u, Some("p1"), "u1");
        assert_eq!(fill("http://x/v2.1/%(project_id)s/%20"), Some("http://x/v2.1/p1/%20".into()));
        assert_eq!(fill("http://x/$(tenant_id)s?u=$(user_id)s"), Some("http://x/p1?u=u1".into()));
        assert_eq!(fill("http://x/%(evil)s"), None);
        assert_eq!(substitute("http://x/%(project_id)s", None, "u1"), None);
        assert_eq!(fill("http://x/%(project_id"), Some("http://x/%(project_id".into()));
    }
}
