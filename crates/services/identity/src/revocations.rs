//! The rules that refuse tokens, in memory and in step with the database.

use crate::store::revocation::{self, Clock};
use ferrostack_client::VerifiedToken;
use ferrostack_db::Db;
use ferrostack_model::{Result, RevocationEvent, RevocationSet, Timestamp, TokenClaims};
use parking_lot::RwLock;

/// The rules in force.
#[derive(Default)]
pub struct Revocations {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    rules: RevocationSet,
    /// Every rule up to this sequence number is in `rules` (or has expired).
    cursor: i64,
}

impl Revocations {
    /// Reads what is new in the database; its clock as read before that.
    pub async fn sync(&self, db: &Db) -> Result<Clock> {
        let clock = revocation::clock(db.reader()).await?;
        self.catch_up(db, clock).await?;
        Ok(clock)
    }

    /// Reads the rules that are new up to `clock`.
    pub async fn catch_up(&self, db: &Db, clock: Clock) -> Result<()> {
        let cursor = self.inner.read().cursor;
        if clock.seq > cursor {
            let events = revocation::list(db.reader(), cursor, clock.seq, i64::MAX).await?;
            let mut inner = self.inner.write();
            inner.rules.add(events);
            inner.cursor = inner.cursor.max(clock.seq);
        }
        Ok(())
    }

    /// Rules just committed by this process: in force at once.
    pub fn add(&self, events: Vec<RevocationEvent>) {
        self.inner.write().rules.add(events);
    }

    /// Whether a verified token is in force: not expired and refused by no rule.
    pub fn pass(&self, token: &VerifiedToken) -> bool {
        let inner = self.inner.read();
        token.passes(Timestamp::now(), inner.rules.version(), || inner.rules.refuses(&token.caller.claims))
    }

    /// Forgets rules that have expired.
    pub fn prune(&self) {
        self.inner.write().rules.prune(Timestamp::now());
    }

    /// Whether a rule refuses `claims`.
    pub fn refuses(&self, claims: &TokenClaims) -> bool {
        self.inner.read().rules.refuses(claims)
    }

    /// Whether a rule made after `seq` is about the subject of `claims`, whenever they were issued.
    pub fn concerns_since(&self, seq: i64, claims: &TokenClaims) -> bool {
        self.inner.read().rules.concerns_since(seq, claims)
    }
}
