//! What is supported beside the core API; only what is true.

use ferrostack_http::{
    ApiResult, Route,
    actix_web::{HttpRequest, web},
    json,
};
use ferrostack_model::Error;
use serde_json::{Value, json};

/// Alias, name, description.
const EXTENSIONS: &[(&str, &str, &str)] = &[
    ("agent", "agent", "The agent management extension."),
    ("availability_zone", "Availability Zone", "The availability zone extension."),
    ("binding", "Port Binding", "Expose port bindings of a virtual port to external application"),
    ("filter-validation", "Filter parameters validation", "Provides validation on filter parameters."),
    ("net-mtu", "Network MTU", "Provides MTU attribute for a network resource."),
    (
        "net-mtu-writable",
        "Network MTU (writable)",
        "Provides a writable MTU attribute for a network resource.",
    ),
    ("network_availability_zone", "Network Availability Zone", "Availability zone support for network."),
    ("pagination", "Pagination support", "Extension that indicates that pagination is enabled."),
    ("project-id", "project_id field enabled", "Extension that indicates that project_id field is enabled."),
    ("provider", "Provider Network", "Expose mapping of virtual networks to physical networks"),
    (
        "quota_details",
        "Quota details management support",
        "Expose functions for quotas usage statistics per project",
    ),
    ("quotas", "Quota management support", "Expose functions for quotas management per project"),
    ("sorting", "Sorting support", "Extension that indicates that sorting is enabled."),
    (
        "standard-attr-description",
        "standard-attr-description",
        "Extension to add descriptions to standard attributes",
    ),
    (
        "standard-attr-revisions",
        "Resource revision numbers",
        "This extension will display the revision number of neutron resources.",
    ),
    (
        "standard-attr-tag",
        "Tag support for resources with standard attribute: network, port, subnet",
        "Enables to set tag on resources with standard attribute.",
    ),
    (
        "standard-attr-timestamp",
        "Resource timestamps",
        "Adds created_at and updated_at fields to all Neutron resources that have Neutron standard attributes.",
    ),
    (
        "subnet-service-types",
        "Subnet service types",
        "Provides ability to set the subnet service_types field",
    ),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2.0/extensions", || web::get().to(list)).summary("Lists the extensions"),
        Route::get("/v2.0/extensions/{alias}", || web::get().to(show)).summary("Shows an extension"),
    ]
}

fn view((alias, name, description): &(&str, &str, &str)) -> Value {
    json!({"alias": alias, "name": name, "description": description, "links": [],
        "updated": "2026-01-01T00:00:00-00:00"})
}

async fn list() -> ApiResult {
    json(&json!({"extensions": EXTENSIONS.iter().map(view).collect::<Vec<_>>()}))
}

async fn show(req: HttpRequest) -> ApiResult {
    let alias = req.match_info().query("alias");
    match EXTENSIONS.iter().find(|(a, ..)| *a == alias) {
        Some(extension) => json(&json!({"extension": view(extension)})),
        None => Err(Error::not_found("The resource could not be found.").into()),
    }
}
