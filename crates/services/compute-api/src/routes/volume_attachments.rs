//! `os-volume_attachments` and `os-assisted-volume-snapshots` of a cloud without a volume service: no server has a
//! volume, and no volume that a request names exists.

use super::servers::allowed;
use crate::{action, app::App, input, store::servers::Server};
use actix_web::{HttpRequest, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{Error, Result, microversion::feature, server::VmState};
use serde_json::{Value, json};

const INDEX: &str = "os_compute_api:os-volumes-attachments:index";
const SHOW: &str = "os_compute_api:os-volumes-attachments:show";
const CREATE: &str = "os_compute_api:os-volumes-attachments:create";
const UPDATE: &str = "os_compute_api:os-volumes-attachments:update";
const SWAP: &str = "os_compute_api:os-volumes-attachments:swap";
const DELETE: &str = "os_compute_api:os-volumes-attachments:delete";

/// The rows.
pub fn routes() -> Vec<Route> {
    const ALL: &str = "/v2.1/servers/{id}/os-volume_attachments";
    const ONE: &str = "/v2.1/servers/{id}/os-volume_attachments/{volume_id}";
    vec![
        Route::get(ALL, || web::route().to(index)).policy(&[INDEX]).summary("Lists a server's volumes"),
        Route::post(ALL, || web::route().to(create)).policy(&[CREATE]).summary("Attaches a volume"),
        Route::get(ONE, || web::route().to(show)).policy(&[SHOW]).summary("Shows an attached volume"),
        Route::put(ONE, || web::route().to(update))
            .policy(&[UPDATE, SWAP])
            .success(202)
            .summary("Replaces an attached volume"),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&[DELETE])
            .success(202)
            .summary("Detaches a volume"),
    ]
}

fn unknown(volume_id: &str) -> String {
    let short: String = volume_id.chars().take(255).collect();
    format!("Volume {short} could not be found.")
}

fn volume(body: &Value) -> &str {
    body["volumeAttachment"]["volumeId"].as_str().unwrap_or_default()
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "volume_attachments.index?", req.query_string())?;
    allowed(&app, &ctx, &id, INDEX).await?;
    json(&json!({"volumeAttachments": []}))
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "volume_attachments.show?", req.query_string())?;
    let (id, volume_id) = path.into_inner();
    let server = allowed(&app, &ctx, &id, SHOW).await?;
    let short: String = volume_id.chars().take(255).collect();
    Err(Error::not_found(format!("Instance {} is not attached to volume {short}", server.id)).into())
}

/// 409 unless the server's lock and state would allow a volume.
fn attachable(ctx: &Ctx, server: &Server) -> Result<()> {
    action::check_lock(server, ctx.caller()?.is_admin())?;
    let wrong = |attribute: &str, state: &str| {
        Err(Error::conflict(format!(
            "Cannot 'attach_volume' instance {} while it is in {attribute} {state}",
            server.id
        )))
    };
    let shelved = matches!(server.vm_state, VmState::Shelved | VmState::ShelvedOffloaded);
    let fits = matches!(
        server.vm_state,
        VmState::Active | VmState::Paused | VmState::Stopped | VmState::Resized | VmState::SoftDeleted
    );
    if !(fits || shelved && ctx.version.has(feature::SHELVED_VOLUMES)) {
        return wrong("vm_state", server.vm_state.as_str());
    }
    match server.task_state {
        Some(task) => wrong("task_state", task.as_str()),
        None => Ok(()),
    }
}

/// The lock and the state of the server are looked at first, as where the volume would be.
async fn create(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "volume_attachments.create", body)?;
    let server = allowed(&app, &ctx, &id, CREATE).await?;
    attachable(&ctx, &server)?;
    Err(Error::not_found(unknown(volume(&body))).into())
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let (id, volume_id) = path.into_inner();
    let body = input::body(&ctx, "volume_attachments.update", body)?;
    // The same volume is a change of the attachment, another one a swap.
    let regular = ctx.version.has(feature::VOLUME_ATTACHMENT_UPDATE);
    let same = regular && volume(&body) == volume_id;
    allowed(&app, &ctx, &id, if same { UPDATE } else { SWAP }).await?;
    if regular {
        let short: String = volume_id.chars().take(255).collect();
        return Err(Error::not_found(format!("No volume Block Device Mapping with id {short}.")).into());
    }
    Err(Error::not_found(unknown(&volume_id)).into())
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (id, volume_id) = path.into_inner();
    allowed(&app, &ctx, &id, DELETE).await?;
    Err(Error::not_found(unknown(&volume_id)).into())
}

/// The rows for a volume service that stores its volumes in files of guests.
pub fn assisted() -> Vec<Route> {
    vec![
        Route::post("/v2.1/os-assisted-volume-snapshots", || web::route().to(assist))
            .policy(&[ASSIST])
            .summary("Snapshots a volume through its guest"),
        Route::delete("/v2.1/os-assisted-volume-snapshots/{id}", || web::route().to(unassist))
            .policy(&[UNASSIST])
            .success(204)
            .summary("Deletes a snapshot of a volume through its guest"),
    ]
}

const ASSIST: &str = "os_compute_api:os-assisted-volume-snapshots:create";
const UNASSIST: &str = "os_compute_api:os-assisted-volume-snapshots:delete";

fn unmapped(volume_id: &str) -> Result<()> {
    let short: String = volume_id.chars().take(255).collect();
    Err(Error::bad_request(format!("No volume Block Device Mapping with id {short}.")))
}

async fn assist(ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    ctx.enforce(ASSIST, &[])?;
    let body = input::body(&ctx, "assisted_volume_snapshots.create", body)?;
    unmapped(body["snapshot"]["volume_id"].as_str().unwrap_or_default())?;
    json(&Value::Null)
}

async fn unassist(ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce(UNASSIST, &[])?;
    let query = input::query(&ctx, "assisted_volume_snapshots.delete?", req.query_string())?;
    let info: Value = serde_json::from_str(query.get("delete_info").unwrap_or_default())
        .map_err(|e| Error::bad_request(e.to_string()))?;
    let Some(volume_id) = info["volume_id"].as_str() else {
        return Err(Error::bad_request("'volume_id'").into());
    };
    unmapped(volume_id)?;
    json(&Value::Null)
}
