//! What a guest posted to the metadata service as its password.

use crate::{app::App, store::servers::states};
use ferrostack_model::{Error, Result, message::GuestPassword};

/// Longest that is kept, bytes, as in Nova.
const LONGEST: usize = 1020;

/// Keeps it, once. The guest's agent is heard only of servers that are on its host.
pub async fn take(app: &App, posted: GuestPassword) -> Result<()> {
    if posted.password.0.is_empty() || posted.password.0.len() > LONGEST {
        return Err(Error::bad_request("guest.password of no length that is kept"));
    }
    let kept = states::post_password(&app.db, &posted.server_id, &posted.host, &posted.password).await?;
    tracing::info!(server = posted.server_id, host = posted.host, kept, "a guest posted its password");
    Ok(())
}
