//! The end of an import: staged data is inspected and becomes the image's, or goes.

use crate::{app::App, inspect, store, upload::refused};
use ferrostack_db::Change;
use ferrostack_model::{Error, ErrorKind, Result};

/// Finishes the import of `id` that `token` owns. May run again after a crash at any point: the staged object
/// becomes the image's, so only the record changes.
pub async fn check_staged(app: &App, id: &str, token: &str) -> Result<()> {
    let Some(image) = store::image::get(&app.db, id).await? else { return Ok(()) };
    let Some(name) = image.file.clone() else {
        return Err(Error::internal(format!("importing image {id} has no staged file")));
    };
    let declared = image.declared(&app.settings);
    let store = app.stores.default();
    let staged = store.open(&name).await?;
    let staged =
        staged.ok_or_else(|| Error::unavailable(format!("the staged data of image {id} is missing")))?;
    let result =
        app.blocking(move || inspect::inspect_at(&staged, staged.size(), &declared)).await?.map_err(refused);
    match result {
        Ok(found) => {
            let size = found.virtual_size.map(|b| i64::try_from(b).unwrap_or(i64::MAX));
            store::upload::finish_import(&app.db, id, token, &store.id, size).await?;
            tracing::info!(image = id, "staged data imported");
            Ok(())
        }
        Err(error) if error.kind == ErrorKind::UnsupportedMediaType => {
            tracing::warn!(image = id, error = error.for_log(), "staged data refused");
            if store::upload::refuse_import(&app.db, id, token, &store.id, &error.public).await?
                == Change::Updated
            {
                crate::reconcile::objects::remove_condemned(app, Some(id)).await?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}
