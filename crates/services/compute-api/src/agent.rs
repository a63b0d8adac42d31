//! Asking the agent of a server's host something while the caller waits.

use crate::{
    app::App,
    network::segment,
    store::{
        hosts,
        servers::{self, Server},
    },
};
use ferrostack_client::answer_error;
use ferrostack_model::{Error, ErrorKind, Result};
use reqwest::{Method, Response};

/// Calls `what` of the server's guest at its agent.
///
/// # Errors
/// `Conflict` if the server has no host, `NotFound` if the host has no such guest, the agent's own otherwise.
pub async fn ask(
    app: &App,
    server: &Server,
    method: Method,
    what: &str,
    request_id: &str,
) -> Result<Response> {
    let not_ready = || Error::conflict(format!("Instance {} is not ready", server.id));
    let host = server.host.as_deref().ok_or_else(not_ready)?;
    let row = hosts::get(&app.db, host).await?.ok_or_else(not_ready)?;
    let base = row.report.agent_url.trim_end_matches('/');
    let url = format!("{base}/hosts/{}/servers/{}/{what}", segment(host), segment(&server.id));
    let response = app.client.send(method, &url, Some(request_id), |r| r).await?;
    if response.status().is_success() {
        return Ok(response);
    }
    let error = answer_error(response).await;
    Err(match error.kind {
        ErrorKind::NotFound => servers::not_found(&server.id).with_internal(error.for_log()),
        ErrorKind::Conflict | ErrorKind::NotImplemented => error,
        _ => Error::unavailable(error.for_log()),
    })
}
