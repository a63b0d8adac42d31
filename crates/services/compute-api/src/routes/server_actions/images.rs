//! The actions `createImage` and `createBackup`.

use super::{Asked, ServerAction};
use crate::{
    jobs::snapshot::Rotation,
    snapshot::{self, Wish},
    store::quota,
};
use actix_web::HttpResponse;
use ferrostack_model::{Error, Result, microversion::feature};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const ACTIONS: &[ServerAction] = &[
    ServerAction::new("createImage", "os_compute_api:servers:create_image", |asked| {
        Box::pin(create_image(asked))
    }),
    ServerAction::new("createBackup", "os_compute_api:os-create-backup", |asked| {
        Box::pin(create_backup(asked))
    }),
];

async fn create_image(asked: Asked<'_>) -> Result<HttpResponse> {
    let wish = Wish { name: name(&asked.wish), metadata: metadata(&asked.wish), rotation: None };
    begin(asked, &wish).await
}

async fn create_backup(asked: Asked<'_>) -> Result<HttpResponse> {
    let rotation = Rotation {
        backup_type: asked.wish["backup_type"].as_str().unwrap_or_default().to_owned(),
        keep: keep(&asked.wish["rotation"])?,
    };
    let wish = Wish { name: name(&asked.wish), metadata: metadata(&asked.wish), rotation: Some(rotation) };
    begin(asked, &wish).await
}

/// Digits of any number: what is more than can be is all of them.
fn keep(value: &Value) -> Result<u64> {
    match value.as_str() {
        Some(digits) => {
            Ok(digits.trim_start_matches('0').parse().unwrap_or(match digits.trim_start_matches('0') {
                "" => 0,
                _ => u64::MAX,
            }))
        }
        None => value
            .as_u64()
            .or_else(|| value.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64))
            .ok_or_else(|| Error::bad_request("An integer is needed.")),
    }
}

fn name(wish: &Value) -> String {
    wish["name"].as_str().unwrap_or_default().trim().to_owned()
}

fn metadata(wish: &Value) -> BTreeMap<String, String> {
    let all = wish["metadata"].as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

async fn begin(asked: Asked<'_>, wish: &Wish) -> Result<HttpResponse> {
    let Asked { app, ctx, server, .. } = asked;
    let caller = ctx.caller()?;
    if !ctx.version.has(feature::NO_IMAGE_META_PROXY) && !wish.metadata.is_empty() {
        let limits = quota::limits(&app.db, caller.project_id(), &app.settings.compute.quota).await?;
        let count = i64::try_from(wish.metadata.len()).unwrap_or(i64::MAX);
        if limits.metadata_items >= 0 && count > limits.metadata_items {
            return Err(Error::forbidden("Image metadata limit exceeded"));
        }
    }
    snapshot::check_metadata(&wish.metadata)?;
    let image_id = snapshot::begin(app, caller, server, wish, &ctx.request_id).await?;
    if ctx.version.has(feature::CREATE_IMAGE_BODY) {
        return Ok(HttpResponse::Accepted().json(json!({"image_id": image_id})));
    }
    let mut answer = HttpResponse::Accepted();
    answer.content_type("application/json");
    // As Nova: of a backup that is not kept there is no place to tell.
    if wish.rotation.as_ref().is_none_or(|r| r.keep > 0) {
        answer.insert_header(("Location", app.image.url_of(&image_id).await?));
    }
    Ok(answer.finish())
}
