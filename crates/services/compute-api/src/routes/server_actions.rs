//! `POST /servers/{id}/action`.

use super::{
    server_snapshots::{self, CREATE_BACKUP, CREATE_IMAGE},
    servers::allowed,
};
use crate::{
    app::App,
    console, input,
    jobs::power::{self, Verb},
    store::{
        instance_actions::{self as actions, Asker},
        servers::{self, Server, change},
    },
};
use actix_web::{HttpResponse, web};
use ferrostack_db::db_error;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_model::{Error, Result, server::VmState};
use serde_json::{Value, json};

const START: &str = "os_compute_api:servers:start";
const STOP: &str = "os_compute_api:servers:stop";
const REBOOT: &str = "os_compute_api:servers:reboot";
const RESET: &str = "os_compute_api:os-admin-actions:reset_state";
const CONSOLE: &str = "os_compute_api:os-console-output";

/// The row.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/v2.1/servers/{id}/action", || web::route().to(act))
            .policy(&[START, STOP, REBOOT, RESET, CONSOLE, CREATE_IMAGE, CREATE_BACKUP])
            .success(202)
            .summary("Starts, stops or reboots a server, makes images of it, resets its state, or reads its console log"),
    ]
}

async fn act(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let name = match body.as_object() {
        Some(map) if map.len() == 1 => map.keys().next().cloned().unwrap_or_default(),
        _ => return Err(Error::bad_request("Malformed request body").into()),
    };
    match name.as_str() {
        "os-start" | "os-stop" | "reboot" => {
            let body = input::body(&ctx, &format!("servers.{name}"), body)?;
            let (verb, rule) = match name.as_str() {
                "os-start" => (Verb::Start, START),
                "os-stop" => (Verb::Stop, STOP),
                _ if body["reboot"]["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("HARD")) => {
                    (Verb::RebootHard, REBOOT)
                }
                _ => (Verb::RebootSoft, REBOOT),
            };
            let server = allowed(&app, &ctx, &id, rule).await?;
            let caller = ctx.caller()?;
            let asker = Asker {
                request_id: &ctx.request_id,
                user_id: caller.user_id(),
                project_id: caller.project_id(),
            };
            power::begin(&app, server, verb, asker).await?;
        }
        "os-resetState" => {
            let body = input::body(&ctx, "servers.os-resetState", body)?;
            let server = allowed(&app, &ctx, &id, RESET).await?;
            reset(&app, &ctx, &server, &body).await?;
        }
        "createImage" => return Ok(server_snapshots::create_image(&app, &ctx, &id, body).await?),
        "createBackup" => return Ok(server_snapshots::create_backup(&app, &ctx, &id, body).await?),
        "os-getConsoleOutput" => {
            let body = input::body(&ctx, "servers.os-getConsoleOutput", body)?;
            let server = allowed(&app, &ctx, &id, CONSOLE).await?;
            let length = match &body["os-getConsoleOutput"]["length"] {
                Value::Null => None,
                value => Some(input::integer(value)?),
            };
            let output = console::output(&app, &ctx, &server, length).await?;
            return json(&json!({"output": output}));
        }
        other => {
            let short: String = other.chars().take(255).collect();
            return Err(Error::bad_request(format!("There is no such action: {short}")).into());
        }
    }
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}

/// The admin's way out: the state as told. What changes power is stopped; a build or a delete goes on.
async fn reset(app: &App, ctx: &Ctx, server: &Server, body: &Value) -> Result<()> {
    let vm_state = if body["os-resetState"]["state"] == "active" { VmState::Active } else { VmState::Error };
    let caller = ctx.caller()?;
    let asker =
        Asker { request_id: &ctx.request_id, user_id: caller.user_id(), project_id: caller.project_id() };
    let power_job = ferrostack_jobs::find_active(&app.db, &server.id)
        .await?
        .filter(|job| matches!(job.kind.as_str(), "start" | "stop" | "reboot"));
    let mut tx = app.db.begin_write().await?;
    if !change::reset_state(&mut tx, &server.id, vm_state).await? {
        return Err(servers::not_found(&server.id));
    }
    if let Some(job) = power_job {
        ferrostack_jobs::supersede(&mut tx, &server.id).await?;
        if let Some(request) = &job.request_id {
            actions::abandoned(&mut tx, &server.id, request, "The state of the instance was reset.").await?;
        }
    }
    actions::begin(&mut tx, &server.id, "resetState", asker).await?;
    actions::end(&mut tx, &server.id, &ctx.request_id).await?;
    tx.commit().await.map_err(db_error)
}
