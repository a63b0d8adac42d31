//! Limits on failed logins, per source and per user, in memory: buckets that a failure takes from and time refills.
//!
//! Who logs in well is never limited. Each replica counts for itself. See docs/adr/0004.

use crate::source::Source;
use ferrostack_model::{Error, ErrorKind, Result};
use ferrostack_settings::Security;
use moka::sync::Cache;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

/// Most buckets of a kind; a flood of sources or names pushes the least used out.
const MAX_BUCKETS: u64 = 100_000;
/// A source may fill this part of the queue for hashes when the queue is half full.
const SHARE: usize = 4;

static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(refused);

#[allow(clippy::expect_used)] // start-up: a fixed name
fn refused() -> IntCounterVec {
    let opts = Opts::new("ferrostack_identity_logins_throttled_total", "Logins answered 429");
    let metric = IntCounterVec::new(opts, &["limit"]).expect("metric definition");
    prometheus::default_registry().register(Box::new(metric.clone())).expect("metric name is unique");
    metric
}

/// The limits.
pub struct Throttle {
    sources: Limit,
    users: Limit,
    under_way: Mutex<HashMap<Source, usize>>,
}

struct Limit {
    name: &'static str,
    /// Failures; as many at once. 0: no limit.
    per_minute: u32,
    buckets: Cache<String, Arc<Mutex<Bucket>>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Limit {
    fn new(name: &'static str, per_minute: u32) -> Self {
        // An idle bucket is full after a minute, and so is a new one.
        let buckets =
            Cache::builder().max_capacity(MAX_BUCKETS).time_to_idle(Duration::from_secs(120)).build();
        Self { name, per_minute, buckets }
    }

    fn at<T>(&self, key: &str, now: Instant, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let most = f64::from(self.per_minute);
        let full = || Arc::new(Mutex::new(Bucket { tokens: most, at: now }));
        let bucket = self.buckets.get_with_by_ref(key, full);
        let mut bucket = bucket.lock();
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * most / 60.0;
        bucket.tokens = most.min(bucket.tokens + gained);
        bucket.at = now;
        act(&mut bucket)
    }

    fn check(&self, key: &str, now: Instant) -> Result<()> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let missing = self.at(key, now, |bucket| 1.0 - bucket.tokens);
        if missing <= 0.0 {
            return Ok(());
        }
        let seconds = (missing * 60.0 / f64::from(self.per_minute)).ceil();
        Err(self.refusal(seconds as u32))
    }

    fn refusal(&self, seconds: u32) -> Error {
        REFUSED.with_label_values(&[self.name]).inc();
        Error::new(ErrorKind::TooManyRequests, "Too many failed logins. Please try again later.")
            .with_internal(format!("limit of failed logins per {}", self.name))
            .retry_after(seconds.max(1))
    }

    fn fail(&self, key: &str, now: Instant) {
        if self.per_minute > 0 {
            self.at(key, now, |bucket| bucket.tokens = (bucket.tokens - 1.0).max(0.0));
        }
    }
}

/// A login under way.
pub struct Turn<'t> {
    throttle: &'t Throttle,
    source: Source,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.throttle.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.source);
            }
        }
    }
}

impl Turn<'_> {
    /// The login failed.
    pub fn failed(&self) {
        self.throttle.sources.fail(self.source.as_str(), Instant::now());
    }
}

impl Throttle {
    /// With the rates of the settings.
    pub fn new(rules: &Security) -> Self {
        Self {
            sources: Limit::new("source", rules.failed_logins_per_source_per_minute),
            users: Limit::new("user", rules.failed_logins_per_user_per_minute),
            under_way: Mutex::default(),
        }
    }

    /// Lets a login from `source` in, which may cost a slow hash; `load` is how many of those are under way and how
    /// many may wait. 429 after too many failures, or if the source alone would take what is left for all.
    pub fn admit(&self, source: &Source, load: (usize, usize)) -> Result<Turn<'_>> {
        self.sources.check(source.as_str(), Instant::now())?;
        let (pending, room) = load;
        let mut under_way = self.under_way.lock();
        let mine = under_way.get(source).copied().unwrap_or(0);
        if pending >= room.div_ceil(2) && mine >= room.div_ceil(SHARE).max(1) {
            return Err(self.sources.refusal(1));
        }
        under_way.insert(source.clone(), mine + 1);
        Ok(Turn { throttle: self, source: source.clone() })
    }

    /// Lets a login of a user in. `user` is the id, or what was given for it if there is none; `part` the source if
    /// the user is known there, else empty. 429 after too many failures.
    pub fn admit_user(&self, user: &str, part: &str) -> Result<()> {
        self.users.check(&key(user, part), Instant::now())
    }

    /// The login of a user failed.
    pub fn user_failed(&self, user: &str, part: &str) {
        self.users.fail(&key(user, part), Instant::now());
    }
}

fn key(user: &str, part: &str) -> String {
    format!("{part} {user}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn failures_take_and_time_gives() {
        let limit = Limit::new("source", 6);
        let start = Instant::now();
        for _ in 0..6 {
            assert!(limit.check("a", start).is_ok());
            limit.fail("a", start);
        }
        let refused = limit.check("a", start).unwrap_err();
        assert_eq!((refused.kind.http(), refused.retry_after), (429, Some(10)));
        assert!(limit.check("b", start).is_ok());
        assert!(limit.check("a", start + Duration::from_secs(9)).is_err());
        assert!(limit.check("a", start + Duration::from_secs(11)).is_ok());
        // Not more than a minute's worth is saved up.
        let later = start + Duration::from_secs(3600);
        (0..6).for_each(|_| limit.fail("a", later));
        assert!(limit.check("a", later).is_err());
        let none = Limit::new("source", 0);
        (0..1000).for_each(|_| none.fail("a", start));
        assert!(none.check("a", start).is_ok());
    }

    #[test]
    fn one_source_leaves_room_for_others() {
        let throttle = Throttle::new(&Security::default());
        let request = |ip: &str| {
            let req = actix_web::test::TestRequest::default().peer_addr(format!("{ip}:1").parse().unwrap());
            Source::of(&req.to_http_request(), &[])
        };
        let (greedy, modest) = (request("192.0.2.1"), request("192.0.2.2"));
        // While the queue is not half full nobody is turned away.
        let turns: Vec<_> = (0..8).map(|n| throttle.admit(&greedy, (n.min(3), 8)).unwrap()).collect();
        assert_eq!(throttle.admit(&greedy, (8, 8)).err().unwrap().kind.http(), 429);
        drop(throttle.admit(&modest, (8, 8)).unwrap());
        drop(turns);
        assert!(throttle.under_way.lock().is_empty());
        assert!(throttle.admit(&greedy, (8, 8)).is_ok());
    }
}
