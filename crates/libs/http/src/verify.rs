//! How a service learns who calls.

use async_trait::async_trait;
use ferrostack_model::{Caller, Result};
use std::sync::Arc;

/// Turns a token into its caller.
#[async_trait]
pub trait TokenVerifier: Send + Sync + 'static {
    /// `Unauthorized` if the token is unknown, expired, revoked or malformed; `Unavailable` if that cannot
    /// be found out now (fail closed).
    async fn verify(&self, token: &str) -> Result<Arc<Caller>>;

    /// The public identity URL for the `WWW-Authenticate` header, `http://host:5000/v3`.
    fn auth_uri(&self) -> String;
}
