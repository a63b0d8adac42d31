//! The rules that refuse tokens, in memory and in step with the database.

use crate::store;
use ferrostack_db::Db;
use ferrostack_model::{Result, RevocationEvent, Timestamp, TokenClaims};
use parking_lot::RwLock;

/// The rules in force.
#[derive(Default)]
pub struct Revocations {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    events: Vec<RevocationEvent>,
    /// Every rule up to this sequence number is in `events` (or has expired).
    cursor: i64,
}

impl Revocations {
    /// Reads what is new in the database; the state of its clock afterwards.
    pub async fn sync(&self, db: &Db) -> Result<store::revocation::Clock> {
        let clock = store::revocation::clock(db.reader()).await?;
        let cursor = self.inner.read().cursor;
        if clock.seq != cursor {
            // A lower number is another database (a restored one): begin anew.
            let after = if clock.seq < cursor { 0 } else { cursor };
            let events = store::revocation::list(db.reader(), after, clock.seq, i64::MAX).await?;
            let mut inner = self.inner.write();
            if clock.seq < cursor {
                *inner = Inner::default();
            }
            inner.add(events);
            inner.cursor = inner.cursor.max(clock.seq);
        }
        Ok(clock)
    }

    /// Rules just committed by this process: in force at once.
    pub fn add(&self, events: Vec<RevocationEvent>) {
        self.inner.write().add(events);
    }

    /// Whether a rule refuses `claims`.
    pub fn refuses(&self, claims: &TokenClaims) -> bool {
        self.inner.read().events.iter().any(|e| e.matches(claims))
    }

    /// Whether a rule made after `seq` is about the subject of `claims`, whenever they were issued.
    pub fn concerns_since(&self, seq: i64, claims: &TokenClaims) -> bool {
        let mut claims = claims.clone();
        claims.iat_us = Timestamp(i64::MIN);
        self.inner.read().events.iter().any(|e| e.seq > seq && e.matches(&claims))
    }
}

impl Inner {
    fn add(&mut self, events: Vec<RevocationEvent>) {
        let now = Timestamp::now();
        self.events.retain(|e| e.expires_at > now);
        for event in events {
            if event.expires_at > now && !self.events.iter().any(|e| e.seq == event.seq) {
                self.events.push(event);
            }
        }
    }
}
