//! Actions: deactivate and reactivate.

use super::load;
use crate::{app::App, image::Status, store};
use ferrostack_db::Change;
use ferrostack_http::{ApiResult, Ctx, Route, actix_web::web, no_content};
use ferrostack_model::{Error, Result};

/// The rows.
pub fn routes() -> Vec<Route> {
    vec![
        Route::post("/v2/images/{image_id}/actions/deactivate", || web::post().to(deactivate))
            .policy(&["deactivate"])
            .success(204)
            .summary("Lets nobody but admins fetch the data."),
        Route::post("/v2/images/{image_id}/actions/reactivate", || web::post().to(reactivate))
            .policy(&["reactivate"])
            .success(204)
            .summary("Takes the deactivation back."),
    ]
}

async fn deactivate(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    set(&app, &ctx, &path, "deactivate", Status::Deactivated).await?;
    no_content()
}

async fn reactivate(app: web::Data<App>, ctx: Ctx, path: web::Path<String>) -> ApiResult {
    set(&app, &ctx, &path, "reactivate", Status::Active).await?;
    no_content()
}

async fn set(app: &App, ctx: &Ctx, id: &str, rule: &str, to: Status) -> Result<()> {
    let seen = load(app, ctx, id).await?;
    seen.enforce(ctx, rule)?;
    let from = [Status::Active, Status::Deactivated];
    let refused =
        |is: Status| Error::forbidden(format!("Not allowed to {rule} image in status '{}'", is.as_str()));
    if !seen.image.status.has_data() {
        return Err(refused(seen.image.status));
    }
    match store::image::set_status(&app.db, &seen.image.id, from, to).await? {
        Change::Updated => Ok(()),
        _ => Err(refused(load(app, ctx, id).await?.image.status)),
    }
}
