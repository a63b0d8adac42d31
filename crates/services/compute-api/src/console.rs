//! The serial console's log, read from the agent of the server's host.

use crate::{
    app::App,
    network::segment,
    store::{hosts, servers::Server},
};
use ferrostack_client::{answer_error, transport_error};
use ferrostack_http::Ctx;
use ferrostack_model::{Error, ErrorKind, Result};
use reqwest::Method;

/// Most bytes that are fetched, as in Nova's libvirt driver.
const MAX_BYTES: usize = 102_400;

/// The last `length` lines; all that is kept if none or negative.
pub async fn output(app: &App, ctx: &Ctx, server: &Server, length: Option<i64>) -> Result<String> {
    let not_ready = || Error::conflict(format!("Instance {} is not ready", server.id));
    let host = server.host.as_deref().ok_or_else(not_ready)?;
    if server.launched_at.is_none() {
        return Err(not_ready());
    }
    let row = hosts::get(&app.db, host).await?.ok_or_else(not_ready)?;
    let base = row.report.agent_url.trim_end_matches('/');
    let url =
        format!("{base}/hosts/{}/servers/{}/console?bytes={MAX_BYTES}", segment(host), segment(&server.id));
    let response = app.client.send(Method::GET, &url, Some(&ctx.request_id), |r| r).await?;
    if !response.status().is_success() {
        let error = answer_error(response).await;
        return Err(match error.kind {
            ErrorKind::NotFound => Error::not_found("Guest does not have a console available."),
            ErrorKind::Conflict => not_ready(),
            _ => Error::unavailable(error.for_log()),
        });
    }
    let mut bytes = response.bytes().await.map_err(transport_error)?.to_vec();
    if bytes.len() > MAX_BYTES {
        bytes.drain(..bytes.len() - MAX_BYTES);
    }
    Ok(tail(&String::from_utf8_lossy(&bytes), length))
}

/// The last lines, without what XML clients choke on.
fn tail(text: &str, length: Option<i64>) -> String {
    let clean: String = text
        .chars()
        .filter(|c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
        .collect();
    let Some(length) = length.and_then(|n| usize::try_from(n).ok()) else { return clean };
    if length == 0 {
        return String::new();
    }
    let lines: Vec<&str> = clean.split('\n').collect();
    // A newline at the end begins no line of its own.
    let ends = lines.last().is_some_and(|l| l.is_empty());
    let keep = length + usize::from(ends);
    lines[lines.len().saturating_sub(keep)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn tails_lines_and_drops_control_characters() {
        assert_eq!(tail("a\nb\nc\n", Some(2)), "b\nc\n");
        assert_eq!(tail("a\nb\nc", Some(2)), "b\nc");
        assert_eq!(tail("a\nb", Some(9)), "a\nb");
        assert_eq!(tail("a\nb", Some(0)), "");
        assert_eq!(tail("a\u{1b}[0m\u{0}\nb", None), "a[0m\nb");
        assert_eq!(tail("a\nb", Some(-1)), "a\nb");
    }
}
