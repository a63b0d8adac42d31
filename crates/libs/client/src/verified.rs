//! Tokens whose signatures were found good, so that the next request with one costs a look-up.

use ferrostack_model::{Caller, Timestamp, TokenClaims, auth::Secret};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a signature counts as verified.
const KEEP: Duration = Duration::from_secs(300);
/// Bytes of a token's end that are its key: most of the signature.
const KEY: usize = 64;

/// A token with a good signature.
pub struct VerifiedToken {
    /// What the token says.
    pub caller: Arc<Caller>,
    /// The version of the revocation rules that last let it pass, plus one; 0: none has yet.
    passed: AtomicU64,
}

impl VerifiedToken {
    /// An entry for a token that `claims` were read from.
    pub fn new(claims: TokenClaims, token: &str) -> Arc<Self> {
        let caller = Arc::new(Caller { claims, token: Secret(token.to_owned()) });
        Arc::new(Self { caller, passed: AtomicU64::new(0) })
    }

    /// Whether the token is in force: not expired, and not refused by the rules, which are only asked if they have
    /// another `version` than when they last let it pass. The caller keeps the rules as they are meanwhile.
    pub fn passes(&self, now: Timestamp, version: u64, refused: impl FnOnce() -> bool) -> bool {
        self.passes_within(now, 0, version, refused)
    }

    /// [`Self::passes`] for a token that may have expired less than `window` seconds ago.
    pub fn passes_within(
        &self,
        now: Timestamp,
        window: i64,
        version: u64,
        refused: impl FnOnce() -> bool,
    ) -> bool {
        if self.caller.claims.exp_us.plus_seconds(window) <= now {
            return false;
        }
        let mark = version.saturating_add(1);
        if self.passed.load(Ordering::Relaxed) != mark {
            if refused() {
                return false;
            }
            self.passed.store(mark, Ordering::Relaxed);
        }
        true
    }
}

/// The verified tokens of a process, so many at most.
///
/// The key is the end of the token, and what is found must be the whole token: no two tokens can be taken for one
/// another, and a look-up hashes 64 bytes rather than a kilobyte.
pub struct Verified {
    cache: moka::sync::Cache<[u8; KEY], Arc<VerifiedToken>>,
}

fn key(token: &str) -> Option<[u8; KEY]> {
    token.as_bytes().last_chunk().copied()
}

impl Verified {
    /// With room for `entries`.
    pub fn new(entries: u64) -> Self {
        Self { cache: moka::sync::Cache::builder().max_capacity(entries).time_to_live(KEEP).build() }
    }

    /// The entry of exactly this token.
    pub fn get(&self, token: &str) -> Option<Arc<VerifiedToken>> {
        self.cache.get(&key(token)?).filter(|entry| entry.caller.token.0 == token)
    }

    /// Keeps an entry.
    pub fn insert(&self, entry: &Arc<VerifiedToken>) {
        if let Some(key) = key(&entry.caller.token.0) {
            self.cache.insert(key, entry.clone());
        }
    }

    /// Forgets all: each token is verified anew.
    pub fn clear(&self) {
        self.cache.invalidate_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn claims(user: &str) -> TokenClaims {
        TokenClaims { sub: user.into(), exp_us: Timestamp(1000), ..Default::default() }
    }

    #[test]
    fn only_the_whole_token_is_found() {
        let cache = Verified::new(10);
        let end = "s".repeat(64);
        let token = format!("header.claims.{end}");
        cache.insert(&VerifiedToken::new(claims("u1"), &token));
        assert_eq!(cache.get(&token).unwrap().caller.user_id(), "u1");
        for other in [format!("header.other.{end}"), end, "short".into(), String::new(), format!("{token}x")]
        {
            assert!(cache.get(&other).is_none(), "{other}");
        }
        cache.clear();
        assert!(cache.get(&token).is_none());
    }

    #[test]
    fn rules_are_asked_once_a_version() {
        let entry = VerifiedToken::new(claims("u1"), "t");
        let (now, asked) = (Timestamp(5), std::cell::Cell::new(0));
        let ask = |answer| {
            asked.set(asked.get() + 1);
            answer
        };
        assert!(entry.passes(now, 0, || ask(false)) && asked.get() == 1);
        assert!(entry.passes(now, 0, || ask(true)) && asked.get() == 1);
        assert!(
            !entry.passes(now, 1, || ask(true)) && !entry.passes(now, 1, || ask(true)) && asked.get() == 3
        );
        assert!(entry.passes(now, 2, || ask(false)) && !entry.passes(Timestamp(1000), 2, || ask(false)));
        let late = Timestamp(1000).plus_seconds(3);
        assert!(
            entry.passes_within(late, 4, 2, || ask(true)) && !entry.passes_within(late, 3, 2, || ask(false))
        );
        assert!(!entry.passes_within(late, 4, 3, || ask(true)), "expired and revoked");
    }
}
