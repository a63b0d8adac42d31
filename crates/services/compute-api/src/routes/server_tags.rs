//! A server's tags.

use super::servers::allowed;
use crate::{
    app::App,
    input,
    store::{
        server_tags as store,
        servers::{self, Server},
    },
    view::links::Links,
};
use actix_web::{HttpRequest, HttpResponse, http::header, web};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, no_content};
use ferrostack_model::{Error, Result, microversion::feature, server::VmState};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

const INDEX: &str = "os_compute_api:os-server-tags:index";
const SHOW: &str = "os_compute_api:os-server-tags:show";
const UPDATE: &str = "os_compute_api:os-server-tags:update";
const UPDATE_ALL: &str = "os_compute_api:os-server-tags:update_all";
const DELETE: &str = "os_compute_api:os-server-tags:delete";
const DELETE_ALL: &str = "os_compute_api:os-server-tags:delete_all";

/// Most tags of a server.
pub const MAX_TAGS: usize = 50;
/// Longest tag, characters.
const MAX_TAG: usize = 60;

/// The rows.
pub fn routes() -> Vec<Route> {
    const ALL: &str = "/v2.1/servers/{id}/tags";
    const ONE: &str = "/v2.1/servers/{id}/tags/{tag}";
    let rows = [
        Route::get(ALL, || web::route().to(index)).policy(&[INDEX]).summary("Lists a server's tags"),
        Route::put(ALL, || web::route().to(update_all))
            .policy(&[UPDATE_ALL])
            .summary("Replaces all tags of a server"),
        Route::delete(ALL, || web::route().to(delete_all))
            .policy(&[DELETE_ALL])
            .success(204)
            .summary("Removes all tags of a server"),
        Route::get(ONE, || web::route().to(show))
            .policy(&[SHOW])
            .success(204)
            .summary("Says whether a server has a tag"),
        Route::put(ONE, || web::route().to(update))
            .policy(&[UPDATE])
            .success(201)
            .summary("Gives a server a tag"),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&[DELETE])
            .success(204)
            .summary("Takes a tag from a server"),
    ];
    rows.into_iter().map(|row| row.window(feature::SERVER_TAGS)).collect()
}

fn missing(server: &Server, tag: &str) -> Error {
    let tag: String = tag.chars().take(255).collect();
    Error::not_found(format!("Server {} has no tag '{tag}'", server.id))
}

/// Why `tag` of a path is none, in Nova's words.
fn check(tag: &str) -> Result<()> {
    let why = if tag.chars().count() > MAX_TAG {
        "is too long"
    } else if tag.contains([',', '/']) {
        "does not match '^[^,/]*$'"
    } else {
        return Ok(());
    };
    let shown: String = tag.chars().take(255).collect();
    Err(Error::bad_request(format!(
        "Tag '{shown}' is invalid. It must be a non empty string without characters '/' and ','. Validation error message: '{shown}' {why}"
    )))
}

/// Changes the tags by `edit`, which sees what is stored; again if somebody else was faster.
async fn changed(
    app: &App,
    mut server: Server,
    method: &str,
    edit: impl Fn(&Server) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    loop {
        let state = server.vm_state;
        if !matches!(state, VmState::Active | VmState::Paused | VmState::Suspended | VmState::Stopped) {
            let state = state.as_str();
            return Err(Error::conflict(format!(
                "Cannot '{method}' instance {} while it is in vm_state {state}",
                server.id
            )));
        }
        let tags = edit(&server)?;
        if tags == server.tags
            || store::set(&app.db, &server.id, server.generation, &tags).await? == Change::Updated
        {
            return Ok(tags);
        }
        server = servers::get(&app.db, &server.id).await?;
    }
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "server_tags.index?", req.query_string())?;
    let server = allowed(&app, &ctx, &id, INDEX).await?;
    json(&json!({"tags": server.tags}))
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "server_tags.show?", req.query_string())?;
    let (id, tag) = path.into_inner();
    let server = allowed(&app, &ctx, &id, SHOW).await?;
    if !server.tags.contains(&tag) {
        return Err(missing(&server, &tag).into());
    }
    no_content()
}

async fn update_all(
    app: web::Data<App>,
    ctx: Ctx,
    id: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "server_tags.update_all", body)?;
    let server = allowed(&app, &ctx, &id, UPDATE_ALL).await?;
    let mut wanted: Vec<String> = Vec::new();
    for tag in body["tags"].as_array().map(Vec::as_slice).unwrap_or_default() {
        if let Some(tag) = tag.as_str().filter(|t| !wanted.iter().any(|w| w == t)) {
            wanted.push(tag.to_owned());
        }
    }
    let tags = changed(&app, server, "update tags", |_| Ok(wanted.clone())).await?;
    json(&json!({"tags": tags}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    input::body(&ctx, "server_tags.update", body)?;
    let (id, tag) = path.into_inner();
    let server = allowed(&app, &ctx, &id, UPDATE).await?;
    check(&tag)?;
    let had = server.tags.contains(&tag);
    changed(&app, server, "update tag", |server| {
        let mut tags = server.tags.clone();
        if tags.len() >= MAX_TAGS {
            let text = format!("The number of tags exceeded the per-server limit {MAX_TAGS}");
            return Err(Error::bad_request(text));
        }
        if !tags.contains(&tag) {
            tags.push(tag.clone());
        }
        Ok(tags)
    })
    .await?;
    if had {
        return no_content();
    }
    let tag = utf8_percent_encode(&tag, NON_ALPHANUMERIC);
    let location = Links::of(&req, &ctx).url(&format!("servers/{id}/tags/{tag}"));
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .content_type("application/json")
        .finish())
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (id, tag) = path.into_inner();
    let server = allowed(&app, &ctx, &id, DELETE).await?;
    changed(&app, server, "delete tag", |server| {
        let mut tags = server.tags.clone();
        let before = tags.len();
        tags.retain(|t| *t != tag);
        if tags.len() == before { Err(missing(server, &tag)) } else { Ok(tags) }
    })
    .await?;
    no_content()
}

async fn delete_all(app: web::Data<App>, ctx: Ctx, id: web::Path<String>) -> ApiResult {
    let server = allowed(&app, &ctx, &id, DELETE_ALL).await?;
    changed(&app, server, "delete tags", |_| Ok(Vec::new())).await?;
    no_content()
}
