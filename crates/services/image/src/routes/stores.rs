//! Stores: which there are, what records tell of them, and removing one copy of an image.

use super::load;
use crate::{
    app::App,
    image::{Image, Status},
    reconcile, store,
    store::location::Location,
    stores::Backend,
};
use ferrostack_db::Change;
use ferrostack_http::{
    ApiResult, Ctx, Route,
    actix_web::{HttpRequest, web},
    json, no_content,
};
use ferrostack_model::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json as value};
use std::sync::Arc;

/// How often a change is tried again when somebody else's came in between.
const ATTEMPTS: usize = 10;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/v2/info/stores", || web::get().to(list))
            .summary("Lists the stores, if there are several."),
        Route::get("/v2/info/stores/detail", || web::get().to(detail))
            .policy(&["stores_info_detail"])
            .summary("Lists the stores with what they are."),
        Route::delete("/v2/stores/{store_id}/{image_id}", || web::delete().to(delete))
            .policy(&["get_image_location", "delete_image_location"])
            .success(204)
            .summary("Removes the copy of an image that lies in a store."),
    ]
}

/// 404 if the settings name no stores.
fn all(app: &App) -> Result<Vec<Value>> {
    if !app.stores.named() {
        return Err(Error::not_found("Multi backend is not supported at this site."));
    }
    Ok(app.stores.iter().map(|store| describe(app, store)).collect())
}

fn describe(app: &App, store: &Backend) -> Value {
    let mut out = value!({"id": store.id});
    if !store.description.is_empty() {
        out["description"] = value!(store.description);
    }
    if store.id == app.stores.default().id {
        out["default"] = value!("true");
    }
    if store.kind.read_only() {
        out["read-only"] = value!("true");
    }
    out
}

async fn list(app: web::Data<App>) -> ApiResult {
    json(&value!({"stores": all(&app)?}))
}

async fn detail(app: web::Data<App>, ctx: Ctx) -> ApiResult {
    let mut stores = all(&app)?;
    ctx.enforce("stores_info_detail", &[])?;
    for (out, store) in stores.iter_mut().zip(app.stores.iter()) {
        out["type"] = value!(store.kind.as_str());
        out["weight"] = value!(store.weight);
        out["properties"] = store.properties();
    }
    json(&value!({"stores": stores}))
}

/// The store that a request names in `x-image-meta-store`, or the default. 400 for one that does not exist, 410 for
/// one that only can be read.
pub(super) fn chosen(app: &App, req: &HttpRequest) -> Result<Arc<Backend>> {
    let Some(header) = req.headers().get("x-image-meta-store").filter(|_| app.stores.named()) else {
        return Ok(app.stores.default().clone());
    };
    let id = header.to_str().unwrap_or("");
    let store = app.stores.get(id).ok_or_else(|| {
        let short = crate::text::short(id);
        Error::bad_request(format!("Store for identifier {short} not found"))
    })?;
    if store.kind.read_only() {
        return Err(Error::new(
            ErrorKind::Gone,
            "Error in store configuration. Adding images to store is disabled.",
        ));
    }
    Ok(store.clone())
}

/// What the record of `image` tells the caller about where the data is.
pub(super) fn whereabouts(app: &App, ctx: &Ctx, image: &Image) -> Map<String, Value> {
    let (stores, storage) = (&app.stores, &app.settings.storage);
    let mut out = Map::new();
    if !(stores.named() || storage.show_multiple_locations || storage.show_image_direct_url) {
        return out;
    }
    let project = ctx.caller().map(|c| c.project_id().to_owned()).unwrap_or_default();
    let may = ctx.may("get_image_location", &image.target(&project, false));
    let found = if may && image.status.has_data() { stores.order(&image.locations) } else { Vec::new() };
    if storage.show_multiple_locations {
        out.insert("locations".into(), if may { Value::Array(places(app, image)) } else { value!([]) });
    }
    if let (true, Some((location, store))) = (storage.show_image_direct_url, found.first()) {
        out.insert("direct_url".into(), value!(store.url(&location.name)));
    }
    if stores.named() && !found.is_empty() {
        let ids: Vec<_> = found.iter().map(|(_, store)| store.id.as_str()).collect();
        out.insert("stores".into(), value!(ids.join(",")));
    }
    out
}

/// Where the data of an image lies, in order.
pub(super) fn places(app: &App, image: &Image) -> Vec<Value> {
    let shown = |(location, store): (&Location, &Arc<Backend>)| {
        let mut metadata = location.metadata.clone();
        if app.stores.named() {
            metadata.insert("store".into(), value!(store.id));
        }
        value!({"url": store.url(&location.name), "metadata": metadata})
    };
    if !image.status.has_data() {
        return Vec::new();
    }
    app.stores.order(&image.locations).into_iter().map(shown).collect()
}

async fn delete(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    let (store_id, image_id) = path.into_inner();
    if !app.stores.named() {
        return Err(Error::not_found("The resource could not be found.").into());
    }
    if app.stores.get(&store_id).is_none() {
        let short = crate::text::short(&store_id);
        return Err(
            Error::conflict(format!("The selected store {short} is not available on this node.")).into()
        );
    }
    for _ in 0..ATTEMPTS {
        let seen = load(&app, &ctx, &image_id).await.map_err(|error| match error.kind {
            ErrorKind::NotFound => {
                let short = crate::text::short(&image_id);
                Error::not_found(format!("Failed to find image {short}"))
            }
            _ => error,
        })?;
        seen.enforce(&ctx, "get_image_location")?;
        seen.enforce(&ctx, "delete_image_location")?;
        let image = &seen.image;
        if image.status != Status::Active {
            let why = "It's not allowed to remove image data from store if image status is not 'active'";
            return Err(Error::conflict(why).into());
        }
        if image.locations.len() <= 1 {
            return Err(Error::forbidden(
                "Cannot delete image data from the only store containing it. Consider deleting the image instead.",
            )
            .into());
        }
        let Some(location) = image.locations.iter().find(|l| l.store == store_id) else {
            let why = format!("Image {} is not stored in store {store_id}.", image.id);
            return Err(Error::not_found(why).into());
        };
        if store::location::condemn(&app.db, image, &location.id).await? == Change::Updated {
            reconcile::objects::remove_now(&app, &image.id).await;
            return no_content();
        }
    }
    Err(Error::conflict("The image is changed by others all the time. Please try again.").into())
}
