//! Every row of the route table against every persona: who comes through to the handler's work.

use crate::support::{PERSONAS, PROJECT_A, each, user_id};
use ferrostack_compute_api::routes;
use ferrostack_http::{Access, Method};
use serde_json::{Value, json};

/// Rows of other modules are checked where they are tested.
const OURS: [&str; 11] = [
    "/v2.1/os-aggregates",
    "/v2.1/os-hosts",
    "/v2.1/flavors",
    "/v2.1/os-keypairs",
    "/v2.1/os-quota",
    "/v2.1/limits",
    "/v2.1/os-services",
    "/v2.1/os-hypervisors",
    "/v2.1/os-availability-zone",
    "/v2.1/extensions",
    "/v2.1/os-simple-tenant-usage",
];

/// A body that passes the schema, so that only the policy can refuse.
fn body(method: &Method, path: &str) -> Option<Value> {
    let is_post = *method == Method::POST;
    if *method != Method::PUT && !is_post {
        return None;
    }
    Some(match path {
        "/v2.1/flavors" => json!({"flavor": {"name": "f", "ram": 1, "vcpus": 1, "disk": 0}}),
        "/v2.1/flavors/{id}" => json!({"flavor": {"description": "d"}}),
        "/v2.1/flavors/{id}/action" => json!({"addTenantAccess": {"tenant": PROJECT_A}}),
        p if p.ends_with("os-extra_specs") => json!({"extra_specs": {"k": "v"}}),
        p if p.contains("os-extra_specs/") => json!({"x": "v"}),
        "/v2.1/os-keypairs" => json!({"keypair": {"name": "k", "public_key": "x"}}),
        p if p.contains("class") => json!({"quota_class_set": {"cores": 1}}),
        p if p.contains("quota") => json!({"quota_set": {"cores": 1}}),
        p if p.contains("os-hosts") => json!({"status": "enable"}),
        p if p.contains("os-services") => json!({"host": "h", "binary": "nova-compute"}),
        _ => json!({}),
    })
}

/// Who may, by the policy rule of the row: the default rules of Nova 34.
fn may(who: &str, method: &Method, path: &str) -> bool {
    let reads = *method == Method::GET;
    match path {
        // Flavors have no rule for reading, keypairs are everybody's own.
        "/v2.1/flavors" | "/v2.1/flavors/detail" | "/v2.1/flavors/{id}" if reads => true,
        p if p.contains("os-keypairs") => true,
        "/v2.1/limits" | "/v2.1/os-availability-zone" => true,
        p if p.contains("/extensions") || p.ends_with("/defaults") => true,
        p if p.contains("os-extra_specs") && reads => who != "nobody",
        "/v2.1/os-quota-sets/{project_id}"
        | "/v2.1/os-quota-sets/{project_id}/detail"
        | "/v2.1/os-simple-tenant-usage/{project_id}"
            if reads =>
        {
            matches!(who, "admin" | "member" | "reader")
        }
        _ => who == "admin",
    }
}

#[actix_web::test]
async fn every_row_asks_its_policy() {
    each(async |cloud| {
        let mut rows = 0;
        for route in routes::table() {
            if route.access == Access::Public {
                continue;
            }
            if !OURS.iter().any(|prefix| route.path.starts_with(prefix)) {
                continue;
            }
            rows += 1;
            let version = route.window.map_or(1, |w| w.0);
            let path = route
                .path
                .replace("{project_id}", PROJECT_A)
                .replace("{id}", "x")
                .replace("{flavor_id}", "x")
                .replace("{key}", "x")
                .replace("{name}", "x")
                .replace("{class}", "x")
                .replace("{alias}", "x")
                .replace("{host}", "x");
            for who in PERSONAS {
                let client = cloud.at(who, version);
                let answer = client
                    .call(
                        route.method.as_str().parse().unwrap(),
                        path.strip_prefix("/v2.1").unwrap(),
                        body(&route.method, route.path).as_ref(),
                    )
                    .await;
                let status = answer.status.as_u16();
                let case = format!("{} {} as {who:?}: {status} {}", route.method, route.path, answer.text);
                match who {
                    "" => assert_eq!(status, 401, "{case}"),
                    who if may(who, &route.method, route.path) => {
                        assert!(status != 403 && status != 401 && status < 500, "{case}");
                    }
                    _ => {
                        assert_eq!(status, 403, "{case}");
                        let text = answer.fault(403);
                        assert!(
                            route
                                .policy
                                .iter()
                                .any(|rule| text == format!("Policy doesn't allow {rule} to be performed.")),
                            "{case}"
                        );
                    }
                }
            }
        }
        assert!(rows >= 30, "{rows}");
        assert_eq!(user_id("admin").len(), 32);
    })
    .await;
}
