//! Local verification of signed tokens: identity's public keys, its revocation feed, and a cache.
//!
//! Fail closed: with a feed older than its limit every token is asked of identity, and refused if that fails.

use crate::{ServiceClient, Verified, VerifiedToken, signature::is_lower, transport_error};
use async_trait::async_trait;
use ferrostack_http::TokenVerifier;
use ferrostack_model::{Caller, Error, Result, RevocationEvent, RevocationSet, Timestamp, TokenClaims};
use ferrostack_settings::Tokens;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::RwLock;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

/// Longest token that is looked at, bytes.
const MAX_TOKEN: usize = 8192;
/// Least time between two questions for an unknown key.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for identity's word on a token. Whoever asks waits with it.
const MAX_WAIT: Duration = Duration::from_secs(1);

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
    /// The ids of the keys that tokens may be signed with; the reader gets the keys if it has others.
    #[serde(default)]
    pub key_ids: Vec<String>,
    /// Seconds after its expiry in which a token is good in the company of a service's; rules live as long.
    #[serde(default)]
    pub allow_expired_window_seconds: i64,
}

struct Key {
    pem: String,
    decoding: DecodingKey,
}

/// A question for identity's keys.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    answered: bool,
}

#[derive(Default)]
struct Feed {
    rules: RevocationSet,
    cursor: i64,
    /// When identity last told us all it knew.
    read_at: Timestamp,
    /// Identity's `allow_expired_window_seconds`.
    window: i64,
}

/// Verifies tokens without asking identity for each. One per service process.
pub struct LocalVerifier {
    client: ServiceClient,
    settings: Tokens,
    keys: RwLock<HashMap<String, Arc<Key>>>,
    feed: RwLock<Feed>,
    cache: Verified,
    poll: Notify,
    /// The last question for an unknown key. Held while it is asked.
    keys_asked: Mutex<Option<Asked>>,
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
            if !page.key_ids.is_empty() && !self.has_exactly(&page.key_ids) {
                self.fetch_keys().await?;
            }
            let mut feed = self.feed.write();
            if page.last_seq < feed.cursor {
                feed.rules.clear();
                (feed.cursor, feed.read_at) = (0, Timestamp::default());
                continue;
            }
            feed.rules.prune(asked_at);
            feed.window = page.allow_expired_window_seconds;
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

    fn has_exactly(&self, ids: &[String]) -> bool {
        let keys = self.keys.read();
        keys.len() == ids.len() && ids.iter().all(|id| keys.contains_key(id))
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
            keys.insert(key.kid, Arc::new(Key { pem: key.pem, decoding }));
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

    /// The key's id and the claims of a token with a good signature.
    async fn decode(&self, token: &str) -> Result<(String, TokenClaims)> {
        if !is_lower(token) {
            return Err(Error::unauthorized());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::unauthorized())?;
        let kid = header.kid.ok_or_else(Error::unauthorized)?;
        let key = self.key(&kid).await?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false; // exp_us is checked by the caller, in microseconds
        validation.validate_aud = false;
        jsonwebtoken::decode::<TokenClaims>(token, &key.decoding, &validation)
            .map(|data| (kid, data.claims))
            .map_err(|_| Error::unauthorized())
    }

    /// The key `kid`. For an unknown one identity is asked, at most once a second: who comes in between waits for the
    /// next question, for a key just made must not be taken for a forged one.
    async fn key(&self, kid: &str) -> Result<Arc<Key>> {
        let known = || self.keys.read().get(kid).cloned();
        if let Some(key) = known() {
            return Ok(key);
        }
        let came = Instant::now();
        let mut last = self.keys_asked.lock().await;
        if let Some(key) = known() {
            return Ok(key);
        }
        match *last {
            Some(asked) if asked.at >= came => {
                return Err(if asked.answered {
                    Error::unauthorized()
                } else {
                    Error::unavailable("the token keys could not be read")
                });
            }
            Some(asked) => tokio::time::sleep(ASK_AGAIN.saturating_sub(asked.at.elapsed())).await,
            None => {}
        }
        let at = Instant::now();
        *last = Some(Asked { at, answered: false });
        tokio::time::timeout(MAX_WAIT, self.fetch_keys())
            .await
            .map_err(|_| Error::unavailable("identity does not answer"))??;
        *last = Some(Asked { at, answered: true });
        known().ok_or_else(Error::unauthorized)
    }

    /// Whether the whole feed has been read lately, so that identity is asked about no token.
    pub fn is_current(&self) -> bool {
        self.feed_is_fresh(&self.feed.read(), Timestamp::now())
    }

    fn feed_is_fresh(&self, feed: &Feed, now: Timestamp) -> bool {
        let limit = i64::try_from(self.settings.feed_max_age_seconds).unwrap_or(i64::MAX);
        feed.read_at.plus_seconds(limit) > now
    }

    async fn ask_identity(&self, token: &str, late: bool) -> Result<()> {
        let late = if late { "&allow_expired=1" } else { "" };
        let url = format!("{}/auth/tokens?nocatalog{late}", self.client.auth_url());
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

impl LocalVerifier {
    /// `late`: a service vouches, and the token may have expired within identity's window.
    async fn verify_with(&self, token: &str, late: bool) -> Result<Arc<Caller>> {
        if token.len() > MAX_TOKEN {
            return Err(Error::unauthorized());
        }
        let (entry, new) = match self.cache.get(token) {
            Some(entry) => (entry, None),
            None => {
                let (kid, claims) = self.decode(token).await?;
                (VerifiedToken::new(claims, token), Some(kid))
            }
        };
        let now = Timestamp::now();
        let fresh = {
            let feed = self.feed.read();
            if late && feed.read_at == Timestamp::default() {
                return Err(Error::unavailable("identity's window for expired tokens is not known yet"));
            }
            let window = if late { feed.window } else { 0 };
            let refused = || feed.rules.refuses(&entry.caller.claims);
            if !entry.passes_within(now, window, feed.rules.version(), refused) {
                return Err(Error::unauthorized());
            }
            self.feed_is_fresh(&feed, now)
        };
        if !fresh {
            tokio::time::timeout(MAX_WAIT, self.ask_identity(token, late))
                .await
                .map_err(|_| Error::unavailable("identity does not answer"))??;
        }
        if let Some(kid) = new {
            self.cache.insert(&entry);
            // Its key may have gone since it was read: then nobody else forgets it.
            if !self.keys.read().contains_key(&kid) {
                self.cache.clear();
            }
        }
        Ok(entry.caller.clone())
    }
}

#[async_trait]
impl TokenVerifier for LocalVerifier {
    async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        self.verify_with(token, false).await
    }

    async fn verify_vouched(&self, token: &str) -> Result<Arc<Caller>> {
        self.verify_with(token, true).await
    }

    fn auth_uri(&self) -> String {
        self.client.auth_url().to_owned()
    }
}
