//! What Nova has removed answers 410 at every microversion.

use actix_web::web;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Method, Route};
use ferrostack_model::{Error, ErrorKind};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const DELETE: Method = Method::DELETE;

/// Method and path, as Nova 34 has them.
const REMOVED: &[(Method, &str)] = &[
    (GET, "/v2.1/os-agents"),
    (POST, "/v2.1/os-agents"),
    (PUT, "/v2.1/os-agents/{id}"),
    (DELETE, "/v2.1/os-agents/{id}"),
    (GET, "/v2.1/os-cells"),
    (POST, "/v2.1/os-cells"),
    (GET, "/v2.1/os-cells/capacities"),
    (GET, "/v2.1/os-cells/detail"),
    (GET, "/v2.1/os-cells/info"),
    (POST, "/v2.1/os-cells/sync_instances"),
    (GET, "/v2.1/os-cells/{id}"),
    (PUT, "/v2.1/os-cells/{id}"),
    (DELETE, "/v2.1/os-cells/{id}"),
    (GET, "/v2.1/os-cells/{id}/capacities"),
    (POST, "/v2.1/os-certificates"),
    (GET, "/v2.1/os-certificates/{id}"),
    (GET, "/v2.1/os-cloudpipe"),
    (POST, "/v2.1/os-cloudpipe"),
    (PUT, "/v2.1/os-cloudpipe/{id}"),
    (GET, "/v2.1/os-fixed-ips/{id}"),
    (GET, "/v2.1/os-floating-ip-dns"),
    (PUT, "/v2.1/os-floating-ip-dns/{id}"),
    (DELETE, "/v2.1/os-floating-ip-dns/{id}"),
    (GET, "/v2.1/os-floating-ip-dns/{domain_id}/entries/{id}"),
    (PUT, "/v2.1/os-floating-ip-dns/{domain_id}/entries/{id}"),
    (DELETE, "/v2.1/os-floating-ip-dns/{domain_id}/entries/{id}"),
    (GET, "/v2.1/os-floating-ips-bulk"),
    (POST, "/v2.1/os-floating-ips-bulk"),
    (GET, "/v2.1/os-floating-ips-bulk/{id}"),
    (PUT, "/v2.1/os-floating-ips-bulk/{id}"),
    (GET, "/v2.1/os-fping"),
    (GET, "/v2.1/os-fping/{id}"),
    (POST, "/v2.1/os-networks"),
    (POST, "/v2.1/os-networks/add"),
    (DELETE, "/v2.1/os-networks/{id}"),
    (GET, "/v2.1/os-security-group-default-rules"),
    (POST, "/v2.1/os-security-group-default-rules"),
    (GET, "/v2.1/os-security-group-default-rules/{id}"),
    (DELETE, "/v2.1/os-security-group-default-rules/{id}"),
    (POST, "/v2.1/os-tenant-networks"),
    (DELETE, "/v2.1/os-tenant-networks/{id}"),
    (GET, "/v2.1/servers/{server_id}/consoles"),
    (POST, "/v2.1/servers/{server_id}/consoles"),
    (GET, "/v2.1/servers/{server_id}/consoles/{id}"),
    (DELETE, "/v2.1/servers/{server_id}/consoles/{id}"),
    (GET, "/v2.1/servers/{server_id}/os-virtual-interfaces"),
];

/// The removed actions of fixed IPs.
const FIXED_IP: &[&str] = &["reserve", "unreserve"];
/// The removed actions of networks.
const NETWORK: &[&str] = &["disassociate", "disassociate_host", "disassociate_project", "associate_host"];

/// The rows.
pub fn routes() -> Vec<Route> {
    let row = |(method, path): &(Method, &'static str)| {
        Route::new(method.clone(), path, || web::route().to(gone)).success(410).summary("Removed from Nova")
    };
    let mut rows: Vec<Route> = REMOVED.iter().map(row).collect();
    rows.push(
        Route::post("/v2.1/os-fixed-ips/{id}/action", || web::route().to(fixed_ip))
            .success(410)
            .summary("Removed from Nova"),
    );
    rows.push(
        Route::post("/v2.1/os-networks/{id}/action", || web::route().to(network))
            .success(410)
            .summary("Removed from Nova"),
    );
    rows
}

/// Nova's answer for what it has removed.
pub(super) fn error() -> Error {
    Error::new(ErrorKind::Gone, "This resource is no longer available. No forwarding address is given.")
}

async fn gone(_: Ctx) -> ApiResult {
    Err(error().into())
}

async fn fixed_ip(_: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    action(FIXED_IP, &body)
}

async fn network(_: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    action(NETWORK, &body)
}

fn action(known: &[&str], body: &serde_json::Value) -> ApiResult {
    let name = match body.as_object() {
        Some(map) if map.len() == 1 => map.keys().next().cloned().unwrap_or_default(),
        _ => return Err(Error::bad_request("Malformed request body").into()),
    };
    if known.contains(&name.as_str()) {
        return Err(error().into());
    }
    let short: String = name.chars().take(255).collect();
    Err(Error::bad_request(format!("There is no such action: {short}")).into())
}
