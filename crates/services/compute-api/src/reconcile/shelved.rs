//! Shelved servers leave their hosts after `shelved_offload_time`.

use crate::{
    app::App,
    shelve,
    store::{instance_actions::Asker, servers, shelved},
};
use ferrostack_model::{ErrorKind, Result, Timestamp, id};
use std::{sync::Arc, time::Duration};

/// How often they are looked for.
const LOOK: Duration = Duration::from_secs(60);
/// Servers of one look.
const SOME: i64 = 100;

/// Looks until the service stops. With a time of 0 the jobs do it themselves; a negative one is never.
pub async fn run(app: Arc<App>) {
    if app.settings.compute.shelved_offload_time <= 0 {
        return;
    }
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(error) = look(&app, app.settings.compute.shelved_offload_time).await {
            tracing::info!(error = error.for_log(), "shelved servers not looked for");
        }
    }
}

/// One look: takes servers off their hosts that were shelved more than `seconds` ago.
pub async fn look(app: &App, seconds: i64) -> Result<()> {
    for id in shelved::due(&app.db, Timestamp::now().plus_seconds(-seconds), SOME).await? {
        let Ok(server) = servers::get(&app.db, &id).await else { continue };
        let request_id = format!("req-{}", id::uuid());
        let (user_id, project_id) = (server.user_id.clone(), server.project_id.clone());
        // A user's lock does not hold an operator's rule.
        let asker =
            Asker { request_id: &request_id, user_id: &user_id, project_id: &project_id, admin: true };
        match shelve::offload(app, server, asker).await {
            Err(error) if error.kind != ErrorKind::Conflict => return Err(error),
            // Whoever was faster has it.
            _ => {}
        }
    }
    Ok(())
}
