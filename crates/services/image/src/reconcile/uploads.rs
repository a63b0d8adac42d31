//! Images whose uploader has died go back to queued. (Imports are jobs, and go on.)

use crate::{app::App, store::upload};
use ferrostack_model::{Result, Timestamp};

/// One round.
pub async fn reconcile(app: &App) -> Result<()> {
    let aborted = upload::abort_expired(&app.db, Timestamp::now()).await?;
    if aborted > 0 {
        tracing::warn!(images = aborted, "uploads of dead uploaders taken back");
        crate::reconcile::objects::reconcile(app, true).await?;
    }
    Ok(())
}
