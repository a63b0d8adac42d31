//! Our own callers' tokens: our keys and our rules, no question to anybody.

use crate::app::App;
use async_trait::async_trait;
use ferrostack_http::TokenVerifier;
use ferrostack_model::{Caller, Error, Result, Timestamp, auth::Secret};
use std::{sync::Arc, time::Duration};

/// Verifies tokens within the identity service.
pub struct OwnVerifier {
    app: Arc<App>,
    cache: moka::sync::Cache<String, Arc<Caller>>,
}

impl OwnVerifier {
    /// With room for `entries` verified tokens.
    pub fn new(app: Arc<App>, entries: u64) -> Self {
        let cache =
            moka::sync::Cache::builder().max_capacity(entries).time_to_live(Duration::from_secs(300)).build();
        Self { app, cache }
    }
}

#[async_trait]
impl TokenVerifier for OwnVerifier {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        let caller = match self.cache.get(token) {
            Some(caller) => caller,
            None => {
                let claims = self.app.keys.read(token).ok_or_else(Error::unauthorized)?;
                let caller = Arc::new(Caller { claims, token: Secret(token.to_owned()) });
                self.cache.insert(token.to_owned(), caller.clone());
                caller
            }
        };
        if caller.claims.exp_us <= Timestamp::now() || self.app.revocations.refuses(&caller.claims) {
            return Err(Error::unauthorized());
        }
        Ok(caller)
    }

    fn auth_uri(&self) -> String {
        self.app.auth_uri.clone()
    }
}
