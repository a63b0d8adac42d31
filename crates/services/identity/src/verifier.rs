//! Our own callers' tokens: our keys and our rules, no question to anybody.

use crate::app::App;
use async_trait::async_trait;
use ferrostack_client::{Verified, VerifiedToken};
use ferrostack_http::TokenVerifier;
use ferrostack_model::{Caller, Error, Result};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Verifies tokens within the identity service.
pub struct OwnVerifier {
    app: Arc<App>,
    cache: Verified,
    /// How many times keys had been taken away when the cache was last cleared.
    losses: AtomicU64,
}

impl OwnVerifier {
    /// With room for `entries` verified tokens.
    pub fn new(app: Arc<App>, entries: u64) -> Self {
        Self { app, cache: Verified::new(entries), losses: AtomicU64::new(0) }
    }

    /// Forgets what a key that is gone has signed.
    fn drop_lost(&self) {
        let losses = self.app.keys.losses();
        if self.losses.load(Ordering::Acquire) != losses {
            self.cache.clear();
            self.losses.store(losses, Ordering::Release);
        }
    }
}

#[async_trait]
impl TokenVerifier for OwnVerifier {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        self.drop_lost();
        let (entry, known) = match self.cache.get(token) {
            Some(entry) => (entry, true),
            None => {
                let claims = self.app.keys.read(token).ok_or_else(Error::unauthorized)?;
                (VerifiedToken::new(claims, token), false)
            }
        };
        self.app.epoch().await?;
        if !self.app.revocations.pass(&entry) {
            return Err(Error::unauthorized());
        }
        if !known {
            let kid = jsonwebtoken::decode_header(token).ok().and_then(|h| h.kid);
            self.cache.insert(&entry);
            // Its key may have gone since it was read: then nobody else forgets it.
            if !kid.is_some_and(|kid| self.app.keys.has(&kid)) {
                self.cache.clear();
            }
        }
        Ok(entry.caller.clone())
    }

    fn auth_uri(&self) -> String {
        self.app.auth_uri.clone()
    }
}
