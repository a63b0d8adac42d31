//! Tasks: what became of imports, and imports that make their image themselves.

use super::{images, import, load};
use crate::{
    app::App,
    jobs::import::{self as job, Data, Method},
    store::{
        self,
        task::{Query, SortKey},
    },
    task::{self, Task},
    view,
};
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route, Schema,
    actix_web::{
        HttpRequest, HttpResponse,
        http::header::{ALLOW, LOCATION},
        web,
    },
    json, query_pairs,
};
use ferrostack_jobs::Enqueue;
use ferrostack_model::{Error, ErrorKind, Result, id};
use serde_json::{Value, json as value};
use std::sync::LazyLock;

/// What a task looks like.
const SCHEMA: &str = include_str!("../../schemas/task.json");

#[allow(clippy::expect_used)] // start-up: a fixed text, and a test compiles it
static CHECK: LazyLock<Schema> = LazyLock::new(|| Schema::compile(SCHEMA).expect("task schema"));

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/images/{image_id}/tasks", || web::get().to(of_image))
            .policy(&["get_image"])
            .summary("Lists the tasks of an image."),
        Route::get("/v2/tasks", || web::get().to(list))
            .policy(&["tasks_api_access", "get_tasks"])
            .summary("Lists the tasks of the project, of all for administrators."),
        Route::post("/v2/tasks", || web::post().to(create))
            .policy(&["tasks_api_access", "add_task", "add_image"])
            .success(201)
            .summary("Makes an image and imports its data from an address."),
        Route::get("/v2/tasks/{task_id}", || web::get().to(show))
            .policy(&["tasks_api_access", "get_task"])
            .summary("Shows a task."),
        Route::delete("/v2/tasks/{task_id}", || web::delete().to(delete))
            .policy(&["tasks_api_access"])
            .success(405)
            .summary("Tasks are not deleted; they expire."),
    ]
}

async fn of_image(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    json(&view::task::of_image(&store::task::of_image(&app.db, &seen.image.id).await?))
}

fn no_task(id: &str) -> Error {
    let short = crate::text::short(id);
    Error::not_found(format!("No task found with ID {short}"))
}

/// A task that the caller may see: of its project, or any for administrators.
async fn find(app: &App, ctx: &Ctx, id: &str) -> Result<Task> {
    if !id::is_uuid_like(id) {
        return Err(no_task(id));
    }
    let task = store::task::get(&app.db, &id.to_ascii_lowercase()).await?;
    let caller = ctx.caller()?;
    let own = |task: &Task| !task.owner.is_empty() && task.owner == caller.project_id();
    task.filter(|task| caller.is_admin() || own(task)).ok_or_else(|| no_task(id))
}

async fn show(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    ctx.enforce("tasks_api_access", &[])?;
    ctx.enforce("get_task", &[])?;
    json(&view::task::task(&find(&app, &ctx, &path).await?))
}

/// As in Glance: whoever asks, and whether there is such a task or not.
async fn delete(ctx: Ctx) -> ApiResult {
    ctx.enforce("tasks_api_access", &[])?;
    let text = "This operation is currently not permitted on Glance Tasks. They are auto deleted after reaching the \
                time based on their expires_at property.";
    let mut answer = HttpResponse::MethodNotAllowed().insert_header((ALLOW, "GET")).finish();
    answer.extensions_mut().insert(Error::new(ErrorKind::MethodNotAllowed, text));
    Ok(answer)
}

fn query(pairs: &[(String, String)]) -> Result<Query> {
    let get = |name: &str| pairs.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    let bad = |what: &str, value: &str| {
        let short: String = value.chars().filter(|c| !c.is_control()).take(80).collect();
        Error::bad_request(format!("Invalid {what}: {short}"))
    };
    let limit = match get("limit") {
        Some(text) => crate::query::limit(text)?,
        None => crate::query::DEFAULT_LIMIT,
    };
    if let Some(status) = get("status").filter(|s| !s.is_empty())
        && ![task::PENDING, task::PROCESSING, task::SUCCESS, task::FAILURE].contains(&status)
    {
        return Err(bad("status value", status));
    }
    if let Some(kind) = get("type").filter(|t| !t.is_empty())
        && ![task::IMPORT, task::API_IMPORT].contains(&kind)
    {
        return Err(bad("type value", kind));
    }
    let direction = get("sort_dir").unwrap_or("desc");
    if !["asc", "desc"].contains(&direction) {
        return Err(bad("sort direction", direction));
    }
    let key = get("sort_key").unwrap_or("created_at");
    let given = |name: &str| get(name).filter(|v| !v.is_empty()).map(str::to_owned);
    if given("owner").is_some_and(|owner| owner.contains('\0')) {
        return Err(Error::bad_request("Query parameters must not contain NUL."));
    }
    Ok(Query {
        kind: given("type"),
        status: given("status"),
        owner: given("owner"),
        sort: SortKey::parse(key).ok_or_else(|| bad("sort key", key))?,
        ascending: direction == "asc",
        limit,
    })
}

async fn list(app: web::Data<App>, ctx: Ctx, req: HttpRequest) -> ApiResult {
    ctx.enforce("tasks_api_access", &[])?;
    ctx.enforce("get_tasks", &[])?;
    let pairs = query_pairs(req.query_string());
    let mut query = query(&pairs)?;
    let caller = ctx.caller()?;
    if !caller.is_admin() {
        // Somebody else's project has no tasks for this caller.
        let own = caller.project_id().to_owned();
        if own.is_empty() || query.owner.as_ref().is_some_and(|owner| *owner != own) {
            return json(&view::task::tasks(&[], &pairs, false));
        }
        query.owner = Some(own);
    }
    let marker = pairs.iter().rev().find(|(name, _)| name == "marker").map(|(_, id)| id.as_str());
    let marker = match marker {
        Some(id) if !id::is_uuid_like(id) => return Err(Error::bad_request("Invalid marker format").into()),
        Some(id) => Some(find(&app, &ctx, id).await.map_err(|e| match e.kind {
            ErrorKind::NotFound => Error::bad_request(e.public),
            _ => e,
        })?),
        None => None,
    };
    if query.limit == 0 {
        return json(&view::task::tasks(&[], &pairs, false));
    }
    let tasks = store::task::list(&app.db, &query, marker.as_ref()).await?;
    let full = i64::try_from(tasks.len()).is_ok_and(|n| n == query.limit);
    json(&view::task::tasks(&tasks, &pairs, full))
}

async fn create(app: web::Data<App>, ctx: Ctx, body: JsonBody) -> ApiResult {
    ctx.enforce("tasks_api_access", &[])?;
    ctx.enforce("add_task", &[])?;
    let bad = |text: String| Error::bad_request(text);
    for name in ["type", "input"] {
        if body.0.get(name).is_none() {
            return Err(bad(format!("Task '{name}' is required")).into());
        }
    }
    if let Some(complaint) = CHECK.complaints(&body.0).into_iter().next() {
        let detail = complaint.split_once(": ").map_or(complaint.as_str(), |(_, d)| d);
        return Err(bad(format!("Provided object does not match schema 'task': {detail}")).into());
    }
    if body.0["type"] != task::IMPORT {
        return Err(bad("Only tasks of the type import are made here.".into()).into());
    }
    let input = &body.0["input"];
    for name in ["import_from", "import_from_format", "image_properties"] {
        if input.get(name).is_none() {
            return Err(bad(format!("Input does not contain '{name}' field")).into());
        }
    }
    // OSSN-0105: the same filter as for web-download.
    let uri = import::address(&app, input["import_from"].as_str())?;
    let Value::Object(given) = &input["image_properties"] else {
        return Err(bad("'image_properties' must be an object".into()).into());
    };
    let mut properties = given.clone();
    if properties.is_empty() {
        // As Glance fills them in.
        properties.insert("disk_format".into(), value!("qcow2"));
        properties.insert("container_format".into(), value!("bare"));
    }
    let format = input["import_from_format"].as_str().unwrap_or("");
    let declared = properties.entry("disk_format").or_insert_with(|| value!(format)).clone();
    properties.entry("container_format").or_insert_with(|| value!("bare"));
    if declared != format {
        return Err(bad("'import_from_format' must be the image's disk_format".into()).into());
    }
    let image = images::build(&app, &ctx, &properties)?;
    let caller = ctx.caller()?;
    let task = import::new_task(task::IMPORT, caller, &ctx, &image.id, input);
    let stores = vec![app.stores.default().id.clone()];
    let mut data = Data::new(&task.id, Method::WebDownload { uri }, stores, true);
    (data.inject, data.own_image) = (import::injects(&app, caller), true);
    let job = Enqueue {
        kind: job::KIND,
        first_step: job::FIRST,
        target: &image.id,
        data: serde_json::to_value(&data).map_err(|e| Error::internal(format!("job data: {e}")))?,
        request_id: Some(&ctx.request_id),
    };
    store::import::begin_new(&app.db, &image, &task, &[], job, &app.quota).await?;
    app.poke();
    // It is under way already, but its answer says what Glance's says.
    let shown = Task { status: task::PENDING.into(), ..task };
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/v2/tasks/{}", shown.id)))
        .json(view::task::task(&shown)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_compiles() {
        assert!(CHECK.complaints(&value!({"type": "import", "input": {}})).is_empty());
        assert!(!CHECK.complaints(&value!({"type": "export", "input": {}})).is_empty());
        assert!(!CHECK.complaints(&value!({"type": "import", "input": "x"})).is_empty());
    }
}
