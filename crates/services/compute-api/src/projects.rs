//! Whether a project that an admin names exists.

use crate::app::App;
use ferrostack_model::{Error, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};

/// 400 if identity says that there is no project `id`. As in Nova, a project that cannot be asked about passes:
/// this guards against typing errors, not against callers.
pub async fn must_exist(app: &App, id: &str) -> Result<()> {
    let short: String = id.chars().take(255).collect();
    let unknown = || Error::bad_request(format!("Project ID {short} is not a valid project."));
    if id.is_empty() || id.len() > 255 {
        return Err(unknown());
    }
    let url = format!("{}/projects/{}", app.client.auth_url(), utf8_percent_encode(id, NON_ALPHANUMERIC));
    match app.client.send(Method::GET, &url, None, |request| request).await {
        Ok(answer) if answer.status() == StatusCode::NOT_FOUND => Err(unknown()),
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(error = error.for_log(), "could not ask identity about a project");
            Ok(())
        }
    }
}
