//! Volumes and snapshots through 2.35, and snapshots that a volume service asks for. This cloud has no volume service:
//! whoever may ask is told so.

use crate::input;
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route};
use ferrostack_model::{
    Error, ErrorKind,
    microversion::{Feature, until},
};
use serde_json::Value;

const WINDOW: Feature = until(35);
const ASSISTED_CREATE: &str = "os_compute_api:os-assisted-volume-snapshots:create";
const ASSISTED_DELETE: &str = "os_compute_api:os-assisted-volume-snapshots:delete";

/// A handler of a read or a delete: the query's schema, if it has one, then the rule.
macro_rules! handler {
    ($name:ident, $rule:literal, $query:expr) => {
        async fn $name(ctx: Ctx, req: HttpRequest) -> ApiResult {
            absent(&ctx, &req, $rule, $query)
        }
    };
}

handler!(list, "os_compute_api:os-volumes:list", Some("volumes.index?"));
handler!(detail, "os_compute_api:os-volumes:detail", Some("volumes.detail?"));
handler!(show, "os_compute_api:os-volumes:show", Some("volumes.show?"));
handler!(delete, "os_compute_api:os-volumes:delete", None);
handler!(snapshots, "os_compute_api:os-volumes:snapshots:list", Some("snapshots.index?"));
handler!(snapshot_detail, "os_compute_api:os-volumes:snapshots:detail", Some("snapshots.detail?"));
handler!(snapshot, "os_compute_api:os-volumes:snapshots:show", Some("snapshots.show?"));
handler!(delete_snapshot, "os_compute_api:os-volumes:snapshots:delete", None);

/// The rows.
pub fn routes() -> Vec<Route> {
    let rows = vec![
        Route::get("/v2.1/os-volumes", || web::route().to(list))
            .policy(&["os_compute_api:os-volumes:list"])
            .summary("Lists volumes"),
        Route::post("/v2.1/os-volumes", || web::route().to(create))
            .policy(&["os_compute_api:os-volumes:create"])
            .summary("Creates a volume"),
        Route::get("/v2.1/os-volumes/detail", || web::route().to(detail))
            .policy(&["os_compute_api:os-volumes:detail"])
            .summary("Lists volumes with details"),
        Route::get("/v2.1/os-volumes/{id}", || web::route().to(show))
            .policy(&["os_compute_api:os-volumes:show"])
            .summary("Shows a volume"),
        Route::delete("/v2.1/os-volumes/{id}", || web::route().to(delete))
            .policy(&["os_compute_api:os-volumes:delete"])
            .success(202)
            .summary("Deletes a volume"),
        Route::get("/v2.1/os-snapshots", || web::route().to(snapshots))
            .policy(&["os_compute_api:os-volumes:snapshots:list"])
            .summary("Lists volume snapshots"),
        Route::post("/v2.1/os-snapshots", || web::route().to(create_snapshot))
            .policy(&["os_compute_api:os-volumes:snapshots:create"])
            .summary("Creates a volume snapshot"),
        Route::get("/v2.1/os-snapshots/detail", || web::route().to(snapshot_detail))
            .policy(&["os_compute_api:os-volumes:snapshots:detail"])
            .summary("Lists volume snapshots with details"),
        Route::get("/v2.1/os-snapshots/{id}", || web::route().to(snapshot))
            .policy(&["os_compute_api:os-volumes:snapshots:show"])
            .summary("Shows a volume snapshot"),
        Route::delete("/v2.1/os-snapshots/{id}", || web::route().to(delete_snapshot))
            .policy(&["os_compute_api:os-volumes:snapshots:delete"])
            .success(202)
            .summary("Deletes a volume snapshot"),
    ];
    let mut rows: Vec<Route> = rows.into_iter().map(|row| row.window(WINDOW)).collect();
    rows.push(
        Route::post("/v2.1/os-assisted-volume-snapshots", || web::route().to(assisted))
            .policy(&[ASSISTED_CREATE])
            .summary("Makes a snapshot of an attached volume for the volume service"),
    );
    rows.push(
        Route::delete("/v2.1/os-assisted-volume-snapshots/{id}", || web::route().to(delete_assisted))
            .policy(&[ASSISTED_DELETE])
            .success(204)
            .summary("Deletes a snapshot of an attached volume for the volume service"),
    );
    rows
}

fn none() -> Error {
    Error::new(ErrorKind::Unavailable, "The volume service is not available.")
}

fn absent(ctx: &Ctx, req: &HttpRequest, rule: &str, query: Option<&str>) -> ApiResult {
    ctx.enforce(rule, &[("project_id", ctx.caller()?.project_id())])?;
    if let Some(schema) = query {
        input::query(ctx, schema, req.query_string())?;
    }
    Err(none().into())
}

async fn create(ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    input::body(&ctx, "volumes.create", body)?;
    ctx.enforce("os_compute_api:os-volumes:create", &[("project_id", ctx.caller()?.project_id())])?;
    Err(none().into())
}

async fn create_snapshot(ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    input::body(&ctx, "snapshots.create", body)?;
    ctx.enforce("os_compute_api:os-volumes:snapshots:create", &[("project_id", ctx.caller()?.project_id())])?;
    Err(none().into())
}

/// No server has a volume attached.
fn not_attached(volume: &Value) -> Error {
    let short: String = volume.as_str().unwrap_or_default().chars().take(255).collect();
    Error::bad_request(format!("No volume Block Device Mapping with id {short}."))
}

async fn assisted(ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "assisted_volume_snapshots.create", body)?;
    ctx.enforce(ASSISTED_CREATE, &[])?;
    Err(not_attached(&body["snapshot"]["volume_id"]).into())
}

async fn delete_assisted(ctx: Ctx, req: HttpRequest) -> ApiResult {
    let query = input::query(&ctx, "assisted_volume_snapshots.delete?", req.query_string())?;
    ctx.enforce(ASSISTED_DELETE, &[])?;
    let info: Value = serde_json::from_str(query.get("delete_info").unwrap_or_default())
        .map_err(|e| Error::bad_request(format!("Invalid delete_info: {e}")))?;
    if !info["volume_id"].is_string() {
        return Err(Error::bad_request("Invalid delete_info: 'volume_id'").into());
    }
    Err(not_attached(&info["volume_id"]).into())
}
