//! Images whose uploader has died go back to queued; imports whose worker has died are taken over.

use crate::{app::App, import, store::upload};
use ferrostack_model::{Result, Timestamp, id};

/// One round.
pub async fn reconcile(app: &App) -> Result<()> {
    let aborted = upload::abort_expired(&app.db, Timestamp::now()).await?;
    if aborted > 0 {
        tracing::warn!(images = aborted, "uploads of dead uploaders taken back");
        crate::reconcile::objects::reconcile(app, true).await?;
    }
    loop {
        let token = id::hex();
        match upload::take_over_import(&app.db, Timestamp::now(), &token, app.lease()).await? {
            Some(id) => import::check_staged(app, &id, &token).await?,
            None => return Ok(()),
        }
    }
}
