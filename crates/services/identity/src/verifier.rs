//! Our own callers' tokens: our keys and our rules, no question to anybody.

use crate::app::App;
use async_trait::async_trait;
use ferrostack_client::{Verified, VerifiedToken};
use ferrostack_http::TokenVerifier;
use ferrostack_model::{Caller, Error, Result};
use std::sync::Arc;

/// Verifies tokens within the identity service.
pub struct OwnVerifier {
    app: Arc<App>,
    cache: Verified,
}

impl OwnVerifier {
    /// With room for `entries` verified tokens.
    pub fn new(app: Arc<App>, entries: u64) -> Self {
        Self { app, cache: Verified::new(entries) }
    }
}

#[async_trait]
impl TokenVerifier for OwnVerifier {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        let (entry, known) = match self.cache.get(token) {
            Some(entry) => (entry, true),
            None => {
                let claims = self.app.keys.read(token).ok_or_else(Error::unauthorized)?;
                (VerifiedToken::new(claims, token), false)
            }
        };
        if !self.app.revocations.pass(&entry) {
            return Err(Error::unauthorized());
        }
        if !known {
            self.cache.insert(&entry);
        }
        Ok(entry.caller.clone())
    }

    fn auth_uri(&self) -> String {
        self.app.auth_uri.clone()
    }
}
