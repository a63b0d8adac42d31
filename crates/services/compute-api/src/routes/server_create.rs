//! `POST /servers`.

use crate::{app::App, create, input, view::links::Links};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, accepted};
use ferrostack_model::Error;
use serde_json::{Value, json};

const CREATE: &str = "os_compute_api:servers:create";
const ATTACH_NETWORK: &str = "os_compute_api:servers:create:attach_network";
const TRUSTED_CERTS: &str = "os_compute_api:servers:create:trusted_certs";

/// The row.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/v2.1/servers", || web::route().to(post))
            .policy(&[CREATE, ATTACH_NETWORK, TRUSTED_CERTS])
            .success(202)
            .summary("Creates one or more servers"),
    ]
}

async fn post(app: web::Data<App>, ctx: Ctx, req: HttpRequest, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "servers.create", body)?;
    let caller = ctx.caller()?;
    let target = [("project_id", caller.project_id()), ("user_id", caller.user_id())];
    ctx.enforce(CREATE, &target)?;
    if body["server"].get("networks").is_some() {
        ctx.enforce(ATTACH_NETWORK, &target)?;
    }
    if body["server"].get("trusted_image_certificates").is_some() {
        ctx.enforce(TRUSTED_CERTS, &target)?;
    }
    let made = create::servers(&app, &ctx, &body).await?;
    if made.return_reservation_id {
        return accepted(&json!({"reservation_id": made.reservation_id}));
    }
    let links = Links::of(&req, &ctx);
    let mut groups: Vec<Value> = made.security_groups.iter().map(|name| json!({"name": name})).collect();
    if groups.is_empty() {
        groups.push(json!({"name": "default"}));
    }
    let body = json!({"server": {
        "id": made.id,
        "links": links.item("servers", &made.id),
        "OS-DCF:diskConfig": made.disk_config,
        "security_groups": groups,
        "adminPass": made.admin_pass.0,
    }});
    let text = serde_json::to_vec(&body).map_err(|e| Error::internal(format!("encoding an answer: {e}")))?;
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, links.url(&format!("servers/{}", made.id))))
        .content_type("application/json")
        .body(text))
}
