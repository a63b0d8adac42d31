//! `os-interface`: the interfaces of a server, attached and detached.

use super::servers::allowed;
use crate::{
    action,
    app::App,
    create::{Wanted, interface_network},
    input,
    jobs::{interface, wait},
    network::Port,
    store::{
        instance_actions::Asker,
        servers::{NicRequest, Server},
    },
};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json};
use ferrostack_jobs::State;
use ferrostack_model::{Error, ErrorKind, Result, action::Action, microversion::feature};
use serde_json::{Value, json};

const LIST: &str = "os_compute_api:os-attach-interfaces:list";
const SHOW: &str = "os_compute_api:os-attach-interfaces:show";
const CREATE: &str = "os_compute_api:os-attach-interfaces:create";
const DELETE: &str = "os_compute_api:os-attach-interfaces:delete";

/// The rows.
pub fn routes() -> Vec<Route> {
    const ALL: &str = "/v2.1/servers/{id}/os-interface";
    const ONE: &str = "/v2.1/servers/{id}/os-interface/{port_id}";
    vec![
        Route::get(ALL, || web::route().to(index)).policy(&[LIST]).summary("Lists a server's interfaces"),
        Route::post(ALL, || web::route().to(create))
            .policy(&[CREATE])
            .summary("Attaches an interface to a server"),
        Route::get(ONE, || web::route().to(show)).policy(&[SHOW]).summary("Shows a server's interface"),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&[DELETE])
            .success(202)
            .summary("Detaches an interface from a server"),
    ]
}

fn missing(port_id: &str) -> Error {
    let short: String = port_id.chars().take(255).collect();
    Error::not_found(format!("Port id {short} could not be found."))
}

/// The device tag of a port: interfaces are bound in the order in which they were asked for.
fn tag<'a>(server: &'a Server, port_id: &str) -> Option<&'a str> {
    let at = server.ports.iter().position(|p| p.port_id == port_id)?;
    server.nics.get(at)?.tag.as_deref()
}

fn view(ctx: &Ctx, server: &Server, port: &Port) -> Value {
    let mut body = json!({
        "net_id": port.network_id,
        "port_id": port.id,
        "mac_addr": port.mac_address,
        "port_state": if port.status.is_empty() { "DOWN" } else { &port.status },
        "fixed_ips": port.fixed_ips,
    });
    if ctx.version.has(feature::ATTACHMENT_TAG_SHOWN) {
        body["tag"] = json!(tag(server, &port.id));
    }
    body
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "attach_interfaces.index?", req.query_string())?;
    let server = allowed(&app, &ctx, &id, LIST).await?;
    let mut ports = if app.network.is_there().await? {
        app.network.ports_of(&server.id, Some(&ctx.request_id)).await?
    } else {
        Vec::new()
    };
    let place = |p: &Port| server.ports.iter().position(|known| known.port_id == p.id).unwrap_or(usize::MAX);
    ports.sort_by_key(place);
    let all: Vec<Value> = ports.iter().map(|port| view(&ctx, &server, port)).collect();
    json(&json!({"interfaceAttachments": all}))
}

/// The port of the server's that `port_id` names.
async fn port_of(app: &App, ctx: &Ctx, server: &Server, port_id: &str) -> Result<Port> {
    let found = app.network.port(port_id, Some(&ctx.request_id)).await;
    let port = found.map_err(|e| if e.kind == ErrorKind::NotFound { missing(port_id) } else { e })?;
    if port.device_id != server.id {
        let text = format!("Instance {} does not have a port with id {}", server.id, port.id);
        return Err(Error::not_found(text));
    }
    Ok(port)
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "attach_interfaces.show?", req.query_string())?;
    let (id, port_id) = path.into_inner();
    let server = allowed(&app, &ctx, &id, SHOW).await?;
    let port = port_of(&app, &ctx, &server, &port_id).await?;
    json(&json!({"interfaceAttachment": view(&ctx, &server, &port)}))
}

/// The wish of a body that fits the schema; no body at all is one for the only network.
fn wish(body: &Value) -> Result<(Wanted, Option<String>)> {
    let asked = &body["interfaceAttachment"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let wanted = Wanted {
        network: text(&asked["net_id"]),
        port: text(&asked["port_id"]),
        fixed_ip: text(&asked["fixed_ips"][0]["ip_address"]),
    };
    if wanted.network.is_some() && wanted.port.is_some() {
        return Err(Error::bad_request("Must not input both network_id and port_id"));
    }
    if wanted.fixed_ip.is_some() && wanted.network.is_none() {
        return Err(Error::bad_request("Must input network_id when request IP address"));
    }
    Ok((wanted, text(&asked["tag"])))
}

async fn create(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    // No body at all is a wish as well.
    let body = input::body(&ctx, "attach_interfaces.create", if body.is_null() { json!({}) } else { body })?;
    let server = allowed(&app, &ctx, &id, CREATE).await?;
    let (wanted, tag) = wish(&body)?;
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    action::check(&server, Action::AttachInterface, asker.admin)?;
    let found = interface_network(&app, &ctx, &server.project_id, wanted).await?;
    let nic = NicRequest { tag, ..found };
    let job =
        wait::begun(&app, &server, |server| interface::attach(&app, server, nic.clone(), asker)).await?;
    let job = wait::ended(&app, &job).await?;
    if job.state != State::Done {
        return Err(refusal(&server, job.failure).into());
    }
    let data: interface::Data = job.data()?;
    let server = allowed(&app, &ctx, &id, CREATE).await?;
    let port = port_of(&app, &ctx, &server, &data.port_id).await?;
    json(&json!({"interfaceAttachment": view(&ctx, &server, &port)}))
}

/// What the network service refused is said; what failed on the host is not for everybody.
fn refusal(server: &Server, failure: Option<Error>) -> Error {
    match failure {
        Some(error)
            if matches!(
                error.kind,
                ErrorKind::BadRequest | ErrorKind::Forbidden | ErrorKind::Conflict | ErrorKind::NotFound
            ) =>
        {
            error
        }
        Some(error) if error.kind == ErrorKind::OverLimit => Error::forbidden(error.public),
        other => {
            let private = other.map(|e| e.for_log()).unwrap_or_default();
            let text = format!("Failed to attach network adapter device to {}", server.id);
            Error::new(ErrorKind::Internal, text).with_internal(private)
        }
    }
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (id, port_id) = path.into_inner();
    let server = allowed(&app, &ctx, &id, DELETE).await?;
    let asker = Asker::of(ctx.caller()?, &ctx.request_id);
    action::check(&server, Action::DetachInterface, asker.admin)?;
    if !server.ports.iter().any(|p| p.port_id == port_id) {
        return Err(missing(&port_id).into());
    }
    wait::begun(&app, &server, |server| interface::detach(&app, server, &port_id, asker)).await?;
    Ok(HttpResponse::Accepted().content_type("application/json").finish())
}
