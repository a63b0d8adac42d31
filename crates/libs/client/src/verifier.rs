//! Local verification of signed tokens: identity's public keys, its revocation feed, and a cache.
//!
//! Fail closed: with a feed older than its limit every token is asked of identity, and refused if that fails.

use crate::{ServiceClient, Verified, VerifiedToken, transport_error};
use async_trait::async_trait;
use ferrostack_http::TokenVerifier;
use ferrostack_model::{Caller, Error, Result, RevocationEvent, RevocationSet, Timestamp, TokenClaims};
use ferrostack_settings::Tokens;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::{Mutex, RwLock};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Longest token that is looked at, bytes.
const MAX_TOKEN: usize = 8192;

/// `GET {auth_url}/ferrostack/token-keys`: the keys tokens may be signed with. Public.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublicKeys {
    /// Every key that is valid now, a new one some time before its first use.
    pub keys: Vec<PublicKey>,
}

/// A public key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublicKey {
    /// The `kid` of tokens signed with it.
    pub kid: String,
    /// ES256 public key, PEM.
    pub pem: String,
}

/// `GET {auth_url}/ferrostack/revocations?after=SEQ`: rules with a higher sequence number. For service users.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevocationPage {
    /// The rules in order.
    pub events: Vec<RevocationEvent>,
    /// Identity's highest sequence number; lower than the reader's cursor means identity's database is another
    /// one, and the reader begins anew.
    pub last_seq: i64,
}

struct Key {
    pem: String,
    decoding: DecodingKey,
}

#[derive(Default)]
struct Feed {
    rules: RevocationSet,
    cursor: i64,
    /// When identity last told us all it knew.
    read_at: Timestamp,
}

/// Verifies tokens without asking identity for each. One per service process.
pub struct LocalVerifier {
    client: ServiceClient,
    settings: Tokens,
    keys: RwLock<HashMap<String, Key>>,
    feed: RwLock<Feed>,
    cache: Verified,
    poll: Notify,
    /// When an unknown key last made us ask for the list.
    keys_asked: Mutex<Option<Instant>>,
}

impl LocalVerifier {
    /// Starts polling until `stop`. Does not wait for identity: until it answers, tokens are `Unavailable`.
    pub fn start(client: ServiceClient, settings: &Tokens, stop: CancellationToken) -> Arc<Self> {
        let verifier = Arc::new(Self {
            client,
            settings: settings.clone(),
            keys: RwLock::default(),
            feed: RwLock::default(),
            cache: Verified::new(settings.cache_entries),
            poll: Notify::new(),
            keys_asked: Mutex::new(None),
        });
        let me = verifier.clone();
        tokio::spawn(async move {
            let pause = Duration::from_millis(me.settings.feed_poll_ms.max(50));
            loop {
                if let Err(error) = me.refresh().await {
                    tracing::debug!(error = error.for_log(), "revocation feed not read");
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = me.poll.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        });
        verifier
    }

    /// New rules that came by the bus: in force at once.
    pub fn revoke(&self, events: Vec<RevocationEvent>) {
        self.feed.write().rules.add(events);
        // The poll fills any gap between these and what we had.
        self.poll.notify_one();
    }

    async fn refresh(&self) -> Result<()> {
        if self.keys.read().is_empty() {
            self.fetch_keys().await?;
        }
        loop {
            let (asked_at, after) = (Timestamp::now(), self.feed.read().cursor);
            let url = format!("{}/ferrostack/revocations?after={after}", self.client.auth_url());
            let page: RevocationPage =
                serde_json::from_value(self.client.json(Method::GET, &url, None, None).await?)
                    .map_err(|e| Error::unavailable(format!("{url}: {e}")))?;
            let mut feed = self.feed.write();
            if page.last_seq < feed.cursor {
                feed.rules.clear();
                (feed.cursor, feed.read_at) = (0, Timestamp::default());
                continue;
            }
            feed.rules.prune(asked_at);
            let more = page.events.last().map(|e| e.seq);
            feed.rules.add(page.events);
            match more {
                Some(seq) if seq < page.last_seq => feed.cursor = seq,
                _ => {
                    feed.cursor = page.last_seq;
                    feed.read_at = asked_at;
                    return Ok(());
                }
            }
        }
    }

    async fn fetch_keys(&self) -> Result<()> {
        let url = format!("{}/ferrostack/token-keys", self.client.auth_url());
        let response = self.client.http().get(&url).send().await.map_err(transport_error)?;
        if response.status() != StatusCode::OK {
            return Err(Error::unavailable(format!("{url} answered {}", response.status())));
        }
        let list: PublicKeys = response.json().await.map_err(transport_error)?;
        let mut keys = HashMap::new();
        for key in list.keys {
            let decoding = DecodingKey::from_ec_pem(key.pem.as_bytes())
                .map_err(|e| Error::unavailable(format!("{url}: key {}: {e}", key.kid)))?;
            keys.insert(key.kid, Key { pem: key.pem, decoding });
        }
        let mut known = self.keys.write();
        let lost = known.iter().any(|(kid, key)| keys.get(kid).is_none_or(|k| k.pem != key.pem));
        *known = keys;
        drop(known);
        // What a key that is gone has signed is not accepted any more.
        if lost {
            self.cache.clear();
        }
        Ok(())
    }

    async fn decode(&self, token: &str) -> Result<TokenClaims> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::unauthorized())?;
        let kid = header.kid.ok_or_else(Error::unauthorized)?;
        if !self.keys.read().contains_key(&kid) {
            // A key made since we asked last; unknown keys cost one question each, so ask at most once a second.
            self.fetch_keys_sparingly().await?;
        }
        let keys = self.keys.read();
        let key = keys.get(&kid).ok_or_else(Error::unauthorized)?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false; // exp_us is checked by the caller, in microseconds
        validation.validate_aud = false;
        jsonwebtoken::decode::<TokenClaims>(token, &key.decoding, &validation)
            .map(|data| data.claims)
            .map_err(|_| Error::unauthorized())
    }

    async fn fetch_keys_sparingly(&self) -> Result<()> {
        {
            let mut last = self.keys_asked.lock();
            if last.is_some_and(|t| t.elapsed() < Duration::from_secs(1)) && !self.keys.read().is_empty() {
                return Ok(());
            }
            *last = Some(Instant::now());
        }
        self.fetch_keys().await
    }

    fn feed_is_fresh(&self, feed: &Feed, now: Timestamp) -> bool {
        let limit = i64::try_from(self.settings.feed_max_age_seconds).unwrap_or(i64::MAX);
        feed.read_at.plus_seconds(limit) > now
    }

    async fn ask_identity(&self, token: &str) -> Result<()> {
        let url = format!("{}/auth/tokens?nocatalog", self.client.auth_url());
        let response = self
            .client
            .send(Method::GET, &url, None, |r| {
                // The edge keeps to them.
                r.header("X-Subject-Token", token).header("OpenStack-Identity-Access-Rules", "1.0")
            })
            .await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED => Err(Error::unauthorized()),
            other => Err(Error::unavailable(format!("{url} answered {other}"))),
        }
    }
}

#[async_trait]
impl TokenVerifier for LocalVerifier {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        if token.len() > MAX_TOKEN {
            return Err(Error::unauthorized());
        }
        let (entry, known) = match self.cache.get(token) {
            Some(entry) => (entry, true),
            None => {
                let claims = self.decode(token).await?;
                (VerifiedToken::new(claims, token), false)
            }
        };
        let now = Timestamp::now();
        let fresh = {
            let feed = self.feed.read();
            if !entry.passes(now, feed.rules.version(), || feed.rules.refuses(&entry.caller.claims)) {
                return Err(Error::unauthorized());
            }
            self.feed_is_fresh(&feed, now)
        };
        if !fresh {
            self.ask_identity(token).await?;
        }
        if !known {
            self.cache.insert(&entry);
        }
        Ok(entry.caller.clone())
    }

    fn auth_uri(&self) -> String {
        self.client.auth_url().to_owned()
    }
}
