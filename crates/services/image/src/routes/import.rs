//! Import: staged data becomes the image's.

use super::load;
use crate::{
    app::App,
    image::Status,
    import::check_staged,
    store::upload,
    task::{self, Task},
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpResponse, web},
};
use ferrostack_model::{Error, Timestamp, id};
use serde_json::json;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/v2/images/{image_id}/import", || web::post().to(import))
            .policy(&["modify_image"])
            .success(202)
            .summary("Begins to import staged data."),
    ]
}

async fn import(app: web::Data<App>, ctx: Ctx, path: web::Path<String>, body: JsonBody) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    seen.enforce(&ctx, "modify_image")?;
    let method = body.0.pointer("/method/name").and_then(|n| n.as_str());
    let method = method
        .ok_or_else(|| Error::bad_request("Import request requires a 'method' field with a 'name'."))?;
    if !super::info::IMPORT_METHODS.contains(&method) {
        let short: String = method.chars().take(80).collect();
        return Err(Error::bad_request(format!("Unknown import method name '{short}'.")).into());
    }
    let image = seen.image;
    if image.disk_format.is_none() || image.container_format.is_none() {
        return Err(
            Error::bad_request("'disk_format' and 'container_format' needs to be set before import").into()
        );
    }
    let token = id::hex();
    let caller = ctx.caller()?;
    let now = Timestamp::now();
    let task = Task {
        id: id::uuid(),
        image_id: image.id.clone(),
        kind: task::IMPORT.into(),
        status: task::PROCESSING.into(),
        owner: caller.project_id().to_owned(),
        user_id: caller.user_id().to_owned(),
        request_id: ctx.request_id.clone(),
        input: json!({"image_id": image.id, "import_req": {"method": {"name": method}}}).to_string(),
        message: String::new(),
        created_at: now,
        updated_at: now,
    };
    let staged = image.status == Status::Uploading
        && upload::begin_import(&app.db, &task, &token, app.lease()).await? == Change::Updated;
    if !staged {
        return Err(
            Error::conflict("Image needs to be staged before 'glance-direct' method can be used").into()
        );
    }
    let app = app.into_inner();
    // The record says that this is to be done: if this process dies, the reconciler takes it over.
    tokio::spawn(async move {
        if let Err(error) = check_staged(&app, &image.id, &token).await {
            tracing::warn!(image = image.id, error = error.for_log(), "import left to the reconciler");
            app.work.notify_one();
        }
    });
    Ok(HttpResponse::Accepted().finish())
}
