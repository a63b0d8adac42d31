//! Which endpoints a project's catalog holds.

use crate::store::{self, endpoint::Endpoint, project_endpoint::Allowed, service::Service};
use ferrostack_db::Db;
use ferrostack_model::Result;

/// Members of an endpoint group's filters.
pub const KEYS: [&str; 3] = ["service_id", "region_id", "interface"];

/// Whether an endpoint is in a group with these filters (a JSON object): all of them must fit.
pub fn fits(filters: &str, endpoint: &Endpoint) -> bool {
    store::members(filters).iter().all(|(name, wanted)| {
        let have = match name.as_str() {
            "service_id" => &endpoint.service_id,
            "region_id" => &endpoint.region_id,
            "interface" => &endpoint.interface,
            _ => return false,
        };
        wanted.as_str() == Some(have)
    })
}

/// The endpoints that `allowed` names or describes.
pub fn select(allowed: &Allowed, endpoints: &[Endpoint]) -> Vec<Endpoint> {
    let named = |e: &Endpoint| allowed.endpoints.contains(&e.id);
    let described = |e: &Endpoint| allowed.filters.iter().any(|f| fits(f, e));
    endpoints.iter().filter(|e| named(e) || described(e)).cloned().collect()
}

/// Services and endpoints for the catalog of a project (`None`: of no project). If endpoints are associated with the
/// project, only these and their services; else all, as with Keystone's `return_all_endpoints_if_no_filter`.
pub async fn catalog_of(db: &Db, project_id: Option<&str>) -> Result<(Vec<Service>, Vec<Endpoint>)> {
    let mut services = store::service::list(db.reader(), "").await?;
    let mut endpoints = store::endpoint::list(db.reader(), "", "", "").await?;
    if let Some(project_id) = project_id {
        let mine = select(&store::project_endpoint::allowed(db.reader(), project_id).await?, &endpoints);
        if !mine.is_empty() {
            services.retain(|s| mine.iter().any(|e| e.service_id == s.id));
            endpoints = mine;
        }
    }
    Ok((services, endpoints))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_filters_must_fit() {
        let endpoint = Endpoint {
            id: "e".into(),
            service_id: "s".into(),
            interface: "public".into(),
            region_id: "r".into(),
            url: "http://x".into(),
            enabled: 1,
            extra: "{}".into(),
            created_at: 0,
            generation: 1,
        };
        assert!(fits(r#"{"service_id":"s","interface":"public"}"#, &endpoint));
        assert!(!fits(r#"{"service_id":"s","interface":"admin"}"#, &endpoint));
        assert!(!fits(r#"{"region_id":5}"#, &endpoint) && !fits(r#"{"url":"http://x"}"#, &endpoint));
    }
}
