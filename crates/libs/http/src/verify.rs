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

    /// [`Self::verify`] for a user's token that comes with a valid one of a service, which works on the user's
    /// behalf and may take long: it may have expired a while ago (identity's `allow_expired_window_seconds`).
    /// Services that have no such work treat it as any other.
    async fn verify_vouched(&self, token: &str) -> Result<Arc<Caller>> {
        self.verify(token).await
    }

    /// The public identity URL for the `WWW-Authenticate` header, `http://host:5000/v3`.
    fn auth_uri(&self) -> String;
}
