//! A server's user metadata.

use super::servers::allowed;
use crate::{
    action,
    app::App,
    input,
    store::{
        quota,
        servers::{self, Server, change},
    },
};
use actix_web::{HttpRequest, web};
use ferrostack_db::{Change, db_error};
use ferrostack_http::{ApiResult, Ctx, JsonBody, Route, json, no_content};
use ferrostack_model::{Error, Result, action::Action};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const INDEX: &str = "os_compute_api:server-metadata:index";
const SHOW: &str = "os_compute_api:server-metadata:show";
const CREATE: &str = "os_compute_api:server-metadata:create";
const UPDATE: &str = "os_compute_api:server-metadata:update";
const UPDATE_ALL: &str = "os_compute_api:server-metadata:update_all";
const DELETE: &str = "os_compute_api:server-metadata:delete";

/// The rows.
pub fn routes() -> Vec<Route> {
    const ALL: &str = "/v2.1/servers/{id}/metadata";
    const ONE: &str = "/v2.1/servers/{id}/metadata/{key}";
    vec![
        Route::get(ALL, || web::route().to(index)).policy(&[INDEX]).summary("Lists a server's metadata"),
        Route::post(ALL, || web::route().to(create))
            .policy(&[CREATE])
            .summary("Adds or replaces metadata items"),
        Route::put(ALL, || web::route().to(update_all))
            .policy(&[UPDATE_ALL])
            .summary("Replaces all metadata of a server"),
        Route::get(ONE, || web::route().to(show)).policy(&[SHOW]).summary("Shows a metadata item"),
        Route::put(ONE, || web::route().to(update))
            .policy(&[UPDATE])
            .summary("Adds or replaces a metadata item"),
        Route::delete(ONE, || web::route().to(delete))
            .policy(&[DELETE])
            .success(204)
            .summary("Deletes a metadata item"),
    ]
}

type Items = BTreeMap<String, String>;

fn missing() -> Error {
    Error::not_found("Metadata item was not found")
}

fn items(value: &Value) -> Items {
    let Some(map) = value.as_object() else { return Items::new() };
    map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// Changes the metadata by `edit`, which sees what is stored; again if somebody else was faster.
async fn changed(
    app: &App,
    ctx: &Ctx,
    mut server: Server,
    action: Action,
    edit: impl Fn(&mut Items) -> Result<()>,
) -> Result<Items> {
    loop {
        action::check(&server, action, ctx.caller()?.is_admin())?;
        let mut metadata = server.metadata.clone();
        edit(&mut metadata)?;
        let limits = quota::limits(&app.db, &server.project_id, &app.settings.compute.quota).await?;
        let count = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
        if limits.metadata_items >= 0
            && count > limits.metadata_items
            && metadata.len() > server.metadata.len()
        {
            let text = format!("Maximum number of metadata items exceeds {}", limits.metadata_items);
            return Err(Error::forbidden(text));
        }
        let mut tx = app.db.begin_write().await?;
        let done = change::set_metadata(&mut tx, &server.id, server.generation, &metadata).await?;
        tx.commit().await.map_err(db_error)?;
        if done == Change::Updated {
            return Ok(metadata);
        }
        server = servers::get(&app.db, &server.id).await?;
    }
}

async fn index(app: web::Data<App>, ctx: Ctx, req: HttpRequest, id: web::Path<String>) -> ApiResult {
    input::query(&ctx, "server_metadata.index?", req.query_string())?;
    let server = allowed(&app, &ctx, &id, INDEX).await?;
    json(&json!({"metadata": server.metadata}))
}

async fn show(
    app: web::Data<App>,
    ctx: Ctx,
    req: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult {
    input::query(&ctx, "server_metadata.show?", req.query_string())?;
    let (id, key) = path.into_inner();
    let server = allowed(&app, &ctx, &id, SHOW).await?;
    let value = server.metadata.get(&key).ok_or_else(missing)?;
    json(&json!({"meta": {key: value}}))
}

async fn create(app: web::Data<App>, ctx: Ctx, id: web::Path<String>, JsonBody(body): JsonBody) -> ApiResult {
    let body = input::body(&ctx, "server_metadata.create", body)?;
    let server = allowed(&app, &ctx, &id, CREATE).await?;
    let new = items(&body["metadata"]);
    let metadata = changed(&app, &ctx, server, Action::CreateMetadata, |all| {
        all.extend(new.clone());
        Ok(())
    })
    .await?;
    json(&json!({"metadata": metadata}))
}

async fn update_all(
    app: web::Data<App>,
    ctx: Ctx,
    id: web::Path<String>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let body = input::body(&ctx, "server_metadata.update_all", body)?;
    let server = allowed(&app, &ctx, &id, UPDATE_ALL).await?;
    let new = items(&body["metadata"]);
    let metadata = changed(&app, &ctx, server, Action::UpdateMetadata, |all| {
        all.clone_from(&new);
        Ok(())
    })
    .await?;
    json(&json!({"metadata": metadata}))
}

async fn update(
    app: web::Data<App>,
    ctx: Ctx,
    path: web::Path<(String, String)>,
    JsonBody(body): JsonBody,
) -> ApiResult {
    let (id, key) = path.into_inner();
    let body = input::body(&ctx, "server_metadata.update", body)?;
    let server = allowed(&app, &ctx, &id, UPDATE).await?;
    let new = items(&body["meta"]);
    let Some(value) = new.get(&key).cloned() else {
        return Err(Error::bad_request("Request body and URI mismatch").into());
    };
    changed(&app, &ctx, server, Action::UpdateMetadata, |all| {
        all.insert(key.clone(), value.clone());
        Ok(())
    })
    .await?;
    json(&json!({"meta": new}))
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (id, key) = path.into_inner();
    let server = allowed(&app, &ctx, &id, DELETE).await?;
    changed(&app, &ctx, server, Action::DeleteMetadata, |all| {
        all.remove(&key).map(|_| ()).ok_or_else(missing)
    })
    .await?;
    no_content()
}
