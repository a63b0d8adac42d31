//! Hosts that come back with unfinished orders: which of those servers are still theirs.

use crate::{
    app::App,
    jobs::evacuate,
    store::{guests, servers},
};
use ferrostack_bus::Address;
use ferrostack_model::{
    Result,
    message::Envelope,
    returning::{AgentReturn, ReturnAnswer},
};

/// Answers a host.
pub async fn take(app: &App, question: AgentReturn) -> Result<()> {
    let mut gone = Vec::new();
    for server_id in question.servers {
        if !belongs(app, &server_id, &question.host).await? {
            gone.push(server_id);
        }
    }
    if !gone.is_empty() {
        tracing::warn!(host = question.host, servers = ?gone, "a host came back with servers that it lost");
    }
    let answer = ReturnAnswer { agent_start: question.agent_start, gone };
    let message = Envelope::new(&answer, None)?;
    app.bus.publish(&Address::Agent(question.host), &message).await
}

/// Whether the host may do what it was told of the server. One that is being evacuated from it is lost to it already.
async fn belongs(app: &App, server_id: &str, host: &str) -> Result<bool> {
    let Some(server) = servers::find(&app.db, server_id).await? else { return Ok(false) };
    let rows = guests::of_server(&app.db, &server.id).await?;
    if !rows.iter().any(|row| row.host == host && row.doomed == 0) {
        return Ok(false);
    }
    let job = ferrostack_jobs::find_active(&app.db, &server.id).await?;
    let leaving = job
        .filter(|job| job.kind == evacuate::KIND)
        .and_then(|job| job.data::<evacuate::Data>().ok())
        .is_some_and(|data| data.source == host);
    Ok(!leaving)
}
