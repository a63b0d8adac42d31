//! Files without a record, and files of deleted images.

use crate::{app::App, files, store::upload};
use ferrostack_model::{Error, Result};

/// One round: what no record names is removed. The directory is read before the records, so a file that an
/// upload begins meanwhile is not seen yet.
pub async fn reconcile(app: &App) -> Result<()> {
    let broken = |e: std::io::Error| Error::unavailable(format!("image store: {e}"));
    let names = app.blocking(|files| files.list()).await?.map_err(broken)?;
    let claims = upload::claims(&app.db).await?;
    for name in files::orphans(names, &claims) {
        tracing::warn!(file = name, "removing a file that belongs to no image");
        let removed = app.blocking(move |files| files.remove(&name)).await?;
        // One that cannot go does not keep the others.
        if let Err(error) = removed {
            tracing::warn!(%error, "the file stays until the next round");
        }
    }
    for claim in claims.into_iter().filter(|c| c.deleted) {
        remove_deleted(app, claim.id, claim.file).await;
    }
    Ok(())
}

/// Removes the file of a deleted image; what fails is tried again by the next round.
pub async fn remove_deleted(app: &App, id: String, file: Option<String>) {
    let Some(file) = file else { return };
    let result = match app.blocking(move |files| files.remove(&file)).await {
        Ok(Ok(())) => upload::forget_file(&app.db, &id).await,
        Ok(Err(error)) => Err(Error::unavailable(format!("image store: {error}"))),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        tracing::warn!(image = id, error = error.for_log(), "file of a deleted image left for later");
    }
}
