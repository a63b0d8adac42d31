//! Tags.

use super::load_parent;
use crate::{app::App, attributes, store};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, Route, actix_web::web, no_content};
use ferrostack_model::{Error, ErrorKind, Result};
use serde_json::{Map, json};

/// How often a change is tried again when somebody else's came in between.
const ATTEMPTS: usize = 10;

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::put("/v2/images/{image_id}/tags/{tag}", || web::put().to(add))
            .policy(&["modify_image"])
            .success(204)
            .summary("Adds a tag."),
        Route::delete("/v2/images/{image_id}/tags/{tag}", || web::delete().to(remove))
            .policy(&["modify_image"])
            .success(204)
            .summary("Removes a tag."),
    ]
}

async fn add(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    change(&app, &ctx, &path.0, &path.1, true).await?;
    no_content()
}

async fn remove(app: web::Data<App>, ctx: Ctx, path: web::Path<(String, String)>) -> ApiResult {
    change(&app, &ctx, &path.0, &path.1, false).await?;
    no_content()
}

async fn change(app: &App, ctx: &Ctx, image_id: &str, tag: &str, wanted: bool) -> Result<()> {
    if wanted {
        attributes::validate(&Map::from_iter([("tags".to_owned(), json!([tag]))]))?;
    }
    for _ in 0..ATTEMPTS {
        let seen = load_parent(app, ctx, image_id).await?;
        seen.enforce(ctx, "modify_image")?;
        let mut image = seen.image;
        let changed = if wanted { image.tags.insert(tag.to_owned()) } else { image.tags.remove(tag) };
        match (wanted, changed) {
            (true, false) => return Ok(()),
            (false, false) => {
                return Err(Error::not_found("The resource could not be found."));
            }
            _ => {}
        }
        attributes::check_quota(&image).map_err(|error| match error.kind {
            ErrorKind::TooLarge => Error::new(
                ErrorKind::TooLarge,
                format!("Image tag limit exceeded for image {image_id}: {}:", error.public),
            ),
            _ => error,
        })?;
        if store::image::update(&app.db, &image).await? == Change::Updated {
            return Ok(());
        }
    }
    Err(Error::conflict("The image is changed by others all the time. Please try again."))
}
