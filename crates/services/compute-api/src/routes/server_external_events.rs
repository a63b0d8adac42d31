//! `os-server-external-events`: what other services tell of servers.

use crate::{
    app::App,
    input,
    jobs::interface,
    reconcile::interfaces,
    store::{
        instance_actions::Asker,
        servers::{self, Server},
    },
};
use actix_web::{HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route};
use ferrostack_model::{Error, Result};
use serde_json::json;
use std::collections::HashMap;

const CREATE: &str = "os_compute_api:os-server-external-events:create";
/// Events that say nothing without a tag.
const TAGGED: &[&str] = &["volume-extended", "power-update", "accelerator-request-bound", "volume-reimaged"];

/// The row.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/v2.1/os-server-external-events", || web::route().to(create))
            .policy(&[CREATE])
            .summary("Tells of events of servers"),
    ]
}

/// What becomes of an event.
fn code(name: &str, tag: Option<&str>, server: Option<&Server>) -> u16 {
    match server {
        None => 404,
        Some(_) if tag.is_none() && TAGGED.contains(&name) => 400,
        // Nobody to tell it to.
        Some(server) if server.host.is_none() => 422,
        Some(_) => 200,
    }
}

async fn create(app: web::Data<App>, ctx: Ctx, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "server_external_events.create", body)?;
    ctx.enforce(CREATE, &[])?;
    let mut known: HashMap<String, Option<Server>> = HashMap::new();
    let (mut shown, mut status) = (Vec::new(), 200);
    for event in body["events"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |name: &str| event[name].as_str();
        let id = text("server_uuid").unwrap_or_default();
        if !known.contains_key(id) {
            let found = servers::find(&app.db, id).await?.filter(|s| s.deleted_at.is_none());
            known.insert(id.to_owned(), found);
        }
        let server = known.get(id).and_then(Option::as_ref);
        let (name, tag) = (text("name").unwrap_or_default(), text("tag"));
        let code = code(name, tag, server);
        let mut answer = event.clone();
        answer["status"] = json!(if code == 200 { "completed" } else { "failed" });
        answer["code"] = json!(code);
        shown.push(answer);
        if code != 200 {
            status = 207;
        } else if let Some(server) = server
            && let Err(error) = take(&app, &ctx, server, name, tag).await
        {
            // As in Nova the event is taken; what comes of it is ours to repair.
            tracing::warn!(server = server.id, name, error = error.for_log(), "an event had no effect");
        }
    }
    let text = serde_json::to_vec(&json!({"events": shown}))
        .map_err(|e| Error::internal(format!("encoding an answer: {e}")))?;
    let status = if status == 200 {
        actix_web::http::StatusCode::OK
    } else {
        actix_web::http::StatusCode::MULTI_STATUS
    };
    Ok(HttpResponse::build(status).content_type("application/json").body(text))
}

/// The effect of an event. Volumes and accelerators there are none of, and power we see ourselves.
async fn take(app: &App, ctx: &Ctx, server: &Server, name: &str, tag: Option<&str>) -> Result<()> {
    match (name, tag) {
        ("network-changed", _) => interfaces::refresh(app, &server.id, Some(&ctx.request_id)).await,
        // The port is gone already; the guest's interface goes after it.
        ("network-vif-deleted", Some(port_id)) if server.ports.iter().any(|p| p.port_id == port_id) => {
            let asker = Asker { admin: true, ..Asker::of(ctx.caller()?, &ctx.request_id) };
            interface::detach(app, server.clone(), port_id, asker).await.map(|_| ())
        }
        _ => Ok(()),
    }
}
