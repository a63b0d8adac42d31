//! Making servers: from the request's body to the rows and jobs of one transaction.

mod commit;
mod devices;
mod hints;
mod interface;
pub mod limits;
pub mod names;
mod networks;
mod place;
mod request;

pub use commit::Made;
pub use interface::{Wanted, interface_network};

use crate::{
    app::App,
    boot_image,
    store::{
        flavors::{self, Viewer},
        keypairs, quota,
    },
};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, ErrorKind, Result};
use serde_json::Value;

/// Makes the servers a checked body asks for.
pub async fn servers(app: &App, ctx: &Ctx, body: &Value) -> Result<Made> {
    let caller = ctx.caller()?;
    let mut wish = request::read(ctx, body)?;
    let placement = place::read(app, ctx, &wish).await?;

    let flavor = flavors::get_by_id(&app.db, &wish.flavor_ref, Viewer::of(caller)).await.map_err(as_400)?;
    if flavor.disabled {
        return Err(as_400(flavors::not_found(&wish.flavor_ref)));
    }
    let limits = quota::limits(&app.db, caller.project_id(), &app.settings.compute.quota).await?;
    request::check_limits(&wish, &limits)?;

    let image_id = devices::boot_image(&wish)?;
    let images = boot_image::check(app, ctx, &image_id, &flavor).await?;
    if images.needs_config_drive {
        wish.config_drive = true;
    }
    let key = match &wish.key_name {
        None => None,
        Some(name) => {
            let found = keypairs::get(&app.db, caller.user_id(), name).await.map_err(|e| match e.kind {
                ErrorKind::NotFound => Error::bad_request("Invalid key_name provided."),
                _ => e,
            })?;
            Some(found)
        }
    };
    hints::check(app, ctx, &wish.hints).await?;
    let nics = networks::check(app, ctx, &wish).await?;
    commit::insert(app, ctx, wish, placement, flavor, images, key, nics).await
}

/// What the body names and is not there is the body's fault.
fn as_400(error: Error) -> Error {
    match error.kind {
        ErrorKind::NotFound => Error::bad_request(error.public),
        _ => error,
    }
}
