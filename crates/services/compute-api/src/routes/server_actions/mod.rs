//! `POST /servers/{id}/action`: one table of actions, one module for those of a kind.

mod console;
mod deletion;
mod fixed_ips;
mod images;
mod inside;
mod live;
mod lock;
mod networks;
mod power;
mod rebuild;
mod rescue;
mod resize;
mod shelve;
mod state;

use super::servers::allowed;
use crate::{app::App, input, store::servers::Server};
use actix_web::{HttpRequest, HttpResponse, web};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route};
use ferrostack_model::{Error, ErrorKind, Feature, Result};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use std::sync::LazyLock;

/// A row of the table.
#[derive(Clone, Copy)]
struct ServerAction {
    /// The member of the body. Its schema is `servers.<name>`.
    name: &'static str,
    /// The policy rule; the handler asks about others itself.
    rule: &'static str,
    /// Microversions that have it.
    window: Feature,
    /// What it does, once the body fits its schema and the caller may.
    run: Handler,
}

type Handler = for<'a> fn(Asked<'a>) -> LocalBoxFuture<'a, Result<HttpResponse>>;

impl ServerAction {
    const fn new(name: &'static str, rule: &'static str, run: Handler) -> Self {
        Self { name, rule, window: Feature(1, None), run }
    }
}

/// What a handler gets.
struct Asked<'a> {
    app: &'a App,
    ctx: &'a Ctx,
    /// The request itself, for links.
    req: &'a HttpRequest,
    /// The server, which the caller may do this to.
    server: Server,
    /// The value of the body's only member.
    wish: Value,
}

/// Every action.
static ACTIONS: LazyLock<Vec<ServerAction>> = LazyLock::new(|| {
    [
        power::ACTIONS,
        rebuild::ACTIONS,
        resize::ACTIONS,
        shelve::ACTIONS,
        state::ACTIONS,
        images::ACTIONS,
        live::ACTIONS,
        console::ACTIONS,
        networks::ACTIONS,
        deletion::ACTIONS,
        inside::ACTIONS,
        lock::ACTIONS,
        rescue::ACTIONS,
        fixed_ips::ACTIONS,
    ]
    .concat()
});

static RULES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut rules: Vec<_> = ACTIONS.iter().map(|action| action.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
});

/// Name and microversions of every action.
pub fn names() -> Vec<(&'static str, Feature)> {
    ACTIONS.iter().map(|action| (action.name, action.window)).collect()
}

/// The row.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/v2.1/servers/{id}/action", || web::route().to(act))
            .policy(&RULES)
            .success(202)
            .summary(
                "Does something to a server: starts, stops or reboots it, makes images of it, and the like",
            ),
    ]
}

async fn act(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    id: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let name = match body.as_object() {
        Some(map) if map.len() == 1 => map.keys().next().cloned().unwrap_or_default(),
        _ => return Err(Error::bad_request("Malformed request body").into()),
    };
    if name == "resetNetwork" {
        return Err(gone().into());
    }
    let Some(action) = ACTIONS.iter().find(|action| action.name == name) else {
        let short: String = name.chars().take(255).collect();
        return Err(Error::bad_request(format!("There is no such action: {short}")).into());
    };
    if !ctx.version.has(action.window) {
        return Err(Error::not_found("The resource could not be found.").into());
    }
    let mut body = input::body(&ctx, &format!("servers.{name}"), body)?;
    let server = allowed(&app, &ctx, &id, action.rule).await?;
    let wish = body[&name].take();
    Ok((action.run)(Asked { app: &app, ctx: &ctx, req: &req, server, wish }).await?)
}

/// Of an action that Nova has removed, at every microversion.
fn gone() -> Error {
    Error::new(ErrorKind::Gone, "This resource is no longer available.  No forwarding address is given.")
}

/// The answer of most actions.
fn accepted() -> HttpResponse {
    HttpResponse::Accepted().content_type("application/json").finish()
}
