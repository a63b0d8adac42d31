//! What every handler shares, and the unit of work that carries revocations.

use crate::{
    answers::Answers,
    auth::login::Known,
    compliance::Compliance,
    keys::Keys,
    passwords::Passwords,
    revocations::Revocations,
    step::{Advance, Step},
    store::{self, revocation::Clock},
    throttle::Throttle,
    vault::Vault,
};
use ferrostack_bus::{Address, Bus};
use ferrostack_db::{Db, Tx, db_error, sqlx::AnyConnection};
use ferrostack_model::{
    Result, RevocationEvent, Timestamp,
    message::{Envelope, Revocations as Message},
};
use ferrostack_settings::LimitModel;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::RwLock;

/// Seconds a revocation outlives the tokens it can match, for clocks that differ.
const REVOCATION_LEEWAY: i64 = 600;
/// How long a request waits for the broker; verifiers poll anyway.
const PUBLISH_WAIT: Duration = Duration::from_secs(1);

/// The service's parts.
pub struct App {
    /// Tables.
    pub db: Db,
    /// Token keys.
    pub keys: Keys,
    /// Encryption of credentials.
    pub vault: Vault,
    /// Password hashing.
    pub passwords: Passwords,
    /// Rules for passwords.
    pub compliance: Compliance,
    /// Limits on failed logins.
    pub throttle: Throttle,
    /// From where users have logged in.
    pub known: Known,
    /// Rules that refuse tokens.
    pub revocations: Revocations,
    /// Whether what was read from the database still holds.
    pub step: Arc<Step>,
    /// Answers about tokens.
    pub answers: Answers,
    /// Where rules are announced.
    pub bus: Arc<dyn Bus>,
    /// Seconds that the time of an EC2 signature may be off, either way.
    pub ec2_ttl: i64,
    /// One-time passwords of so many earlier steps are taken too.
    pub totp_windows: u8,
    /// Lifetime of receipts, seconds.
    pub receipt_ttl: i64,
    /// Lifetime of tokens, seconds.
    pub token_ttl: i64,
    /// Seconds after its expiry in which a token is shown to services that ask for it.
    pub allow_expired_window: i64,
    /// Whether the API v2.0 is there.
    pub v2_api: bool,
    /// How limits of projects relate to those of domains.
    pub limit_model: LimitModel,
    /// Limits of application credentials, trusts and re-scoping.
    pub delegation: DelegationLimits,
    /// `http://host:5000/v3` for `WWW-Authenticate`.
    pub auth_uri: String,
    /// Held to write from the moment a rule is stamped until it is committed; issuing a token takes it to read.
    pub stamping: RwLock<()>,
}

/// The operator's limits of application credentials, trusts and re-scoping: settings of `[identity]`.
#[derive(Clone, Copy, Debug)]
pub struct DelegationLimits {
    /// `application_credential_user_limit`: application credentials a user may have; negative: any number.
    pub user_limit: i64,
    /// `max_redelegation_count`
    pub max_redelegation_count: i64,
    /// `allow_rescope_scoped_token`
    pub allow_rescope_scoped_token: bool,
    /// `delegation_max_token_age_seconds`; 0: any age.
    pub max_token_age_seconds: i64,
}

/// A write transaction with the revocations that follow from it.
pub struct Work {
    /// The transaction.
    pub tx: Tx,
    rules: Vec<RevocationEvent>,
    advance: Advance,
    adds_only: bool,
}

impl App {
    /// Begins a write transaction.
    pub async fn begin(&self) -> Result<Work> {
        let tx = self.db.begin_write().await?;
        Ok(Work { tx, rules: Vec::new(), advance: Advance::of(&self.step), adds_only: false })
    }

    /// A unit of work of one statement or a few: all writes go this way, or by [`Self::begin`], so that they count.
    pub async fn write<T>(&self, act: impl AsyncFnOnce(&mut AnyConnection) -> Result<T>) -> Result<T> {
        let mut work = self.begin().await?;
        let done = act(&mut *work.tx).await?;
        self.commit(work).await?;
        Ok(done)
    }

    /// The epoch of our view of the database, which is looked at anew if the last look is too old. An error if that
    /// fails: nothing is said about a token on an old view.
    pub async fn epoch(&self) -> Result<u64> {
        if let Some(epoch) = self.step.epoch() {
            return Ok(epoch);
        }
        self.look().await?;
        // However long that took, it began after the request did.
        Ok(self.step.latest())
    }

    /// Looks at the database for what other replicas have written.
    pub async fn look(&self) -> Result<Clock> {
        let started = Instant::now();
        let clock = self.revocations.sync(&self.db).await?;
        self.step.looked(started, clock.changes);
        Ok(clock)
    }

    /// Adds the rules about trusts whose tokens do not name a user or domain that a rule is about, though they depend
    /// on it: trusts that were handed on, and users' domains.
    async fn reach_trusts(&self, work: &mut Work) -> Result<()> {
        let since = Timestamp::now().plus_seconds(-(self.token_ttl + REVOCATION_LEEWAY));
        let mut more = Vec::new();
        // Seldom: spares a question for each user of a large group.
        let handed_on = store::trust::any_handed_on(&mut *work.tx).await?;
        for rule in &work.rules {
            let mut ids = match &rule.user_id {
                Some(user) if handed_on => store::trust::behind(&mut *work.tx, user, since).await?,
                _ => Vec::new(),
            };
            if let Some(domain) = &rule.domain_id {
                ids.extend(store::trust::of_domain(&mut *work.tx, domain, since).await?);
            }
            more.extend(ids.into_iter().map(|id| RevocationEvent {
                trust_id: Some(id),
                project_id: rule.project_id.clone(),
                ..Default::default()
            }));
        }
        for rule in more {
            work.revoke(rule);
        }
        Ok(())
    }

    /// Stamps and inserts the revocations, commits, and puts them in force here and elsewhere.
    pub async fn commit(&self, mut work: Work) -> Result<()> {
        if !work.rules.is_empty() {
            self.reach_trusts(&mut work).await?;
        }
        let Work { mut tx, rules, mut advance, adds_only } = work;
        if rules.is_empty() {
            if !adds_only {
                store::revocation::count_change(&mut *tx).await?;
                advance.arm();
            }
            return tx.commit().await.map_err(db_error);
        }
        let mut events = Vec::with_capacity(rules.len());
        {
            let _stamping = self.stamping.write().await;
            // An expired token must not come back to life where expired ones are allowed.
            let life = self.token_ttl + self.allow_expired_window + REVOCATION_LEEWAY;
            for rule in rules {
                let expires_at = Timestamp::now().plus_seconds(life);
                events.push(store::revocation::insert(&mut tx, rule, expires_at).await?);
            }
            store::revocation::count_change(&mut *tx).await?;
            advance.arm();
            tx.commit().await.map_err(db_error)?;
            self.revocations.add(events.clone());
            drop(advance);
        }
        match Envelope::new(&Message { events }, None) {
            Ok(envelope) => {
                let publish = self.bus.publish(&Address::Revocations, &envelope);
                match tokio::time::timeout(PUBLISH_WAIT, publish).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(
                            error = error.for_log(),
                            "revocations not announced: services will poll"
                        );
                    }
                    Err(_) => tracing::warn!("revocations not announced in time: services will poll"),
                }
            }
            Err(error) => tracing::error!(error = error.for_log(), "revocations not announced"),
        }
        Ok(())
    }
}

impl Work {
    /// Nothing but new rows that no token can be about yet: what is known about tokens stays as it is.
    pub fn adds_only(&mut self) {
        self.adds_only = true;
    }
    /// Refuses all tokens that match `rule`, from the commit on. `seq` and times are set then; an
    /// `issued_before` already given is kept if it is later.
    pub fn revoke(&mut self, rule: RevocationEvent) {
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }
    /// [`Self::revoke`] all tokens got with a trust.
    pub fn revoke_trust(&mut self, trust_id: &str) {
        self.revoke(RevocationEvent { trust_id: Some(trust_id.into()), ..Default::default() });
    }
    /// [`Self::revoke`] all tokens of a user.
    pub fn revoke_user(&mut self, user_id: &str) {
        self.revoke(RevocationEvent { user_id: Some(user_id.into()), ..Default::default() });
    }
    /// [`Self::revoke`] all tokens scoped to a project.
    pub fn revoke_project(&mut self, project_id: &str) {
        self.revoke(RevocationEvent { project_id: Some(project_id.into()), ..Default::default() });
    }
    /// [`Self::revoke`] all tokens scoped to a domain or its projects or of its users.
    pub fn revoke_domain(&mut self, domain_id: &str) {
        self.revoke(RevocationEvent { domain_id: Some(domain_id.into()), ..Default::default() });
    }
    /// [`Self::revoke`] all tokens with a role.
    pub fn revoke_role(&mut self, role: &str) {
        self.revoke(RevocationEvent { role: Some(role.into()), ..Default::default() });
    }
}
