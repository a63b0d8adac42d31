//! The v2.0 forms, made from those of v3: for SDKs that know nothing newer.

use crate::auth::{Context, Scope};
use ferrostack_model::TokenClaims;
use serde_json::{Map, Value, json};

/// The service types of v2.0 catalogs: a well-known SDK's login fails at any other.
const TYPES: [&str; 8] =
    ["compute", "image", "identity", "network", "volume", "volumev2", "orchestration", "cloudformation"];

fn without(value: Value, names: &[&str]) -> Map<String, Value> {
    let mut out = match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    for name in names {
        out.remove(*name);
    }
    out
}

/// A user of v3 (its inner object).
pub fn user(v3: Value) -> Value {
    let mut out = without(v3, &["domain_id", "options", "links", "password_expires_at"]);
    if let Some(project) = out.remove("default_project_id") {
        out.insert("tenantId".into(), project);
    }
    let name = out.get("name").cloned().unwrap_or(Value::Null);
    out.entry("username").or_insert(name);
    out.entry("email").or_insert(Value::Null);
    Value::Object(out)
}

/// A project of v3.
pub fn tenant(v3: Value) -> Value {
    Value::Object(without(v3, &["domain_id", "parent_id", "is_domain", "options", "links", "tags"]))
}

/// A role of v3.
pub fn role(v3: Value) -> Value {
    Value::Object(without(v3, &["domain_id", "options", "links"]))
}

/// A service of v3.
pub fn service(v3: Value) -> Value {
    let mut out = without(v3, &["enabled", "links"]);
    for name in ["name", "description"] {
        if !out.get(name).is_some_and(Value::is_string) {
            out.insert(name.into(), json!(""));
        }
    }
    Value::Object(out)
}

/// `{"access": …}` for a token with the v3 catalog of its scope.
pub fn access(id: &str, claims: &TokenClaims, context: &Context, v3_catalog: &Value) -> Value {
    let mut token = json!({
        "id": id, "issued_at": claims.iat_us.iso_micros_naive(), "expires": claims.exp_us.iso(),
        "audit_ids": claims.aud_ids,
    });
    let mut services = json!([]);
    if let Scope::Project(project, _) = &context.scope {
        token["tenant"] = json!({
            "id": project.id, "name": project.name, "description": project.description,
            "enabled": project.enabled == 1,
        });
        services = catalog(v3_catalog, &project.id);
    }
    let names: Vec<Value> = context.roles.iter().map(|r| json!({"name": r.name})).collect();
    let ids: Vec<&str> = context.roles.iter().map(|r| r.id.as_str()).collect();
    json!({"access": {
        "token": token,
        "serviceCatalog": services,
        "user": {"id": context.user.id, "name": context.user.name, "username": context.user.name,
            "roles": names, "roles_links": []},
        "metadata": {"is_admin": 0, "roles": ids},
    }})
}

/// A catalog: one endpoint a region with three URLs, in the forms that old SDKs build their paths on.
fn catalog(v3: &Value, project_id: &str) -> Value {
    let mut out = Vec::new();
    for service in v3.as_array().into_iter().flatten() {
        let kind = service["type"].as_str().unwrap_or_default();
        if !TYPES.contains(&kind) {
            continue;
        }
        let mut regions: Vec<Value> = Vec::new();
        for endpoint in service["endpoints"].as_array().into_iter().flatten() {
            let region = endpoint["region"].as_str().unwrap_or_default();
            let at = match regions.iter().position(|r| r["region"] == region) {
                Some(at) => at,
                None => {
                    regions.push(json!({"region": region}));
                    regions.len() - 1
                }
            };
            let Some(name) = url_name(endpoint["interface"].as_str().unwrap_or_default()) else { continue };
            let url = old_form(kind, endpoint["url"].as_str().unwrap_or_default(), project_id);
            if name == "publicURL" || regions[at].get("id").is_none() {
                regions[at]["id"] = endpoint["id"].clone();
            }
            regions[at][name] = json!(url);
        }
        for region in &mut regions {
            // Old SDKs take the one they know without looking whether it is there.
            let have =
                ["publicURL", "internalURL", "adminURL"].map(|n| region[n].as_str().map(str::to_owned));
            let Some(any) = have.iter().flatten().next().cloned() else { continue };
            for (name, url) in ["publicURL", "internalURL", "adminURL"].into_iter().zip(have) {
                region[name] = json!(url.unwrap_or_else(|| any.clone()));
            }
        }
        regions.retain(|r| r["publicURL"].is_string());
        if !regions.is_empty() {
            let name = service["name"].as_str().unwrap_or_default();
            out.push(json!({"type": kind, "name": name, "endpoints": regions, "endpoints_links": []}));
        }
    }
    Value::Array(out)
}

fn url_name(interface: &str) -> Option<&'static str> {
    match interface {
        "public" => Some("publicURL"),
        "internal" => Some("internalURL"),
        "admin" => Some("adminURL"),
        _ => None,
    }
}

/// A URL as a v2.0 catalog has it: compute with the legacy API and the tenant, image and network without a version,
/// identity with v2.0; no slash at the end.
fn old_form(kind: &str, url: &str, project_id: &str) -> String {
    let url = url.trim_end_matches('/');
    match kind {
        "compute" => format!("{}/v2/{project_id}", unversioned(url)),
        "identity" => format!("{}/v2.0", unversioned(url)),
        "image" | "network" => unversioned(url).to_owned(),
        _ => url.to_owned(),
    }
}

/// The URL up to its first segment that is a version, `v2.1`, `v3`.
fn unversioned(url: &str) -> &str {
    let mut at = url.find("://").map_or(0, |n| n + 3);
    while let Some(slash) = url[at..].find('/').map(|n| at + n) {
        let segment = url[slash + 1..].split('/').next().unwrap_or_default();
        let version = segment.strip_prefix('v').is_some_and(|n| {
            n.starts_with(|c: char| c.is_ascii_digit()) && n.chars().all(|c| c.is_ascii_digit() || c == '.')
        });
        if version {
            return &url[..slash];
        }
        at = slash + 1;
    }
    url
}

/// The endpoints of a token's catalog in one list.
pub fn flat(access: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    for service in access["access"]["serviceCatalog"].as_array().into_iter().flatten() {
        for endpoint in service["endpoints"].as_array().into_iter().flatten() {
            let mut endpoint = endpoint.clone();
            endpoint["type"] = service["type"].clone();
            endpoint["name"] = service["name"].clone();
            out.push(endpoint);
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_old_sdks_build_on_them() {
        let form = |kind, url| old_form(kind, url, "p1");
        for url in [
            "http://h:8774/v2.1",
            "http://h:8774/v2.1/",
            "http://h:8774/v2.1/p1",
            "http://h:8774/v2/p1",
            "http://h:8774",
        ] {
            assert_eq!(form("compute", url), "http://h:8774/v2/p1", "{url}");
        }
        assert_eq!(form("compute", "https://h/compute/v2.1"), "https://h/compute/v2/p1");
        assert_eq!(form("identity", "http://v3.example:5000/v3"), "http://v3.example:5000/v2.0");
        assert_eq!(form("image", "http://h:9292/v2/"), "http://h:9292");
        assert_eq!(form("network", "http://h:9696/"), "http://h:9696");
        assert_eq!(form("network", "http://h:9696/v2.0"), "http://h:9696");
        assert_eq!(form("volume", "http://h:8776/v1/p1"), "http://h:8776/v1/p1");
        assert_eq!(form("image", "http://h/vault"), "http://h/vault");
    }

    #[test]
    fn one_endpoint_a_region_with_three_urls() {
        let endpoint = |id: &str, interface: &str, region: &str| json!({"id": id, "interface": interface, "region": region, "region_id": region, "url": format!("http://{id}/v2.1")});
        let v3 = json!([
            {"type": "compute", "name": "nova", "id": "s", "endpoints": [
                endpoint("a", "admin", "R1"), endpoint("b", "public", "R1"), endpoint("c", "public", "R2"), endpoint("d", "internal", "R1")]},
            {"type": "placement", "name": "placement", "id": "s2", "endpoints": [endpoint("e", "public", "R1")]},
            {"type": "image", "id": "s3", "endpoints": []},
        ]);
        let out = catalog(&v3, "p1");
        assert_eq!(out.as_array().unwrap().len(), 1);
        assert_eq!(
            out[0]["endpoints"],
            json!([
                {"region": "R1", "id": "b", "adminURL": "http://a/v2/p1", "publicURL": "http://b/v2/p1", "internalURL": "http://d/v2/p1"},
                {"region": "R2", "id": "c", "adminURL": "http://c/v2/p1", "publicURL": "http://c/v2/p1", "internalURL": "http://c/v2/p1"},
            ])
        );
    }
}
