//! The location API: adding data that lies elsewhere to a queued image, and asking where data lies.

use super::{import::new_task, load, stores::places};
use crate::{
    app::App,
    image::Status,
    jobs::location::{self, Data},
    locations::{Validation, open, store_of},
    store::{location::Location, place},
    task,
};
use ferrostack_http::{
    ApiResult, Ctx, JsonBody, Route,
    actix_web::{HttpResponse, web},
    json,
};
use ferrostack_jobs::Enqueue;
use ferrostack_model::{Error, Result};
use serde_json::{Value, json as value};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/v2/images/{image_id}/locations", || web::post().to(add))
            .policy(&["add_image_location"])
            .success(202)
            .summary("Makes data elsewhere the data of a queued image."),
        Route::get("/v2/images/{image_id}/locations", || web::get().to(list))
            .policy(&["fetch_image_location"])
            .summary("Lists where the data of an image lies."),
    ]
}

/// The body: the URL, and what is said of its data.
fn asked(body: &Value) -> Result<(String, Option<Validation>)> {
    let bad = |why: &str| Error::bad_request(why);
    let map = body.as_object().ok_or_else(|| bad("Request body must be a JSON object."))?;
    if map.keys().any(|name| name != "url" && name != "validation_data") {
        return Err(bad("Only url and validation_data can be given."));
    }
    let url = map.get("url").and_then(Value::as_str).ok_or_else(|| bad("'url' is a required property"))?;
    let validation = match map.get("validation_data") {
        None | Some(Value::Null) => None,
        // What glanceclient sends if nobody says anything.
        Some(Value::Object(map)) if map.is_empty() => None,
        Some(data) => Some(Validation::parse(data)?),
    };
    match validation.as_ref().and_then(Validation::complaint) {
        Some(why) => Err(bad(&why)),
        None => Ok((url.to_owned(), validation)),
    }
}

async fn add(app: web::Data<App>, ctx: Ctx, path: web::Path<String>, body: JsonBody) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    seen.enforce(&ctx, "add_image_location")?;
    let (url, validation) = asked(&body.0)?;
    let image = &seen.image;
    if image.status != Status::Queued {
        return Err(Error::conflict(format!(
            "It's not allowed to add locations if image status is {}.",
            image.status.as_str()
        ))
        .into());
    }
    let short: String = url.chars().filter(|c| !c.is_control()).take(255).collect();
    let store = store_of(&app, &url).map_err(|error| {
        let why = error.for_log();
        Error::bad_request(format!("URI for location does not pass filtering: {short}")).with_internal(why)
    })?;
    let size = open(store, &url).await?.size();
    let secure = app.settings.storage.do_secure_hash;
    let mut changed = image.clone();
    changed.size = Some(i64::try_from(size).unwrap_or(i64::MAX));
    changed.status = if secure && validation.is_some() { Status::Importing } else { Status::Active };
    match &validation {
        // What is not compared is taken for what it is said to be.
        Some(data) if !secure => {
            changed.checksum = data.checksum.clone();
            (changed.os_hash_algo, changed.os_hash_value) =
                (Some(data.algorithm.clone()), Some(data.value.clone()));
        }
        None if secure => changed.os_hash_algo = Some("sha512".into()),
        _ => {}
    }
    let place = Location::new(&image.id, &store.id, &url);
    let input = value!({"image_id": image.id, "loc_url": short});
    let task = new_task(task::LOCATION, ctx.caller()?, &ctx, &image.id, &input);
    let data = Data {
        task_id: task.id.clone(),
        location_id: place.id.clone(),
        store: store.id.clone(),
        url,
        algorithm: validation.as_ref().map_or("sha512", |v| &v.algorithm).to_owned(),
        expected: validation.map(|v| v.value),
    };
    let job = Enqueue {
        kind: location::KIND,
        first_step: location::FIRST,
        target: &image.id,
        data: serde_json::to_value(&data).map_err(|e| Error::internal(format!("job data: {e}")))?,
        request_id: Some(&ctx.request_id),
    };
    let job = secure.then_some(job);
    let limits = app.quota.of(image).await?;
    place::begin(&app.db, image, &changed, &place, &task, job, app.task_expiry(), limits.as_ref()).await?;
    app.poke();
    Ok(HttpResponse::Accepted().finish())
}

async fn list(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    let seen = load(&app, &ctx, &path).await?;
    seen.enforce(&ctx, "fetch_image_location")?;
    json(&Value::Array(places(&app, &seen.image)))
}
