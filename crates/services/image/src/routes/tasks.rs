//! Tasks: what became of imports.

use super::load;
use crate::{app::App, store, view};
use ferrostack_http::{
    ApiResult, Ctx, Route,
    actix_web::{HttpRequest, web},
    json, query_pairs,
};
use ferrostack_model::{Error, Result};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/images/{image_id}/tasks", || web::get().to(of_image))
            .policy(&["get_image"])
            .summary("Lists the tasks of an image."),
        Route::get("/v2/tasks", || web::get().to(list))
            .policy(&["tasks_api_access", "get_tasks"])
            .summary("Lists all tasks."),
        Route::get("/v2/tasks/{task_id}", || web::get().to(show))
            .policy(&["tasks_api_access", "get_task"])
            .summary("Shows a task."),
    ]
}

async fn of_image(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    json(&view::task::of_image(&store::task::of_image(&app.db, &seen.image.id).await?))
}

fn no_task(id: &str) -> Error {
    let short: String = id.chars().take(80).collect();
    Error::not_found(format!("Could not find task {short}"))
}

async fn find(app: &App, id: &str) -> Result<crate::task::Task> {
    if !ferrostack_model::id::is_uuid_like(id) {
        return Err(no_task(id));
    }
    store::task::get(&app.db, id).await?.ok_or_else(|| no_task(id))
}

async fn show(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    ctx.enforce("tasks_api_access", &[])?;
    ctx.enforce("get_task", &[])?;
    json(&view::task::task(&find(&app, &path).await?))
}

async fn list(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("tasks_api_access", &[])?;
    ctx.enforce("get_tasks", &[])?;
    let pairs = query_pairs(req.query_string());
    let get = |name: &str| pairs.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    let limit = match get("limit") {
        Some(text) => crate::query::limit(text)?,
        None => crate::query::DEFAULT_LIMIT,
    };
    let marker = match get("marker") {
        Some(id) => Some(find(&app, id).await.map_err(|e| Error::bad_request(e.public))?),
        None => None,
    };
    let (kind, status) = (get("type"), get("status"));
    if [kind, status].into_iter().flatten().any(|v| v.contains('\0')) {
        return Err(Error::bad_request("Query parameters must not contain NUL.").into());
    }
    let tasks = store::task::list(&app.db, kind, status, marker.as_ref(), limit).await?;
    let full = limit > 0 && i64::try_from(tasks.len()).is_ok_and(|n| n == limit);
    let next = tasks.last().filter(|_| full).map(|last| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.iter().filter(|(name, _)| name != "marker"));
        query.append_pair("marker", &last.id).finish()
    });
    json(&view::task::tasks(&tasks, next))
}
